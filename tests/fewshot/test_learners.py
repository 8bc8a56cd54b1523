"""Few-shot learners: hand-computed, against naive loops, and a small data set that each must learn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt import gradient, inference
from metarl.core.errors import MetaRLError
from metarl.core.types import Params
from metarl.fewshot.backbone import Conv4, Dense
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import LOGITS
from metarl.fewshot.learners.full_context import FullContextEmbeddings
from metarl.fewshot.learners.gradient import ANIL, FewShotMAML, FirstOrderMAML, GradientConfig, MetaSGD
from metarl.fewshot.learners.metric import Prototypical
from metarl.fewshot.learners.pairs import Matching, Siamese
from metarl.fewshot.learners.registry import learner_class, learner_names, preset_config
from metarl.fewshot.learners.reptile import Reptile, ReptileConfig
from metarl.fewshot.model import FewShot

Learns = Callable[..., None]
SHAPE = (28, 28)
KIND = DataSpec(SHAPE, 60)
# One of each kind, in every run of the tests. Of fine-tuning and memories the tests of their own train one.
FAST = ("prototypical", "siamese", "maml", "reptile")
SLOW = pytest.mark.slow
OF_CLASSES = [name for name in learner_names() if learner_class(name).of_classes]


class Flat:
    """The samples themselves."""

    n_features = 2

    def init(self, generator: torch.Generator) -> Params:
        return {"unused": torch.zeros(1)}

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        return inputs


def test_a_query_belongs_to_the_nearest_mean_by_hand() -> None:
    learner = Prototypical(Flat(), 2)
    params = learner.init(torch.Generator())
    support = Support(torch.tensor([[[0.0, 0.0], [4.0, 0.0], [2.0, 2.0]]]), torch.tensor([[0, 1, 0]]))
    state = learner.adapt(params, learner.initial(params, 1), support)
    # The means are (1, 1) and (4, 0).
    logits = learner.query(params, state, torch.tensor([[[1.0, 0.0], [4.0, 1.0]]]))[LOGITS]
    torch.testing.assert_close(logits, -torch.tensor([[[1.0, 9.0], [9.0, 1.0]]]) / 2**0.5)
    state = learner.adapt(params, state, Support(torch.tensor([[[4.0, 3.0]]]), torch.tensor([[1]])))
    logits = learner.query(params, state, torch.tensor([[[4.0, 1.5]]]))[LOGITS]  # the second mean is now (4, 1.5)
    assert logits[0, 0, 1] == 0


def test_a_query_matches_the_samples_that_it_is_like_by_hand() -> None:
    support = Support(torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]]), torch.tensor([[0, 1, 0]]))
    asked = torch.tensor([[[0.6, 0.8]]])  # cosines of .6, .8 and .6
    weights = [float(np.exp(10 * cosine)) for cosine in (0.6, 0.8, 0.6)]
    share = (weights[0] + weights[2]) / sum(weights)
    matching, siamese = Matching(Flat(), 3), Siamese(Flat(), 3)
    params = matching.init(torch.Generator())
    state = matching.adapt(params, matching.initial(params, 1), support)
    logits = matching.query(params, state, asked)[LOGITS]
    torch.testing.assert_close(logits.exp()[0, 0, :2], torch.tensor([share, 1 - share]), rtol=1e-4, atol=1e-6)
    assert logits[0, 0, 2] < -10  # no sample of the third class was seen
    # Squared distances of directions are 2 - 2 · cosine.
    logits = siamese.query(params, state, asked)[LOGITS]
    torch.testing.assert_close(logits, -10 * torch.tensor([[[0.8, 0.4, 4.0]]]))
    loss, _ = siamese.loss(params, Episodes(support, Support(asked, torch.tensor([[1]]))))
    assert float(loss) == pytest.approx(0.4 + (1 - 0.8**0.5) ** 2, abs=1e-4)
    two = Matching(Flat(), 2)
    with pytest.raises(MetaRLError, match="classes go from 0 to 1"):
        two.adapt(params, two.initial(params, 1), Support(asked, torch.tensor([[2]])))


def test_samples_without_labels_move_prototypes_by_their_probabilities_by_hand() -> None:
    learner = Prototypical(Flat(), 2)
    params = learner.init(torch.Generator())
    support = Support(torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]), torch.tensor([[0, 1]]))
    state = learner.adapt(params, learner.initial(params, 1), support)
    more = torch.tensor([[[0.5, 0.0], [2.0, 1.0]]])
    # Squared distances .25 and 2.25, 5 and 1, over the root of 2.
    first = 1 / (1 + np.exp((0.25 - 2.25) / 2**0.5))
    other = 1 / (1 + np.exp((5 - 1) / 2**0.5))
    expected = [
        [(first * 0.5 + other * 2) / (1 + first + other), other / (1 + first + other)],
        [
            (2 + (1 - first) * 0.5 + (1 - other) * 2) / (3 - first - other),
            (1 - other) / (3 - first - other),
        ],
    ]
    refined = learner.pool.read(learner.refine(params, state, more))[0]
    torch.testing.assert_close(refined, torch.tensor(expected, dtype=torch.float32))


def test_full_context_is_that_of_a_loop() -> None:
    learner = FullContextEmbeddings(Flat(), 3)
    learner.reads = 2
    random = torch.Generator().manual_seed(0)
    params = {
        name: value + 0.3 * torch.randn(value.shape, generator=random) for name, value in learner.init(random).items()
    }
    seen, labels = torch.randn(1, 4, 2, generator=random), torch.tensor([[0, 1, 2, 1]])
    asked = torch.randn(1, 3, 2, generator=random)
    cells = {}
    for name, n_in in (("forward", 2), ("backward", 2), ("reading", 4)):
        cells[name] = torch.nn.LSTMCell(n_in, 2)
        weights = (params[f"{name}.memory.{part}"] for part in ("w_x", "w_h", "b_x", "b_h"))
        for slot, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
            setattr(cells[name], slot, torch.nn.Parameter(value))
    total = seen[0].clone()
    for name, order in (("forward", range(4)), ("backward", range(3, -1, -1))):
        hidden = cell = torch.zeros(1, 2)
        for i in order:
            hidden, cell = cells[name](seen[0, i : i + 1], (hidden, cell))
            total[i] += hidden[0]
    expected = torch.zeros(3, 3)
    for q in range(3):
        hidden, cell, read = asked[0, q : q + 1], torch.zeros(1, 2), torch.zeros(1, 2)
        for _ in range(2):
            fresh, cell = cells["reading"](torch.cat([asked[0, q : q + 1], read], 1), (hidden, cell))
            hidden = fresh + asked[0, q : q + 1]
            read = (hidden @ total.T).softmax(-1) @ total
        weights = (10 * functional.cosine_similarity(hidden, total)).softmax(0)
        for weight, label in zip(weights, labels[0], strict=True):
            expected[q, label] += weight
    state = learner.adapt(params, learner.initial(params, 1), Support(seen, labels))
    found = learner.query(params, state, asked)[LOGITS][0].exp()
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=2e-6)


def naive_maml(learner: FewShotMAML, params: Params, episodes: Episodes) -> tuple[Tensor, Params]:
    """One task after the other, every step with autograd."""
    backbone, config, total = learner.backbone, learner.config, torch.zeros((), dtype=torch.float64)
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}

    def logits(fast: Params, images: Tensor) -> Tensor:
        return functional.linear(
            backbone(fast, images[None], "backbone.")[0], fast["head.0.weight"], fast["head.0.bias"]
        )

    n = len(episodes.support.targets)
    for task in range(n):
        fast = {name: value for name, value in leaves.items() if not name.startswith("step_size.")}
        adapting = [name for name in fast if name.startswith(learner.adapts)]
        for step in range(config.steps):
            out = logits(fast, episodes.support.inputs[task])
            loss = functional.cross_entropy(out, episodes.support.targets[task])
            found = torch.autograd.grad(loss, [fast[name] for name in adapting], create_graph=not learner.first_order)
            for name, each in zip(adapting, found, strict=True):
                size = leaves["step_size." + name][step] if learner.learn_step_sizes else config.step_size
                fast = {
                    **fast,
                    name: fast[name] - size * each.detach() if learner.first_order else fast[name] - size * each,
                }
        out = logits(fast, episodes.query.inputs[task])
        total = total + functional.cross_entropy(out, episodes.query.targets[task]) / n
    total.backward()
    return total.detach(), {name: value.grad for name, value in leaves.items() if value.grad is not None}


class FirstOrderANIL(ANIL):
    """Two choices at once, which a class of one's own makes in a line."""

    first_order = True


