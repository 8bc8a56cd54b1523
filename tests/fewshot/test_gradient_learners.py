"""Learners by gradient: the loss of each step, a learned update, and fine-tuning, against naive loops over tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt import learned_update
from metarl.adapt.gradient import COUNT, InnerLoop
from metarl.core.errors import MetaRLError
from metarl.core.optimiser import Adam
from metarl.core.random import torch_generator
from metarl.core.types import Params, State
from metarl.fewshot.backbone import Conv4, Dense
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.data.registry import equal_classes
from metarl.fewshot.data.synthetic_characters import stroke_classes
from metarl.fewshot.learners.base import HEAD, LOGITS, FewShotLearner, accuracy
from metarl.fewshot.learners.finetuning import (
    CosineConfig,
    CosineFineTuning,
    FineTuning,
    FineTuningConfig,
    WholeFineTuning,
)
from metarl.fewshot.learners.gradient import FewShotMAML, FirstOrderMAML, GradientConfig
from metarl.fewshot.learners.meta_lstm import MetaLSTM, MetaLSTMConfig
from metarl.fewshot.learners.reptile import Reptile, ReptileConfig
from metarl.fewshot.model import FewShot

Learns = Callable[..., None]
SHAPE = (28, 28)
WAY, TASKS = 3, 4
FIRST = MetaLSTMConfig(steps=3, step_size=0.1)
SMALL = replace(FIRST, update_width=4)


@pytest.fixture(scope="module")
def drawn() -> FewShotDataset:
    images = stroke_classes(60, 10)
    names = tuple(f"character {i}" for i in range(60))
    return FewShotDataset(
        "drawn", {"train": equal_classes(images[:40], names[:40]), "test": equal_classes(images[40:], names[40:])}
    )


def numbers(n_outputs: int = 1) -> Episodes:
    """Tasks whose targets are numbers."""
    random = torch.Generator().manual_seed(3)
    x = torch.rand(TASKS, 7, 2, generator=random).double()
    y = torch.rand(TASKS, 7, n_outputs, generator=random).double()
    return Episodes(Support(x[:, :4], y[:, :4]), Support(x[:, 4:], y[:, 4:]))


def points(way: int = WAY) -> Episodes:
    """Tasks whose samples are points in the plane, of ``way`` among 7 classes."""
    random = torch.Generator().manual_seed(3)
    x = torch.randn(TASKS, 4 * way, 2, generator=random).double()
    y = torch.arange(way).repeat(4).expand(TASKS, -1)
    classes = torch.stack([torch.randperm(7, generator=random)[:way] for _ in range(TASKS)])
    return Episodes(Support(x[:, : 2 * way], y[:, : 2 * way]), Support(x[:, 2 * way :], y[:, 2 * way :]), classes)


def wide(learner: Any) -> Params:
    """Parameters in float64 that are all away from zero."""
    random = torch.Generator().manual_seed(0)
    made = learner.init(random)
    return {name: value.double() + 0.2 * torch.randn(value.shape, generator=random) for name, value in made.items()}


def leaves_of(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def gradients_of(total: Tensor, leaves: Params) -> Params:
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if value is None else value
        for (name, leaf), value in zip(leaves.items(), found, strict=True)
    }


def same(found: Params, wanted: Params) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=lambda m, n=name: f"{n}: {m}", rtol=1e-7, atol=1e-10)


# --- what all of them are compared with: a network of one task, plainly ---

Head = Callable[[Tensor, Params], Tensor]


def features_of(params: Params, x: Tensor) -> Tensor:
    for layer in range(2):
        x = functional.linear(x, params[f"backbone.{layer}.weight"], params[f"backbone.{layer}.bias"]).relu()
    return x


def linear(features: Tensor, params: Params) -> Tensor:
    return functional.linear(features, params["head.0.weight"], params["head.0.bias"])


def cosines(features: Tensor, params: Params) -> Tensor:
    rows = [features @ w / (w.norm() * features.norm(dim=-1)) for w in params["head.0.weight"]]
    return 10 * torch.stack(rows, -1)


def naive_loss(params: Params, x: Tensor, y: Tensor, head: Head = linear) -> Tensor:
    out = head(features_of(params, x), params)
    return (out - y).square().mean() if y.is_floating_point() else functional.cross_entropy(out, y)


# --- the loss of each step, and the states between ---


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("regression", [False, True])
def test_the_gradient_of_the_mean_loss_over_steps_is_that_of_a_loop_over_tasks(
    regression: bool, first_order: bool
) -> None:
    config = GradientConfig(steps=3, step_size=0.2, each_step=True)
    episodes, maml = numbers() if regression else points(), FirstOrderMAML if first_order else FewShotMAML
    learner = maml(Dense((2, 8, 8)), 1 if regression else WAY, config, regression=regression)
    params = wide(learner)
    leaves, total, last = leaves_of(params), torch.zeros((), dtype=torch.float64), 0.0
    for task in range(TASKS):
        fast = dict(leaves)
        for _ in range(3):
            loss = naive_loss(fast, episodes.support.inputs[task], episodes.support.targets[task])
            found = torch.autograd.grad(loss, list(fast.values()), create_graph=not first_order)
            fast = {name: value - 0.2 * each for (name, value), each in zip(fast.items(), found, strict=True)}
            asked = naive_loss(fast, episodes.query.inputs[task], episodes.query.targets[task])
            total = total + asked / (3 * TASKS)
        last += asked.item() / TASKS
    found, logged = learner.gradient(params, episodes, chunk=3)
    same(found, gradients_of(total, leaves))
    assert logged["loss"] == pytest.approx(last)  # after the last step
    assert logged["objective"] == pytest.approx(total.item())
    assert ("accuracy" in logged) is not regression
    last_only = maml(learner.backbone, learner.head.sizes[-1], replace(config, each_step=False), regression=regression)
    assert last_only.gradient(params, episodes)[1] == pytest.approx({**logged, "objective": last})


@pytest.mark.parametrize("learner", [FirstOrderMAML, MetaLSTM])
def test_a_trace_holds_the_states_of_adapting_ever_longer(learner: type[FewShotMAML]) -> None:
    made, support = learner(Dense((2, 8, 8)), WAY, FIRST), points().support
    params = wide(made)
    start = made.initial(params, TASKS)
    states = list(made.trace(params, start, support, 4))
    assert [int(state[COUNT][0]) for state in states] == [0, 1, 2, 3, 4]
    for steps, state in enumerate(states):
        same(made.adapt(params, start, support, steps), state)
    same(made.adapt(params, start, support), states[3])  # as many as in training
    same(made.adapt(params, states[1], support, 2), states[3])  # later support goes on from there
    with pytest.raises(MetaRLError, match="steps=-1"):
        made.trace(params, start, support, -1)


def test_reptile_has_no_loss_of_each_step() -> None:
    with pytest.raises(MetaRLError, match="without a query"):
        Reptile(Dense((2, 8)), WAY, ReptileConfig(each_step=True))


def test_reptile_takes_adams_steps_on_minibatches_in_turn() -> None:
    """Two tasks against torch's own Adam without a first moment, on samples chosen by hand."""
    learner = Reptile(Dense((2, 8)), WAY, ReptileConfig(steps=4, step_size=0.01, batch=2 * WAY))
    random = torch.Generator().manual_seed(0)
    params = learner.init(random)
    inputs, targets = torch.randn(2, 3 * WAY, 2, generator=random), torch.arange(WAY).repeat_interleave(3).expand(2, -1)
    state = learner.adapt(params, learner.initial(params, 2), Support(inputs, targets))
    by_shot = torch.arange(3 * WAY).reshape(WAY, 3).T.flatten()  # the first of each class, the second of each, ...
    turns = by_shot.repeat(3).split(2 * WAY)[:4]
    for task in range(2):
        own = {name: value.clone().requires_grad_() for name, value in params.items()}
        adam = torch.optim.Adam(own.values(), lr=0.01, betas=(0.0, 0.999))
        for rows in turns:
            logits = learner.query(own, {}, inputs[task, rows][None])["logits"][0]
            adam.zero_grad()
            functional.cross_entropy(logits, targets[task, rows]).backward()
            adam.step()
        for name, value in own.items():
            torch.testing.assert_close(state[name][task], value.detach(), msg=name, rtol=1e-4, atol=1e-5)


