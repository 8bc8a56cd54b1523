"""The weights of every published result load by today's code."""

from pathlib import Path

import pytest

from metarl.evaluation.published import open_fewshot_run, open_run

ROOT = Path(__file__).resolve().parents[2]
OWN = {"rl2-pendulum": "gymnasium_env:me/Pendulum-v0", "multitask-pendulum": "gymnasium_env:me/Pendulum-v0"}
KEPT = sorted({path.parent for path in (ROOT / "results").rglob("weights-*.safetensors")})


@pytest.mark.parametrize("folder", KEPT, ids=[path.relative_to(ROOT).as_posix() for path in KEPT])
def test_published_weights_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "fewshot" in folder.parts:
        learners = open_fewshot_run(folder)
        assert all(learners.trained(seed).iteration > 0 for seed in learners.seeds)
        return
    if folder.name.startswith("ML1-"):
        pytest.importorskip("metaworld", reason="installed apart: pip install --no-deps metaworld==3.1.1")
    monkeypatch.syspath_prepend(ROOT / "examples")
    family = OWN.get(folder.parent.name)
    run = open_run(folder, family=family) if family else open_run(folder)
    for seed in run.seeds:
        assert run.trained(seed).num_timesteps > 0