@pytest.mark.parametrize("variant", [FewShotMAML, FirstOrderMAML, MetaSGD, ANIL, FirstOrderANIL])
@pytest.mark.parametrize("strided", [True, False])
def test_the_gradient_is_that_of_a_loop_over_tasks(
    drawn: FewShotDataset, variant: type[FewShotMAML], strided: bool
) -> None:
    random = torch.Generator().manual_seed(0)
    config = GradientConfig(steps=2, step_size=0.3)
    learner = variant(Conv4(SHAPE, width=4, blocks=2, strided=strided), 3, config)
    params = {
        name: value.double() + 0.1 * torch.rand(value.shape).double() for name, value in learner.init(random).items()
    }
    parts = drawn.split("train").draw(EpisodeSpec(3, 2, 2), 4, random)
    episodes = Episodes(*(Support(part.inputs.double(), part.targets) for part in parts[:2]))
    found, logged = learner.gradient(params, episodes, chunk=3)
    loss, wanted = naive_maml(learner, params, episodes)
    assert logged["loss"] == pytest.approx(float(loss))
    assert set(wanted) == {name for name, value in found.items() if value.abs().max() > 0}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name, rtol=1e-6, atol=1e-9)


def test_reptile_goes_towards_where_the_steps_lead(drawn: FewShotDataset) -> None:
    random = torch.Generator().manual_seed(0)
    learner = Reptile(Conv4(SHAPE, width=4, blocks=2), 3, ReptileConfig(steps=3, step_size=0.1, batch=4))
    params = learner.init(random)
    episodes = drawn.split("train").draw(EpisodeSpec(3, 2, 2), 4, random)
    found, _ = learner.gradient(params, episodes, chunk=3)
    state = learner.adapt(params, learner.initial(params, 4), episodes.support)
    for name, value in found.items():
        torch.testing.assert_close(value, params[name] - state[name].mean(0), msg=name)
        assert value.abs().max() > 0