def test_reptiles_start_goes_a_share_of_the_way(drawn: FewShotDataset) -> None:
    config = ReptileConfig(tasks=2, iterations=4, learning_rate=0.5, steps=2, width=4, episode=EpisodeSpec(3, 4, 1))
    model = FewShot("reptile", drawn, config)
    before = model.params
    model.fit(drawn, iterations=1)
    source = drawn.split("train")
    episodes = source.draw(config.episode, 2, torch_generator(0, "fewshot", "train", 0))
    learner = model.learner
    state = learner.adapt(before, learner.initial(before, 2), episodes.support)
    for name, value in model.params.items():
        torch.testing.assert_close(value, torch.lerp(before[name], state[name].mean(0), 0.5), msg=name)


# --- the learned update ---


def naive_rule(params: Params, fast: Params, found: Params, loss: Tensor, memory: list[Tensor]) -> Params:
    """Torch's own cell with a row for each element of one task; ``memory``: hidden, cell, forget, input."""

    def two(x: float) -> list[float]:
        x_ = torch.tensor(x, dtype=torch.float64)
        return [float(x_.abs().log()) / 10, float(x_.sign())] if abs(x) >= torch.e**-10 else [-1, x * torch.e**10]

    names = sorted(fast)
    value, gradient = (torch.cat([where[name].flatten() for name in names]) for where in (fast, found))
    rows = torch.tensor([two(g) + two(loss.item()) for g in gradient.tolist()], dtype=torch.float64)
    weights = [params["update.layer." + name] for name in ("w_x", "w_h", "b_x", "b_h")]
    memory[:2] = torch.lstm_cell(rows, (memory[0], memory[1]), *weights)
    part = {name: params["update.gate." + name] for name in ("from_hidden", "from_value", "from_gates", "bias")}
    for gate in range(2):
        score = memory[0] @ part["from_hidden"][gate] + part["from_value"][gate] * value + part["bias"][gate]
        memory[2 + gate] = (score + part["from_gates"][gate] * memory[2 + gate]).sigmoid()
    new = (memory[2] * value - memory[3] * gradient).split([fast[name].numel() for name in names])
    return {name: each.reshape(fast[name].shape) for name, each in zip(names, new, strict=True)}


