"""What people bring: learners, backbones and data sets from a folder of their own, and what is imported for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metarl.cli.main import main
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs, Params, State
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot import (
    DataSpec,
    EpisodeSpec,
    FewShot,
    FewShotConfig,
    FewShotLearner,
    Support,
    label,
    make_dataset,
    preset_config,
    register_fewshot,
)
from metarl.fewshot.learners import registry
from metarl.fewshot.learners.gradient import FewShotMAML, GradientConfig
from metarl.fewshot.learners.metric import Prototypical

EXAMPLE = Path(__file__).parents[2] / "examples" / "few_shot_learner.py"
SMALL = ["--config.iterations", "2", "--config.episode.way", "3", "--config.episode.queries", "2"]
OWN = """
import numpy as np
from torch import nn
from metarl.fewshot import FewShotDataset

def blobs():
    random = np.random.default_rng(0)
    X = random.normal(size=(20, 1, 6)) + 0.1 * random.normal(size=(20, 8, 6))
    return FewShotDataset.from_arrays(X.reshape(-1, 6), np.repeat(np.arange(20), 8), name="blobs")

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4))

number = 3
"""
SPEC = DataSpec((6,), 20)
TINY = EpisodeSpec(3, 1, 2)


def blobs() -> tuple[Tensor, list[int]]:
    """Two samples of each of three classes."""
    random = torch.Generator().manual_seed(0)
    samples = 3 * torch.randn(3, 1, 6, generator=random) + 0.1 * torch.randn(3, 2, 6, generator=random)
    return samples.flatten(0, 1), [0, 0, 1, 1, 2, 2]


def test_a_learner_a_backbone_and_a_data_set_from_outside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(EXAMPLE.read_text().partition("if __name__")[0].strip().splitlines()) <= 45
    (tmp_path / "own_learner.py").write_text(EXAMPLE.read_text())
    (tmp_path / "own_things.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    registry.learner_names()  # metarl's own, before what is registered here is forgotten with this test
    monkeypatch.setattr(registry.learners_by_name, "classes", dict(registry.learners_by_name.classes))
    own = ["own_learner:NearestNeighbour", "--data", "own_things:blobs"]
    words = [*own, *SMALL, "--config.backbone", "own_things:Net", "--config.sharpness", "5", "--runs", str(tmp_path)]
    main(["fewshot", "train", *words])
    path = tmp_path / "NearestNeighbour-own_things-blobs"
    evaluate = ["fewshot", "evaluate", str(path), "--way", "3", "--queries", "2", "--episodes", "10", "--json"]
    capsys.readouterr()
    main(evaluate)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["learner"] == "nearest-custom"
    run = FewShotRun.open(path)
    assert run.trained(0).config.sharpness == 5  # type: ignore[attr-defined]  # of its own config
    assert any("backbone.2.weight" in name for name in load_checkpoint(run.checkpoint(0))[0])
    main(["fewshot", "train", *words, "--resume"])
    # Later nothing of this is imported, unless it is named.
    options = {"learner": own[0], "data": own[2], "backbone": "own_things:Net"}
    for left_out in (*options, None):
        for module in ("own_learner", "own_things"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delitem(registry.learners_by_name.classes, "nearest", raising=False)
        given = [word for name, value in options.items() if name != left_out for word in (f"--{name}", value)]
        if left_out is None:
            main([*evaluate, *given])
            assert json.loads(capsys.readouterr().out)[0]["value"] == row["value"]
            return
        with pytest.raises(SystemExit):
            main([*evaluate, *given])
        assert f"if you trust it, say --{left_out} {options[left_out]}" in capsys.readouterr().err
        assert not {"own_learner", "own_things"} & set(sys.modules)


def test_few_shot_learning_imports_little() -> None:
    code = (
        "import json, sys; import metarl.fewshot; print(json.dumps([m for m in sys.modules if m.split('.')[0] in "
        "('metarl', 'stable_baselines3', 'matplotlib', 'sklearn')]))"
    )
    found = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert len(found) <= 45
    others = tuple(f"metarl.{name}" for name in ("agents", "algorithm", "experiments", "plotting", "evaluation", "cli"))
    assert not [name for name in found if not name.startswith("metarl") or name.startswith(others)]


# --- learners ---


class Constant(FewShotLearner):
    """A learner that never learns."""

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"nothing": torch.zeros(n_tasks, 1)}

    def adapt(self, params: Params, state: State, support: Support) -> State:
        return state

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        features = self.backbone(params, inputs, "backbone.")
        return {"logits": features.sum(-1, keepdim=True).expand(-1, -1, self.way)}


def test_a_learner_may_be_a_name_a_class_or_an_object(tmp_path: Path) -> None:
    config = FewShotConfig(episode=TINY)
    ready = Constant(FewShot(Constant, SPEC, config).learner.backbone, 3, config)
    for learner in (Constant, f"{__name__}:Constant", ready):
        sys.modules.setdefault(__name__, sys.modules[Constant.__module__])
        model = FewShot(learner, SPEC, None if learner is ready else config)
        assert model.config == config
        model.save(tmp_path / "model")
        again = FewShot.load(tmp_path / "model", learner=learner)
        assert type(again.learner) is Constant
        images, labels = blobs()
        assert again.adapt(images, labels).predict_proba(images).shape == (6, 3)
    with pytest.raises(MetaRLError, match="made for 3 classes and cannot tell 4 apart"):
        FewShot(ready, SPEC).learner_for(4)
    with pytest.raises(MetaRLError, match="is ready and has its backbone"):
        FewShot(ready, SPEC, backbone=nn.Linear(6, 2))
    with pytest.raises(MetaRLError, match=r"is of the learner .*:Constant, not of prototypical"):
        FewShot.load(tmp_path / "model", learner=Prototypical)
    with pytest.raises(MetaRLError, match="no few-shot learner; it must be a subclass"):
        FewShot("pathlib:Path", SPEC)
    with pytest.raises(MetaRLError, match="Few-shot learner 'Nobody' is unknown"):
        FewShot("pathlib:Nobody", SPEC)


def test_a_name_is_taken_once_and_labels_tell_presets() -> None:
    with pytest.raises(MetaRLError, match=r"maml is taken by metarl\.fewshot\.learners\.gradient\.FewShotMAML; choose"):
        register_fewshot("maml")(Constant)
    assert register_fewshot("maml")(FewShotMAML) is FewShotMAML  # the same again, as after a reload
    assert label(Constant, FewShotConfig()) == "Constant"
    assert label(Constant, FewShotConfig(iterations=1)) == "Constant"
    assert label(Constant, FewShotConfig(tasks=9)) == "Constant-custom"
    assert label("maml", preset_config("maml", "sinusoid")) == "maml-sinusoid"
    assert label("prototypical", preset_config("prototypical", "short")) == "prototypical-short"
    with pytest.raises(MetaRLError, match="Learner 'Constant' has no preset 'best'; choose one of default"):
        preset_config(Constant, "best")


def test_a_data_set_of_ones_own_is_one_or_a_function_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(f"{OWN}\nready = blobs()\n")
    monkeypatch.syspath_prepend(tmp_path)
    one, other = make_dataset("own_data:blobs"), make_dataset("own_data:ready")
    assert one.name == other.name == "blobs"
    with pytest.raises(MetaRLError, match="own_data:number is no FewShotDataset, nor a function"):
        make_dataset("own_data:number")
    with pytest.raises(MetaRLError, match="There is no module 'nowhere'"):
        make_dataset("nowhere:blobs")


# --- backbones ---


class Net(nn.Module):
    """Two layers, with a buffer that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 4)
        self.register_buffer("scale", torch.full((), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)) * self.scale)