@pytest.mark.parametrize("strided", [True, False])
def test_weights_of_each_task_are_as_many_networks(strided: bool) -> None:
    backbone, random = Conv4((3, 9, 12), width=5, blocks=2, strided=strided), torch.Generator().manual_seed(0)
    each = [backbone.init(random) for _ in range(3)]
    images = torch.rand(3, 4, 3, 9, 12, generator=random)
    stacked = {name: torch.stack([params[name] for params in each]) for name in each[0]}
    together = backbone(stacked, images)
    assert together.shape == (3, 4, backbone.n_features)
    for task, params in enumerate(each):
        torch.testing.assert_close(together[task], backbone(params, images[task][None])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["prototypical", "relation", "matching", "siamese"])
def test_classes_without_a_sample_are_no_choice(drawn: FewShotDataset, name: str) -> None:
    """Where the way varies a learner is made for the most; what a batch lacks must not take part."""
    model = FewShot(name, drawn, replace(small(name), episode=EpisodeSpec(3, 1, 4, most_way=9)))
    episodes = drawn.split("test").draw(EpisodeSpec(3, 2, 4, unlabelled=3), 2, torch.Generator().manual_seed(0))
    some, most = (model.learner_for(way) for way in (3, 9))
    found = []
    for learner in (some, most):
        state = learner.adapt(model.params, learner.initial(model.params, 2), episodes.support)
        if name in ("prototypical", "relation"):
            assert episodes.unlabelled is not None
            state = learner.refine(model.params, state, episodes.unlabelled)
        found.append(learner.query(model.params, state, episodes.query.inputs)[LOGITS])
    torch.testing.assert_close(found[1][..., :3], found[0])
    assert (found[1].argmax(-1) < 3).all()
    if name in ("prototypical", "relation"):
        torch.testing.assert_close(found[1].softmax(-1)[..., :3], found[0].softmax(-1))
        episodes = episodes._replace(unlabelled=None)
        losses = [learner.gradient(model.params, episodes) for learner in (some, most)]
        assert losses[0][1] == pytest.approx(losses[1][1])
        for key, value in losses[0][0].items():
            torch.testing.assert_close(losses[1][0][key], value, rtol=1e-4, atol=1e-6)


def test_episodes_of_varying_ways_and_shots_can_be_scored(drawn: FewShotDataset) -> None:
    model = FewShot("prototypical", drawn, small("prototypical"))
    shape = EpisodeSpec(2, 1, 3, most_way=7, most_shot=3)
    model.check(drawn.split("test"), shape)
    found = model.score(drawn.split("test"), shape, 60).at()
    assert found.shape == (60,)
    assert 0.15 < found.mean() < 1
    assert model.cost(drawn.split("test"), shape).seconds > 0