class HeadLSTM(MetaLSTM):
    """A learned update of the last layer alone."""

    adapts = HEAD


@pytest.mark.parametrize("variant", [MetaLSTM, HeadLSTM])
def test_the_gradient_of_a_learned_update_is_that_of_a_loop_over_tasks(
    variant: type[MetaLSTM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_update, "_BLOCK", 40 * TASKS)  # several blocks, the last one smaller
    learner, episodes = variant(Dense((2, 5, 5)), WAY, SMALL), points()
    params = wide(learner)
    leaves, total = leaves_of(params), torch.zeros((), dtype=torch.float64)
    prefixes = ("head.",) if variant is HeadLSTM else ("head.", "backbone.")
    for task in range(TASKS):
        fast = {name: value for name, value in leaves.items() if name.startswith(prefixes)}
        n = sum(value.numel() for value in fast.values())
        memory = [torch.zeros(*shape, dtype=torch.float64) for shape in ((n, 4), (n, 4), (n,), (n,))]
        for _ in range(3):
            used = {name: fast.get(name, value).detach().requires_grad_() for name, value in leaves.items()}
            loss = naive_loss(used, episodes.support.inputs[task], episodes.support.targets[task])
            found = dict(zip(fast, torch.autograd.grad(loss, [used[name] for name in fast]), strict=True))
            fast = naive_rule(leaves, fast, found, loss.detach(), memory)
        asked = naive_loss({**leaves, **fast}, episodes.query.inputs[task], episodes.query.targets[task])
        total = total + asked / TASKS
    found, logged = learner.gradient(params, episodes, chunk=3)
    assert logged["loss"] == pytest.approx(total.item())
    same(found, gradients_of(total, leaves))
    assert all(value.abs().max() > 0 for value in found.values())


def test_a_rule_that_keeps_all_and_lets_in_a_constant_is_maml_of_first_order() -> None:
    learner, episodes = MetaLSTM(Dense((2, 5, 5)), WAY, FIRST), points()
    params = {name: value.double() for name, value in learner.init(torch.Generator().manual_seed(0)).items()}
    for name in ("from_hidden", "from_value", "from_gates"):
        params["update.gate." + name] = torch.zeros_like(params["update.gate." + name])
    params["update.gate.bias"] = torch.tensor([40.0, torch.log(torch.tensor(1 / 9)).item()]).double()  # 1 and .1
    maml = FirstOrderMAML(learner.backbone, WAY, FIRST)
    plain = {name: value for name, value in params.items() if not name.startswith("update.")}
    wanted, _ = maml.gradient(plain, episodes)
    found, _ = learner.gradient(params, episodes)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)