def test_a_module_is_a_backbone_of_every_learner(tmp_path: Path) -> None:
    """Trained for an iteration, saved and loaded; a test above differentiates each of ours in a loop."""
    dataset = make_dataset("strokes")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.LayerNorm(8))
    for name in ("maml", "reptile", "meta-sgd", "anil", "meta-lstm", "finetune-whole", "mann", "snail", "relation"):
        config: Any = preset_config(name)
        config = type(config)(**{**vars(config), "tasks": 2, "episode": EpisodeSpec(3, 1, 2)})
        model = FewShot(name, dataset, config, backbone=flat).fit(dataset, iterations=1)
        assert any(not torch.equal(value, model.params[f"backbone.{key}"]) for key, value in flat.state_dict().items())
        model.save(tmp_path / "model")
        again = FewShot.load(tmp_path / "model", backbone=flat)
        for key, value in model.params.items():
            assert torch.equal(value, again.params[key])
    with pytest.raises(MetaRLError, match="neural-process has an encoder of its own and takes no backbone; leave Seq"):
        FewShot("neural-process", make_dataset("sinusoid"), backbone=nn.Sequential(nn.Linear(1, 4)))


def test_the_gradient_through_a_module_is_that_of_its_own_layers() -> None:
    """Steps for each task by vmap against a loop over tasks with the module itself."""
    module, config = Net(), GradientConfig(episode=TINY, steps=2, step_size=0.1)
    model = FewShot("maml", SPEC, config, backbone=module)
    params = {name: value.double() for name, value in model.params.items()}
    params["head.0.weight"] = torch.linspace(-1, 1, 12).double().reshape(3, 4)
    random = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(2, 6, 6, generator=random).double(), torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    state = model.learner.adapt(params, model.learner.initial(params, 2), Support(inputs, targets))
    found = model.learner.query(params, state, inputs)["logits"]
    for task in range(2):
        head = nn.Linear(4, 3).double()
        net = nn.Sequential(Net().double(), head)
        net[0].load_state_dict({**module.state_dict()})
        head.load_state_dict({"weight": params["head.0.weight"], "bias": params["head.0.bias"]})
        for _ in range(2):
            loss = nn.functional.cross_entropy(net(inputs[task]), targets[task])
            gradients = torch.autograd.grad(loss, list(net.parameters()))
            with torch.no_grad():
                for value, each in zip(net.parameters(), gradients, strict=True):
                    value -= 0.1 * each
        torch.testing.assert_close(found[task], net(inputs[task]))