@pytest.mark.parametrize("strided", [True, False])
def test_a_network_is_its_blocks_written_out(strided: bool) -> None:
    """A convolution, each sample normalised, scale and shift by channel, ReLU, and then the halving."""
    backbone, random = Conv4((3, 9, 12), width=5, blocks=2, strided=strided), torch.Generator().manual_seed(0)
    params = {
        n: (x + 0.3 * torch.randn(x.shape, generator=random)).requires_grad_() for n, x in backbone.init(random).items()
    }
    images = torch.rand(1, 4, 3, 9, 12, generator=random)
    x = images[0]
    for block in range(2):
        weight, scale, shift = (params[f"{block}.{part}"] for part in ("weight", "scale", "shift"))
        x = torch.nn.functional.conv2d(x, weight, stride=2 if strided else 1, padding=1)
        mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, correction=0)
        x = (x - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]
        x = x.clamp(min=0)
        if not strided:
            x = torch.nn.functional.max_pool2d(x, 2)
    features = backbone(params, images)
    torch.testing.assert_close(features, x.flatten(1)[None])
    upstream = torch.randn(features.shape, generator=random)
    found, wanted = (
        torch.autograd.grad((each * upstream).sum(), list(params.values())) for each in (features, x.flatten(1))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learner", OF_CLASSES)
def test_a_query_is_predicted_from_the_support_alone(drawn: FewShotDataset, learner: str) -> None:
    """Inductive: other queries beside it change nothing."""
    model = FewShot(learner, KIND, small(learner))
    images = drawn.split("test").samples[: 3 * 12].reshape(3, 12, *SHAPE).numpy()
    classifier = model.adapt(images[:, :2].reshape(-1, *SHAPE), np.repeat(["a", "b", "c"], 2))
    queries = images[:, 2:].reshape(-1, *SHAPE)
    together = classifier.predict_proba(queries)
    alone = np.concatenate([classifier.predict_proba(queries[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together[:5], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together.sum(1), 1)


def small(learner: str) -> Any:
    made = replace(preset_config(learner), width=16, iterations=100, learning_rate=3e-3, tasks=8, strided=True)
    if learner in FAST:
        made = replace(made, width=8, iterations=60, learning_rate=5e-3)
    if learner == "maml":
        return replace(made, iterations=40, learning_rate=1e-2, tasks=4)
    if learner == "reptile":
        return replace(made, width=16, learning_rate=1.0, tasks=3, test_steps=10)
    if learner in ("prototypical", "matching", "matching-fce", "relation", "siamese"):
        return replace(made, episode=EpisodeSpec(5, 1, 4))
    if learner.startswith("finetune"):
        return replace(made, episode=EpisodeSpec(10, 1, 4), iterations=200)
    return replace(made, iterations=250) if learner in ("mann", "snail") else made


def fast_or_slow(*fast: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "learner", [each if each in fast else pytest.param(each, marks=SLOW) for each in OF_CLASSES]
    )


@fast_or_slow(*FAST)
def test_it_learns(drawn: FewShotDataset, learner: str, learns: Learns) -> None:
    def score(seed: int) -> dict[str, float]:
        model, shape = FewShot(learner, KIND, small(learner), seed=seed), EpisodeSpec(5, 1, 5)
        before = model.evaluate(drawn.split("test"), shape, 40).mean()
        losses: list[float] = []
        model.fit(drawn, callback=lambda _, logged: losses.append(logged["loss"]))
        after = model.evaluate(drawn.split("test"), shape, 40).mean()
        return {"after": after, "gain": after - before, "loss left": np.mean(losses[-10:]) / np.mean(losses[:10])}

    # Of 5 classes.
    learns(score, above={"after": 0.45, "gain": 0}, below={"loss left": 1})


@fast_or_slow(*FAST, "mann", "finetune-cosine")
def test_it_goes_on_where_it_stopped(drawn: FewShotDataset, learner: str, tmp_path: Path) -> None:
    config = replace(small(learner), iterations=4)
    whole, half = (FewShot(learner, KIND, config).fit(drawn, iterations=n) for n in (4, 2))
    half.save(tmp_path / "half.safetensors")
    resumed = FewShot.load(tmp_path / "half.safetensors").fit(drawn)
    assert resumed.iteration == whole.iteration
    for name, value in whole.params.items():
        assert torch.equal(resumed.params[name], value), name


@pytest.mark.parametrize(
    ("module", "name", "learner"),
    [(gradient.InnerLoop, "step", "maml"), (inference.Mean, "statistics", "prototypical")],
)
def test_the_mechanism_is_the_cores(
    drawn: FewShotDataset, module: Any, name: str, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the core's mechanism")

    model = FewShot(learner, KIND, small(learner))
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(RuntimeError, match="the core's mechanism"):
        model.fit(drawn, iterations=1)


def test_numbers_can_be_predicted_too() -> None:
    learner = FewShotMAML(Dense((1, 20, 20)), 1, GradientConfig(steps=3, step_size=0.05), regression=True)
    params = learner.init(torch.Generator().manual_seed(0))
    x = torch.linspace(-1, 1, 10)[None, :, None]
    state = learner.adapt(params, learner.initial(params, 1), Support(x, 2 * x), 200)
    torch.testing.assert_close(learner.query(params, state, x)["value"], 2 * x, atol=0.1, rtol=0)