def test_a_rule_starts_as_descent_and_predicts_numbers_too() -> None:
    learner = MetaLSTM(Dense((2, 5, 5)), 1, FIRST, regression=True)
    params, episodes = learner.init(torch.Generator().manual_seed(0)), numbers()
    support = Support(*(part.float() for part in episodes.support))
    start = learner.initial(params, TASKS)
    gates = learner.adapt(params, start, support, 1)[learned_update.GATES]
    assert (gates[:, 0] - 0.993).abs().max() < 0.002
    assert (gates[:, 1] - 0.1).abs().max() < 0.01
    backwards = dict(reversed(params.items()))
    same(learner.adapt(backwards, start, support), learner.adapt(params, start, support))
    assert learner.query(params, start, support.inputs)["value"].shape == (TASKS, 4, 1)


# --- fine-tuning ---


class WholeCosine(CosineFineTuning):
    """A cosine head fitted together with the backbone."""

    adapts = ""


VARIANTS: list[type[FineTuning]] = [FineTuning, WholeFineTuning, CosineFineTuning, WholeCosine]


def tuned(variant: type[FineTuning], steps: int = 3) -> FineTuning:
    more = {"sharpness": 10.0} if issubclass(variant, CosineFineTuning) else {}
    return variant(Dense((2, 8, 8)), WAY, 7, variant.config_class(steps=steps, step_size=0.1, **more))


def head_of(learner: FineTuning) -> Head:
    return cosines if isinstance(learner, CosineFineTuning) else linear


@pytest.mark.parametrize("variant", VARIANTS[::2])
def test_it_is_trained_on_all_classes_as_a_loop_over_tasks_would(variant: type[FineTuning]) -> None:
    learner, episodes = tuned(variant), points()
    assert episodes.classes is not None
    params = wide(learner)
    leaves, total = leaves_of(params), torch.zeros((), dtype=torch.float64)
    for task in range(TASKS):
        for part in episodes[:2]:
            which = torch.tensor([int(episodes.classes[task, target]) for target in part.targets[task]])
            total = total + naive_loss(leaves, part.inputs[task], which, head_of(learner)) / (2 * TASKS)
    found, logged = learner.gradient(params, episodes, chunk=3)
    assert logged["loss"] == pytest.approx(total.item())
    same(found, gradients_of(total, leaves))


