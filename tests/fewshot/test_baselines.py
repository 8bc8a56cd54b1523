"""Baselines on the episodes of a run, what they predict by hand, and differences paired by episode."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot_baselines import evaluate_baseline, paired
from metarl.fewshot import EpisodeSpec, FewShotDataset
from metarl.fewshot.baselines.base import Baseline
from metarl.fewshot.baselines.registry import BASELINES, baseline_names, make_baseline
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.learners.base import LOGITS
from metarl.fewshot.measures import DELTA_AUPRC, ROC_AUC, measured
from metarl.fewshot.scoring import score

ALL = baseline_names(("all",))
KIND = DataSpec((2,), 3)


@pytest.fixture(scope="module")
def blobs() -> FewShotDataset:
    random = np.random.default_rng(0)
    X = random.normal(size=(12, 1, 6)) * 2 + random.normal(size=(12, 15, 6))
    return FewShotDataset.from_arrays(X.reshape(-1, 6).astype(np.float32), np.repeat(np.arange(12), 15))


def predicted(learner: Baseline, support: Support, queries: torch.Tensor) -> torch.Tensor:
    state = learner.adapt({}, learner.initial({}, len(queries)), support)
    return learner.query({}, state, queries)[LOGITS].softmax(-1)


@pytest.mark.parametrize("name", [each for each in ALL if each != "tabpfn"])
def test_it_is_better_than_chance(blobs: FewShotDataset, name: str) -> None:
    made = evaluate_baseline(name, blobs, EpisodeSpec(2, 5, 5), 20, "train")
    assert made.learner == name
    assert made.values.shape == (1, 1, 20)
    assert made.values.mean() > 75


@pytest.mark.parametrize("name", sorted(set(BASELINES) - set(ALL) - {"tabpfn"}))
def test_what_combines_them_takes_one_shot_and_more(blobs: FewShotDataset, name: str) -> None:
    for shot in (1, 3):
        assert evaluate_baseline(name, blobs, EpisodeSpec(2, shot, 5), 3, "train").values.mean() > 60


def test_nearest_mean_by_hand() -> None:
    support = Support(torch.tensor([[[1.0, 0.0], [0.0, 2.0], [0.0, 4.0]]]), torch.tensor([[0, 1, 1]]))
    found = predicted(make_baseline("nearest-mean", KIND, 3), support, torch.tensor([[[0.6, 0.8]]]))
    weights = np.exp([0.6, 0.8])
    np.testing.assert_allclose(found[0, 0, :2].numpy(), weights / weights.sum(), rtol=1e-4)
    assert found[0, 0, 2] < 1e-5  # no sample of the third class was seen


def test_each_task_is_fitted_by_itself() -> None:
    random = torch.Generator().manual_seed(0)
    support = Support(torch.randn(3, 8, 2, generator=random), torch.tensor([[0, 1] * 4] * 3))
    queries = torch.randn(3, 5, 2, generator=random)
    found = predicted(make_baseline("logistic-regression", KIND, 2), support, queries)
    for task in range(3):
        fitted = LogisticRegression(max_iter=500).fit(support.inputs[task], support.targets[task])
        np.testing.assert_allclose(found[task].numpy(), fitted.predict_proba(queries[task]), rtol=1e-4, atol=1e-5)


def test_a_support_of_one_class_is_predicted_to_be_that() -> None:
    support = Support(torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.int64))
    found = predicted(make_baseline("logistic-regression", KIND, 2), support, torch.randn(1, 4, 2))
    assert (found[..., 1] > 0.99).all()


def test_contrastive_tuning_draws_samples_of_a_class_together() -> None:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, 8, 4, generator=random)
    inputs[0, ::2, 0] += 1.0
    learner = make_baseline("setfit", DataSpec((4,), 2), 2)
    state = learner.adapt({}, learner.initial({}, 1), Support(inputs, torch.tensor([[0, 1] * 4])))

    def loss(mapped: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(mapped, dim=-1)
        same = torch.arange(8)[:, None] % 2 == torch.arange(8) % 2
        apart = (unit @ unit.T - same.float()).square()
        return apart[same].mean() + apart[~same].mean()

    unit = state["inputs"][0]
    assert loss(unit @ state["map"][0].T) < 0.8 * loss(unit)


def test_an_unknown_baseline_is_answered_with_those_known() -> None:
    with pytest.raises(MetaRLError, match=r"random-forest.*Did you mean"):
        make_baseline("random-forrest", KIND, 3)
    with pytest.raises(MetaRLError, match="numbers to predict"):
        make_baseline("knn", DataSpec((2,), outputs=1), 1)
    assert set(ALL) <= set(BASELINES)


def test_differences_are_paired_by_episode(blobs: FewShotDataset) -> None:
    spec = EpisodeSpec(2, 1, 5)
    first, second = (evaluate_baseline(name, blobs, spec, 60, "train") for name in ("nearest-mean", "random-forest"))
    found, apart = paired(first, second), first.values - second.values
    assert found["difference"] == pytest.approx(apart.mean())
    assert found["difference_low"] < found["difference"] < found["difference_high"]
    half = 1.96 * apart.std(ddof=1) / 60**0.5
    assert found["difference_high"] - found["difference_low"] == pytest.approx(2 * half, rel=0.25)
    assert paired(first, first)["difference_low"] == paired(first, first)["difference_high"] == 0


def test_areas_by_hand() -> None:
    """Of positives ranked first and third of four, 3 of 4 pairs are in order, and precisions are 1 and 2/3."""
    logits = torch.tensor([[[0.0, 4.0], [0.0, 3.0], [0.0, 2.0], [0.0, 1.0]]])
    targets = torch.tensor([[1, 0, 1, 0]])
    assert float(measured({LOGITS: logits}, targets, 2, ROC_AUC)) == pytest.approx(0.75)
    assert float(measured({LOGITS: logits}, targets, 2, DELTA_AUPRC)) == pytest.approx((1 + 2 / 3) / 2 - 0.5)
    assert float(measured({LOGITS: logits}, 0 * targets, 2, ROC_AUC)) == 0.5
    with pytest.raises(MetaRLError, match="two classes"):
        measured({LOGITS: logits}, targets, 5, ROC_AUC)


def test_a_measure_is_of_the_same_episodes(blobs: FewShotDataset) -> None:
    learner, spec = make_baseline("nearest-mean", blobs.spec, 2), EpisodeSpec(2, 2, 5)
    found = [score(learner, {}, blobs.split("train"), spec, 30, measure=each) for each in ("accuracy", ROC_AUC)]
    assert found[1].measure == ROC_AUC
    assert np.corrcoef(found[0].at(), found[1].at())[0, 1] > 0.7
