"""The command line from end to end, and what bad input gives: one line with the remedy, and nothing half-written."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import pytest
import torch

from metarl.algorithm.registry import agent_class, agent_names
from metarl.cli.main import _COMMANDS, main
from metarl.core.checkpoint import load_checkpoint, save_checkpoint
from metarl.core.errors import MetaRLError
from metarl.experiments.run import Run
from metarl.fewshot.learners.registry import learner_class, learner_names
from metarl.version import __version__

pytestmark = pytest.mark.usefixtures("installed_families_only")

NAVIGATION = "metarl/PointNavigation-v0"
SMALL = ["--config.tasks", "2", "--config.episodes", "3", "--config.hidden", "4", "--config.total-timesteps", "500"]
FAMILIES = '''
"""Families of a user, sound and broken."""

import numpy as np
import torch
from gymnasium.spaces import Box

from metarl.envs.engine.torch import TorchFamily
from metarl.family import register_family
from metarl.tasks import Disjoint, Split, TaskSpace, Uniform


@register_family("mine/Sound-v0")
class Sound(TorchFamily):
    """A walk to a hidden goal."""

    tasks = TaskSpace(goal=Uniform(-1, 1, shape=(2,)))
    default_task = {"goal": (0.5, 0.5)}
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)
    horizon = 5

    def reset(self, task, u):
        return {"position": torch.zeros_like(task["goal"])}

    def step(self, state, action, task, u):
        position = state["position"] + action
        return {"position": position}, -(position - task["goal"]).norm(dim=-1), torch.zeros_like(position[:, 0]).bool()

    def observe(self, state, task):
        return state["position"]


@register_family("mine/NaNReward-v0")
class NaNReward(Sound):
    def step(self, state, action, task, u):
        state, reward, terminated = super().step(state, action, task, u)
        return state, reward.where(reward < -0.5, torch.nan), terminated


@register_family("mine/NaNObservation-v0")
class NaNObservation(Sound):
    def observe(self, state, task):
        return state["position"].log()


class Overlapping(Disjoint):
    def make(self, name, space, ood=None, test=None):
        train = super().make(name, space, ood, test).train_set
        return Split("disjoint", space, train[:3], train)


@register_family("mine/Overlapping-v0")
class OverlappingSplit(Sound):
    split = Overlapping()


@register_family("mine/Unbounded-v0")
class Unbounded(Sound):
    action_space = Box(-np.inf, np.inf, (2,), np.float32)


@register_family("mine/Outside-v0")
class Outside(Sound):
    default_task = {"goal": (3.0, 0.0)}
'''
MODULE = "families_of_test_cli"


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: object) -> Said:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return Said(*capsys.readouterr(), code)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a user's module of families."""
    (tmp_path / f"{MODULE}.py").write_text(FAMILIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two agents, and one on another family."""
    runs = tmp_path_factory.mktemp("runs")
    place = ["--runs", str(runs), "--json"]
    main(["train", "maml", NAVIGATION, "--variant", "pearl", "--seed", "0", "1", "--jobs", "1", *place, *SMALL])
    main(["train", "finetune", NAVIGATION, "--variant", "pearl", *place, *SMALL])
    main(["train", "maml", "metarl/GridNavi-v0", *place, *SMALL])
    return runs


@pytest.fixture
def run(trained: Path, folder: Path) -> Path:
    """A copy of a run, to be damaged."""
    shutil.copytree(trained / "maml-PointNavigation-pearl", folder / "run")
    return folder / "run"


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def assert_refused(said: Said, words: str) -> None:
    assert said.err.startswith("error: "), said.err
    assert said.err.count("\n") == 1, said.err
    assert re.search(words, said.err), said.err
    assert said.out == ""
    assert said.code == 2


# What works


def test_help_names_every_command(command: Callable[..., Said]) -> None:
    for words in ([], ["--help"], ["-h"]):
        said = command(*words)
        assert said.code == 0
        assert all(f"• {name}" in said.out for name in _COMMANDS)
    assert command("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "name",
    [
        *_COMMANDS,
        *(f"fewshot {name}" for name in ("train", "evaluate", "compare")),
        *(f"suite {name}" for name in ("run", "score", "compare", "publish", "verify")),
    ],
)
def test_every_command_has_help(name: str, command: Callable[..., Said]) -> None:
    said = command(*name.split(), "--help")
    if name in ("fewshot", "suite"):
        assert "compare" in said.out
        return
    assert said.code == 0
    assert "--json" in said.out


def test_the_agents_config_is_in_the_help_with_its_presets_values(command: Callable[..., Said]) -> None:
    default = command("train", "maml", NAVIGATION, "--help").out
    trpo = command("train", "maml", NAVIGATION, "--preset=trpo", "--help").out
    assert "--config.max-kl" in default
    assert re.search(r"--config.outer \{?ppo,trpo\}?\s[^-]*default: ppo", default)
    assert re.search(r"--config.outer \{?ppo,trpo\}?\s[^-]*default: trpo", trpo)


def test_families_as_table_and_as_json(command: Callable[..., Said]) -> None:
    listed = json.loads(command("families", "--json").out)
    assert NAVIGATION in [family["id"] for family in listed]
    (navigation,) = [family for family in listed if family["id"] == NAVIGATION]
    assert [variant["name"] for variant in navigation["variants"]] == ["maml", "promp", "pearl"]
    assert [family["id"] for family in json.loads(command("families", "cheetah*", "--json").out)] == [
        *(f"metarl/HalfCheetah{name}-v0" for name in ("Dir", "RandParams", "Vel")),
    ]


def test_families_fit_a_screen_and_no_word_is_cut(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = json.loads(command("families", "--json").out)
    short = command("families").out.splitlines()
    assert len(short) == len(listed) + 4  # how many there are, and where to get more
    words = {word for family in listed for word in [family["id"], *family["summary"].split()]}
    for line, family in zip(short, listed, strict=False):
        assert len(line) <= 80
        assert line.startswith(family["id"])
        assert set(line.split()) <= {*words, "…"}
    # All of one, by a part of its id.
    (walker,) = [family for family in listed if "Walker" in family["id"]]
    long = command("families", "walker").out
    assert max(map(len, long.splitlines())) <= 80
    for variant in walker["variants"]:
        named = set(variant["parameters"])
        assert {variant["name"], variant["split"] + ",", *named} <= set(long.split())
    assert len([line for line in long.splitlines() if line.startswith("metarl/")]) == 1


def test_agents_are_listed_with_what_adapts_them(command: Callable[..., Said]) -> None:
    listed = {agent["name"]: agent for agent in json.loads(command("agents", "--json").out)}
    assert {name: agent["adapts_by"] for name, agent in listed.items()} == {
        **dict.fromkeys(("maml", "finetune"), "gradient steps"),
        **dict.fromkeys(("multitask", "oracle"), "nothing"),
        **{"rl2": "memory", "varibad": "memory and belief", "pearl": "belief"},
    }
    assert listed["maml"]["presets"]["default"] == 14_000_000
    shown = command("agents").out.splitlines()
    assert max(map(len, shown)) <= 80
    assert len(shown) <= 24  # one screen
    assert {*listed, "trpo-subsampled,", "promp"} <= set(" ".join(shown).split())


@pytest.mark.parametrize(
    "words", [["train", "rl2"], ["evaluate"], ["render"], ["compare"], ["fewshot", "train", "maml"]]
)
def test_the_help_shows_common_options_first_on_80_columns(
    words: list[str], command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = command(*words, "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "{None}" in line]
    # With or without the frames, which depend on the terminal's encoding.
    said = [line.strip("╭─╮│ ") for line in lines]
    common, more = said.index("options"), said.index("more options")
    assert common < more < next((i for i, line in enumerate(said) if line == "config options"), len(said))
    first = said[common:more]
    assert len([line for line in first if re.match(r"-h|--[a-z]", line)]) <= 12
    assert "--json" not in " ".join(first)


@pytest.mark.parametrize("name", agent_names())
def test_an_agents_help_tells_what_its_presets_are_for_and_how_long_they_take(
    name: str, command: Callable[..., Said], root: Path
) -> None:
    cls = agent_class(name)
    assert set(cls.uses) == set(cls.presets)
    listed = [line for line in command("train", name, "--help").out.splitlines() if line.startswith("- ")]
    for line, (preset, config) in zip(listed, cls.presets.items(), strict=True):
        assert line.split()[1] == preset
        assert f"{config.total_timesteps / 1e6:.3g}M steps" in line
        assert line.endswith(cls.uses[preset][0])
    # The times are those of results, where there are any.
    results = [json.loads(file.read_text()) for file in (root / "results").glob("*/*/summary.json")]
    for preset, (_, minutes) in cls.uses.items():
        said = "--preset" if preset == "default" else f"--preset {preset} "
        found = [
            each["wall_seconds"] / 60 * cls.presets[preset].total_timesteps / each["steps"]
            for each in results
            if each["command"].startswith(f"metarl train {name} ")
            and (said in each["command"]) == (preset != "default")
        ]
        assert not found or 0.7 * min(found) <= minutes <= 1.4 * max(found), (preset, found)


def test_a_learners_help_lists_its_presets(command: Callable[..., Said]) -> None:
    for name in learner_names():
        presets = learner_class(name).presets
        listed = [line for line in command("fewshot", "train", name, "--help").out.splitlines() if line[:2] == "- "]
        assert [line.split()[1:4:2] for line in listed] == [[preset, "iterations"] for preset in presets]
        assert all(len(line.split("iterations  ")[1]) > 10 for line in listed)


def test_a_missing_run_is_named_before_anything_heavy_is_imported(folder: Path) -> None:
    (folder / "runs" / "maml-PointNavigation").mkdir(parents=True)
    (folder / "runs" / "maml-PointNavigation" / "run.json").touch()
    code = """
import sys
from metarl.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert stop.code == 2
print(*{"torch", "stable_baselines3", "matplotlib", "scipy", "sklearn", "mujoco"} & set(sys.modules))
"""
    for words in (["evaluate"], ["compare"], ["render"], ["fewshot", "evaluate"], ["fewshot", "compare"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "runs/maml-PointNav"], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == []
        assert "runs/maml-PointNav is no run" in done.stderr
        assert ("Did you mean maml-PointNavigation?" in done.stderr) == ("fewshot" not in words)


@pytest.mark.usefixtures("folder")
def test_check_says_ok_or_what_is_wrong(command: Callable[..., Said]) -> None:
    said = command("check", NAVIGATION, "--variant", "pearl")
    assert (said.code, said.err) == (0, "")
    assert f"{NAVIGATION}:pearl: ok" in said.out
    said = command("check", f"{MODULE}:mine/Outside-v0", "--json")
    (report,) = json.loads(said.out)
    assert said.code == 1
    assert report["ok"] is False
    assert any("outside" in problem["what"] for problem in report["problems"])


def test_train_makes_a_run_folder(trained: Path) -> None:
    run = trained / "maml-PointNavigation-pearl"
    made = {
        "run.json",
        "splits.json",
        *(f"seed-{i}/{n}" for i in (0, 1) for n in ("checkpoint.safetensors", "progress.csv")),
    }
    assert made <= listing(run)
    about = json.loads((run / "run.json").read_text())
    assert (about["agent"], about["family"], about["variant"], about["seeds"]) == ("maml", NAVIGATION, "pearl", [0, 1])
    assert about["config"]["tasks"] == 2
    assert about["command"].startswith(f"metarl train maml {NAVIGATION}")
    assert about["version"] == __version__


def test_evaluate_scores_pictures_and_prints(run: Path, command: Callable[..., Said]) -> None:
    before = listing(run)
    said = command("evaluate", run)
    assert (said.code, said.err) == (0, "")
    assert "maml-custom on PointNavigation (pearl), test (disjoint)" in said.out
    assert "2 seeds × 20 tasks" in said.out
    made = listing(run) - before
    assert made == {"evaluation-test.json", "evaluation-test.csv", "curve-test.png", "overview-test.png"}
    assert all(name in said.out.replace("\n", "") for name in made)
    for name in ("curve-test.png", "overview-test.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    assert len((run / "evaluation-test.csv").read_text().splitlines()) == 1 + 2 * 4 * 20


def test_evaluate_as_json_out_of_distribution(run: Path, command: Callable[..., Said]) -> None:
    said = command("evaluate", run, "--split", "ood", "--points", "2", "--json")
    scored = json.loads(said.out)
    assert (said.code, said.err) == (0, "")
    assert scored["split"] == "ood"
    assert scored["tasks"] == 100
    assert [(point["episodes"], point["adaptations"]) for point in scored["curve"]] == [(0, 0), (3, 1)]
    assert {"sd step 0", "sd step 1"} <= set(scored["extra"])
    assert (run / "evaluation-ood.json").exists()


def test_compare_prints_one_table_and_one_plot(trained: Path, folder: Path, command: Callable[..., Said]) -> None:
    names = ["maml-PointNavigation-pearl", "finetune-PointNavigation-pearl"]
    runs = [Path(shutil.copytree(trained / name, folder / name)) for name in names]
    said = command("compare", *runs)
    assert (said.code, said.err) == (0, "")
    assert "maml-custom" in said.out
    assert "finetune-custom" in said.out
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    # The second time from the saved evaluations; two runs of a name are told apart by their folders.
    shutil.copytree(runs[0], folder / "again")
    said = command("compare", runs[0], folder / "again", "--json", "--output", "both.png")
    agents = [each["agent"] for each in json.loads(said.out)["evaluations"]]
    assert agents == ["maml-custom (maml-PointNavigation-pearl)", "maml-custom (again)"]
    assert (folder / "both.png").exists()


def test_a_family_of_the_working_folder_trains_and_is_scored(folder: Path, command: Callable[..., Said]) -> None:
    said = command("train", "maml", f"{MODULE}:mine/Sound-v0", "--json", *SMALL)
    assert json.loads(said.out) == {"run": "runs/maml-Sound", "seeds": {"0": 600}}
    said = command("evaluate", "runs/maml-Sound", "--tasks", "5", "--json")
    assert json.loads(said.out)["tasks"] == 5
    assert (folder / "runs/maml-Sound/evaluation-test.json").exists()
    assert not (folder / "runs/maml-Sound/overview-test.png").exists()  # the family names no goals


def test_resuming_what_has_not_begun_begins(folder: Path, command: Callable[..., Said]) -> None:
    said = command("train", "maml", f"{MODULE}:mine/Sound-v0", "--resume", "--json", *SMALL)
    assert json.loads(said.out)["seeds"] == {"0": 600}
    assert (folder / "runs/maml-Sound/seed-0/checkpoint.safetensors").exists()


@pytest.mark.usefixtures("folder")
def test_train_shows_its_progress_and_what_comes_next(command: Callable[..., Said]) -> None:
    said = command("train", "maml", NAVIGATION, "--variant", "pearl", *SMALL)
    assert said.code == 0
    assert "metarl evaluate runs/maml-PointNavigation-pearl\n" in said.out
    assert "seed 0" in said.err
    assert "return" in said.err


# Bad input


TRAIN = ["train", "maml", NAVIGATION, *SMALL]  # small, should it not be refused
BAD: dict[str, tuple[list[str], str]] = {
    "command": (
        ["trian"],
        "no command 'metarl trian'; choose one of train, evaluate, compare.*Did you mean train",
    ),
    "agent": (["train", "malm", NAVIGATION], "Agent 'malm' is unknown. Did you mean maml. Known are .*maml"),
    "preset, nearly": ([*TRAIN, "--preset", "locomtion"], "choose one of default, .*Did you mean locomotion"),
    "family, nearly": (["train", "maml", "pointnav"], "'pointnav' is unknown. Did you mean metarl/PointNavigation-v0"),
    "families": (["families", "Pointnvigation"], "No family's id fits .*Did you mean metarl/PointNavigation-v0"),
    "agent's module": (["train", "nowhere:Agent", NAVIGATION], "no module 'nowhere'"),
    "no agent": (["train", "metarl.core.errors:MetaRLError", NAVIGATION], "must be a subclass"),
    "preset": ([*TRAIN, "--preset", "best"], "no preset 'best'; choose one of default"),
    "family": (
        ["train", "maml", "metarl/Nowhere-v0"],
        "'metarl/Nowhere-v0' is unknown. Known are metarl/AntDir",
    ),
    "family's module": (["train", "maml", "nowhere:mine/X-v0"], "no module 'nowhere'"),
    "family not in its module": (
        ["train", "maml", f"{MODULE}:mine/X-v0"],
        "'mine/X-v0' is unknown. Known are .*mine/Sound-v0",
    ),
    "variant": ([*TRAIN, "--variant", "best"], "no variant 'best'; choose one of maml, promp, pearl"),
    "device": ([*TRAIN, "--device", "gpu"], "'gpu' is unknown; use 'cpu', 'cuda'"),
    "seeds": ([*TRAIN, "--seed", "1", "1"], "each once"),
    "overlapping splits": (
        ["train", "maml", f"{MODULE}:mine/Overlapping-v0", *SMALL],
        "belong to the test split: .*goal",
    ),
    "unbounded actions": (["train", "maml", f"{MODULE}:mine/Unbounded-v0", *SMALL], "finite limits"),
    "NaN rewards": (
        ["train", "maml", f"{MODULE}:mine/NaNReward-v0", "--quiet", *SMALL],
        "seed 0: .* reward .*not finite .*metarl check",
    ),
    "NaN observations": (
        ["train", "maml", f"{MODULE}:mine/NaNObservation-v0", "--quiet", *SMALL],
        "seed 0: .* observation .*not finite .*metarl check",
    ),
    "threads": ([*TRAIN, "--threads", "0"], "at least 1"),
    "jobs": ([*TRAIN, "--jobs", "0"], "at least 1"),
    "checkpoint seconds": ([*TRAIN, "--checkpoint-seconds", "-1"], "--checkpoint-seconds -1"),
    "checkpoint seconds that are no number": ([*TRAIN, "--checkpoint-seconds", "nan"], "--checkpoint-seconds nan"),
    "tasks to show": (["render", "metarl/PointNavigation-v0", "--envs", "100000000"], "at most 1000"),
    "run": (["evaluate", "nowhere"], "no run folder.*train first"),
    "compare nothing": (["compare"], "Name the run folders: metarl compare RUN RUN"),
    "a line end in an argument": (["compare", "a\nb"], "a b is no run folder"),
    "compared run": (["compare", "nowhere"], "no run folder.*train first"),
    "family to check": (["check", "metarl/Nowhere-v0"], "is unknown"),
    "variant to check": (["check", NAVIGATION, "--variant", "best"], "no variant 'best'"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: list[str], message: str, folder: Path, command: Callable[..., Said]
) -> None:
    before = listing(folder)
    assert_refused(command(*words), message)
    assert listing(folder) - {"runs"} == before


BAD_EVALUATIONS: dict[str, tuple[list[str], str]] = {
    "split": (["--split", "best"], "Split 'best' is unknown; choose one of"),
    "training split": (["--split", "train"], "choose --split val, test or ood"),
    "no tasks": (["--tasks", "0"], "at least 1"),
    "too many tasks": (["--tasks", "100"], "ask for fewer"),
    "no points": (["--points", "0"], "at least one"),
    "threads": (["--threads", "0"], "at least 1"),
    "device": (["--device", "gpu"], "'gpu' is unknown"),
}


@pytest.mark.parametrize(("words", "message"), BAD_EVALUATIONS.values(), ids=BAD_EVALUATIONS)
def test_a_bad_evaluation_is_one_line(words: list[str], message: str, run: Path, command: Callable[..., Said]) -> None:
    before = listing(run)
    assert_refused(command("evaluate", run, *words), message)
    assert listing(run) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_without_cuda(run: Path, command: Callable[..., Said]) -> None:
    before = listing(run.parent)
    for words in ([*TRAIN], ["evaluate", run], ["compare", run]):
        assert_refused(command(*words, "--device", "cuda"), "torch finds no CUDA here; use --device cpu")
    assert listing(run.parent) == before


def test_a_split_that_the_family_lacks(trained: Path, command: Callable[..., Said]) -> None:
    assert_refused(command("evaluate", trained / "maml-GridNavi", "--split", "ood"), "no ood range")


def resume(run: Path) -> list[Any]:
    words = ["train", "maml", NAVIGATION, "--variant", "pearl", "--seed", "0", "1", "--jobs", "1"]
    return [*words, "--runs", run.parent, "--name", run.name, "--resume", *SMALL]


@pytest.mark.parametrize("bytes_left", [0, 5, 200, -10])
def test_a_truncated_checkpoint(bytes_left: int, run: Path, command: Callable[..., Said]) -> None:
    path = run / "seed-1" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_left])
    before = {name: (run / name).read_bytes() for name in listing(run) if (run / name).is_file()}
    for words in (["evaluate", run], ["compare", run], resume(run)):
        assert_refused(command(*words), "checkpoint.safetensors is damaged .*restore it or train anew")
    assert path.read_bytes() == before["seed-1/checkpoint.safetensors"]
    assert not {name for name in listing(run) - set(before) if name.endswith((".json", ".png"))}


@pytest.mark.parametrize("name", ["run.json", "splits.json"])
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"agent": "maml"', "\x00\xff"], ids=repr)
def test_a_damaged_file_of_a_run(name: str, content: str, run: Path, command: Callable[..., Said]) -> None:
    (run / name).write_text(content)
    before = listing(run)
    for words in (["evaluate", run], ["compare", run], resume(run)):
        assert_refused(command(*words), rf"{name}.*(damaged|readable|restore)")
    assert listing(run) == before


def test_a_damaged_evaluation(run: Path, command: Callable[..., Said]) -> None:
    (run / "evaluation-test.json").write_text('{"agent": ')
    assert_refused(command("compare", run), "evaluation-test.json: .*evaluate the run again")
    assert command("evaluate", run, "--json").code == 0
    assert command("compare", run, "--json").code == 0


def test_a_run_of_another_family(trained: Path, run: Path, command: Callable[..., Said]) -> None:
    before = listing(run)
    other = ["train", "maml", "metarl/GridNavi-v0", "--runs", run.parent, "--name", run.name, "--resume", *SMALL]
    assert_refused(command(*other), f"holds family {NAVIGATION}, not metarl/GridNavi-v0; choose another --name")
    assert listing(run) == before
    shutil.copytree(trained / "maml-GridNavi", run.parent / "other")
    said = command("compare", run, run.parent / "other")
    assert_refused(said, "compare runs of one family")
    assert not (run.parent / "comparison.png").exists()


def test_a_checkpoint_of_another_agent(trained: Path, run: Path, command: Callable[..., Said]) -> None:
    shutil.copy(trained / "maml-GridNavi/seed-0/checkpoint.safetensors", run / "seed-0")
    assert_refused(command("evaluate", run), f"checkpoint with family metarl/GridNavi-v0, not {NAVIGATION}")


def test_a_checkpoint_with_other_parameters(run: Path, command: Callable[..., Said]) -> None:
    path = run / "seed-0" / "checkpoint.safetensors"
    tensors, about = load_checkpoint(path)
    save_checkpoint(path, {k: v for k, v in tensors.items() if not k.endswith("log_std")}, about)
    assert_refused(command("evaluate", run), "holds other parameters")


def test_a_seed_without_a_checkpoint(run: Path, command: Callable[..., Said]) -> None:
    (run / "seed-1" / "checkpoint.safetensors").unlink()
    assert_refused(command("evaluate", run), "no checkpoint of seed 1; .*--resume")


def test_a_run_that_is_there(run: Path, command: Callable[..., Said]) -> None:
    before = listing(run)
    words = [word for word in resume(run) if word != "--resume"]
    assert_refused(command(*words), "continue it with --resume, .*--overwrite")
    assert_refused(command(*words, "--resume", "--config.gamma", "0.5"), "gamma=0.5.*its own command")
    assert listing(run) == before


def test_a_family_that_has_changed_since(
    run: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Said]
) -> None:
    from metarl.envs.navigation import PointNavigation
    from metarl.tasks import Disjoint

    monkeypatch.setitem(PointNavigation.presets["pearl"], "split", Disjoint(test=30))  # type: ignore[arg-type]
    assert_refused(command("evaluate", run), "the family has changed. Train anew")


def test_nothing_is_left_of_a_run_that_fails_at_once_side_by_side(folder: Path, command: Callable[..., Said]) -> None:
    words = ["train", "maml", f"{MODULE}:mine/NaNReward-v0", "--seed", "0", "1", "--jobs", "2", "--quiet", *SMALL]
    assert_refused(command(*words), r"seed [01]: .* reward .*not finite")
    assert not list((folder / "runs").iterdir())


def test_a_run_that_had_begun_is_kept_when_it_fails(run: Path, command: Callable[..., Said]) -> None:
    for path in (run / "seed-0" / "checkpoint.safetensors", run / "seed-1" / "checkpoint.safetensors"):
        tensors, about = load_checkpoint(path)
        broken = {name: value * torch.nan if name.endswith("bias") else value for name, value in tensors.items()}
        save_checkpoint(path, broken, {**about, "num_timesteps": 10, "iteration": 0, "log": ""})
    assert_refused(command(*resume(run)), "seed 0: .*not finite")
    assert Run.open(run).checkpoint(0).exists()


def test_a_task_outside_its_space() -> None:
    with pytest.raises(MetaRLError, match=r"'goal' = .* lies outside its space"):
        gymnasium.make(NAVIGATION, task={"goal": (9.0, 9.0)})
    env = gymnasium.make(NAVIGATION)
    with pytest.raises(MetaRLError, match="needs the parameters"):
        env.reset(options={"task": {"gaol": (0.1, 0.1)}})