def naive_tuned(learner: FineTuning, params: Params, support: Support, task: int) -> Params:
    """One task, plainly; its new head among all other parameters."""
    config, x, y = learner.config, support.inputs[task], support.targets[task]
    if head_of(learner) is linear:
        new = {"head.0.weight": torch.zeros(WAY, 8).double(), "head.0.bias": torch.zeros(WAY).double()}
    else:
        directions = [each / each.norm() for each in features_of(params, x)]
        means = [torch.stack([d for d, c in zip(directions, y, strict=True) if c == k]).mean(0) for k in range(WAY)]
        new = {"head.0.weight": torch.stack([mean / mean.norm() for mean in means])}
    fast = {**params, **new}
    adapting = [name for name in fast if not learner.adapts or name.startswith("head.")]
    for _ in range(config.steps):
        fast = leaves_of(fast)
        loss = naive_loss(fast, x, y, head_of(learner))
        found = torch.autograd.grad(loss, [fast[name] for name in adapting])
        fast |= {name: fast[name] - config.step_size * each for name, each in zip(adapting, found, strict=True)}
    return {name: value.detach() for name, value in fast.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_head_is_fitted_as_a_loop_over_tasks_would(variant: type[FineTuning]) -> None:
    learner, episodes = tuned(variant), points()
    params = wide(learner)
    state = learner.adapt(params, learner.initial(params, TASKS), episodes.support)
    logits = learner.query(params, state, episodes.query.inputs)[LOGITS]
    assert ("backbone.0.weight" in state) is not bool(learner.adapts)
    for task in range(TASKS):
        fast = naive_tuned(learner, params, episodes.support, task)
        wanted = head_of(learner)(features_of(fast, episodes.query.inputs[task]), fast)
        torch.testing.assert_close(logits[task], wanted, rtol=1e-7, atol=1e-9)
    half = learner.adapt(params, learner.initial(params, TASKS), episodes.support, 1)
    same(learner.adapt(params, half, episodes.support, 2), state)


class Flat:
    """The samples themselves."""

    n_features = 2

    def init(self, generator: torch.Generator) -> Params:
        return {}

    def __call__(self, params: Params, inputs: Tensor, prefix: str = "") -> Tensor:
        return inputs


def test_the_start_of_a_head_and_its_first_step_by_hand() -> None:
    support = Support(torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 4.0]]]), torch.tensor([[0, 1, 1]]))
    asked = torch.tensor([[[3.0, 4.0]]])

    def logits(config: FineTuningConfig) -> list[float]:
        learner = (CosineFineTuning if isinstance(config, CosineConfig) else FineTuning)(Flat(), 3, 5, config)
        params = learner.init(torch.Generator())
        state: State = learner.adapt(params, learner.initial(params, 1), support)
        return learner.query(params, state, asked)[LOGITS][0, 0].tolist()

    # Directions (1, 0) and (0, 1); away from (1, 2) / 3 for the class without a sample.
    wanted = [6.0, 8.0, -10 * (0.6 + 2 * 0.8) / 5**0.5]
    assert logits(CosineConfig(steps=0, sharpness=10.0)) == pytest.approx(wanted, rel=1e-5)
    assert logits(FineTuningConfig(steps=0)) == [0, 0, 0]
    # Every probability is 1/3, so with a step of 9 weights and biases become 3 times the sum of (label - 1/3) (x, 1):
    # (6, -6, 0), (-3, 12, 3) and (-3, -6, -3) by class, for x summing up to (3, 6) and 3 samples.
    assert logits(FineTuningConfig(steps=1, step_size=9.0)) == pytest.approx(
        [6 * 3 - 6 * 4 + 0, -3 * 3 + 12 * 4 + 3, -3 * 3 - 6 * 4 - 3], rel=1e-5
    )