def test_a_function_of_modules_gives_every_seed_its_own_start() -> None:
    one, same, other = (FewShot("prototypical", SPEC, backbone=Net, seed=seed).params for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["backbone.first.weight"], other["backbone.first.weight"])
    state = torch.get_rng_state()
    FewShot("prototypical", SPEC, backbone=Net)
    assert torch.equal(state, torch.get_rng_state())
    module = Net()
    module.first.requires_grad_(False)
    assert set(FewShot("prototypical", SPEC, backbone=module).params) == {"backbone.last.weight", "backbone.last.bias"}
    with pytest.raises(MetaRLError, match="prototypical has no parameters to train"):
        FewShot("prototypical", SPEC, backbone=module.requires_grad_(False))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)),
            "its buffer 1.running_mean .*GroupNorm or LayerNorm",
        ),
        (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)), "lets samples depend on one"),
        (nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5)), "gives other numbers every time .*p=0 for Dropout"),
        (nn.Linear(5, 4), r"Linear cannot be called, .* on samples \(n, 6\): RuntimeError"),
        (lambda: 3, "gave int; a torch.nn.Module is wanted"),
    ],
)
def test_modules_that_are_no_functions_of_one_sample_are_refused(module: Any, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        FewShot("maml", SPEC, backbone=module)


def test_fixed_statistics_are_taken_and_belong_to_the_module(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    module(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    module.eval()
    model, (images, labels) = FewShot("prototypical", SPEC, backbone=module), blobs()
    model.save(tmp_path / "model")
    again = FewShot.load(tmp_path / "model", backbone=module)
    np.testing.assert_array_equal(*(each.adapt(images, labels).predict_proba(images) for each in (model, again)))
    with pytest.raises(MetaRLError, match="was trained with a backbone of your own; give it again"):
        FewShot.load(tmp_path / "model")
    fresh = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval()
    for wrong in (fresh, nn.Linear(6, 4)):
        with pytest.raises(MetaRLError, match="was trained with another backbone than"):
            FewShot.load(tmp_path / "model", backbone=wrong)
    FewShot("prototypical", SPEC, backbone=nn.Linear(6, 4)).save(tmp_path / "model")
    with pytest.raises(MetaRLError, match="holds other parameters than this learner has"):
        FewShot.load(tmp_path / "model", backbone=nn.Linear(6, 5))