def test_what_cannot_be_trained_or_fitted_is_refused() -> None:
    backbone, config, episodes = Dense((2, 8)), FineTuningConfig(), points()
    for options in ({"steps": -1}, {"step_size": 0.0}, {"sharpness": 0.0}):
        with pytest.raises(MetaRLError, match="out of range"):
            CosineConfig(**options)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(MetaRLError, match="way=1, train_classes=7"):
        FineTuning(backbone, 1, 7, config)
    learner = FineTuning(backbone, 2, 4, config)
    params = wide(learner)
    with pytest.raises(MetaRLError, match="have no classes"):
        learner.loss(params, numbers())
    with pytest.raises(MetaRLError, match="has class 6; with train_classes=4"):
        learner.loss(params, episodes)
    start = learner.initial(params, TASKS)
    with pytest.raises(MetaRLError, match="classes go from 0 to 1"):
        learner.adapt(params, start, episodes.support)
    with pytest.raises(MetaRLError, match="steps=-1"):
        learner.adapt(params, start, points(2).support, -1)


# --- and they learn ---


def made(name: str, n_classes: int) -> tuple[FewShotLearner, float, EpisodeSpec]:
    """A small learner, its learning rate and its episodes."""
    backbone = Conv4(SHAPE, width=16)
    if name == "meta-lstm":
        config = MetaLSTMConfig(steps=2, step_size=0.4, update_width=4)
        return MetaLSTM(backbone, 5, config), 1e-2, EpisodeSpec(5, 1, 4)
    variant = {each.__name__: each for each in VARIANTS}[name]
    tuning = variant.config_class(steps=5, step_size=0.03)
    return variant(backbone, 5, n_classes, tuning), 2e-2, EpisodeSpec(20, 1, 2)


NAMES = ["meta-lstm", *(each.__name__ for each in VARIANTS)]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(drawn: FewShotDataset, name: str, learns: Learns) -> None:
    train, shape = drawn.split("train"), EpisodeSpec(5, 1, 5)
    asked = drawn.split("test").draw(shape, 60, torch.Generator().manual_seed(0))

    def score(seed: int) -> dict[str, float]:
        random = torch.Generator().manual_seed(seed)
        learner, rate, episode = made(name, len(train))
        params = learner.init(random)
        adam = Adam(params, rate)

        @torch.no_grad()
        def right() -> float:
            state = learner.adapt(params, learner.initial(params, 60), asked.support)
            return float(accuracy(learner.query(params, state, asked.query.inputs), asked.query.targets).mean())

        before = right()
        iterations, tasks = (70, 4) if name == "meta-lstm" else (120, 1)
        for _ in range(iterations):
            adam.step(learner.gradient(params, train.draw(episode, tasks, random))[0])
            params = adam.values()
        after = right()
        return {"after": after, "gain": after - before}

    # Of 5 classes.
    learns(score, above={"after": 0.45, "gain": 0.05})


@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_from_the_support_alone(drawn: FewShotDataset, name: str) -> None:
    """Inductive: other queries beside it change nothing."""
    learner, *_ = made(name, len(drawn.split("train")))
    params = learner.init(torch.Generator().manual_seed(0))
    asked = drawn.split("test").draw(EpisodeSpec(5, 1, 5), 4, torch.Generator().manual_seed(0))
    state = learner.adapt(params, learner.initial(params, 4), asked.support)
    together, alone = (learner.query(params, state, asked.query.inputs[:, :n])[LOGITS][:, :2] for n in (25, 2))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert float(alone.std()) > 1e-2


def test_fine_tuning_steps_by_the_cores_inner_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the core's mechanism")

    monkeypatch.setattr(InnerLoop, "step", broken)
    for learner in (FineTuning(Dense((2, 8)), WAY, 7, FineTuningConfig()), MetaLSTM(Dense((2, 8)), WAY, FIRST)):
        params = wide(learner)
        with pytest.raises(RuntimeError, match="the core's mechanism"):
            learner.adapt(params, learner.initial(params, TASKS), points().support)
