"""CartPole: Gymnasium's physics, the hidden sign, and the reference policies."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metarl.envs.cartpole import CartPole
from metarl.family.policy_returns import policy_returns
from metarl.tasks import Task, Tasks

States = NDArray[np.float64]
Episode = tuple[States, list[int], list[bool]]
NO_DRAW = torch.empty(1, 0)
# Task parameter -> Gymnasium's attribute.
ATTRIBUTES = {
    "half_length": "length",
    "pole_mass": "masspole",
    "cart_mass": "masscart",
    "gravity": "gravity",
    "force": "force_mag",
}


def gymnasium_cartpole(task: Task) -> Any:
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    for name, attribute in ATTRIBUTES.items():
        setattr(env, attribute, float(task[name]))
    env.total_mass, env.polemass_length = env.masspole + env.masscart, env.masspole * env.length
    return env


def tensors(task: Task, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([float(value)], dtype=dtype) for name, value in task.items()}


def episode(task: Task, choose: Callable[[States], int], seed: int = 0, steps: int = 200) -> Episode:
    """Gymnasium's states ``(step, 4)``, actions and terminations of one episode."""
    env = gymnasium_cartpole(task)
    env.reset(seed=seed)
    states, actions, terminations = [np.array(env.state)], [], []
    for _ in range(steps):
        actions.append(choose(states[-1]))
        terminations.append(env.step(actions[-1])[2])
        states.append(np.array(env.state))
        if terminations[-1]:
            break
    return np.array(states), actions, terminations


def balance(state: States) -> int:
    return int(state @ (0.05, 0.05, 1.0, 0.26) > 0)


def follow(task: Task, states: States, actions: list[int]) -> tuple[States, list[bool]]:
    """Our float64 states and terminations from Gymnasium's first state on."""
    family, of = CartPole("ranges"), tensors(task)
    state = {"motion": torch.from_numpy(states[:1]), "push": torch.zeros(1)}
    ours, terminations = [], []
    for action in actions:
        state, reward, terminated = family.step(state, torch.tensor([action]), of, NO_DRAW)
        assert float(reward) == 1.0
        ours.append(state["motion"][0].numpy())
        terminations.append(bool(terminated))
    return np.array(ours), terminations


def test_equals_gymnasium_over_an_episode() -> None:
    task = CartPole().default()
    states, actions, terminations = episode(task, balance)
    ours, ended = follow(task, states, actions)
    assert len(actions) == 200
    np.testing.assert_allclose(ours, states[1:], atol=1e-9, rtol=0)
    assert ended == terminations


@pytest.mark.parametrize("seed", range(5))
def test_equals_gymnasium_until_it_falls_and_on_other_tasks(seed: int, sample: Callable[..., Tasks]) -> None:
    task = sample(CartPole("ranges"), 5)[seed]
    rng = np.random.default_rng(seed)
    states, actions, terminations = episode(task, lambda state: int(rng.integers(2)), seed)
    ours, ended = follow(task, states, actions)
    np.testing.assert_allclose(ours, states[1:], atol=1e-9, rtol=0)
    assert ended == terminations
    assert ended[-1]


def test_float32_steps_stay_within_1e_5_on_visited_states() -> None:
    task = CartPole().default()
    states, actions, _ = episode(task, balance)
    given = torch.from_numpy(states[:-1]).float()
    of = {name: value.expand(len(given)) for name, value in tensors(task, torch.float32).items()}
    state = {"motion": given, "push": torch.zeros(len(given))}
    ours = CartPole().step(state, torch.tensor(actions), of, NO_DRAW)[0]["motion"]
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), states[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("motion", "ends"),
    [((2.39, 0, 0, 0), False), ((2.41, 0, 0, 0), True), ((-2.41, 0, 0, 0), True), ((0, 0, 0.21, 0), True),
     ((0, 0, -0.21, 0), True), ((0, 0, 0.209, 0), False)],
)  # fmt: skip
def test_termination(motion: tuple[float, ...], ends: bool) -> None:
    family = CartPole()
    state = {"motion": torch.tensor([motion], dtype=torch.float64), "push": torch.zeros(1)}
    assert bool(family.step(state, torch.tensor([1]), tensors(family.default()), NO_DRAW)[2]) is ends


def test_reset_is_uniform_in_gymnasiums_range() -> None:
    u = torch.tensor([[0.0, 1.0, 0.5, 0.75]])
    motion = CartPole().reset(tensors(CartPole().default(), torch.float32), u)["motion"]
    torch.testing.assert_close(motion, torch.tensor([[-0.05, 0.05, 0.0, 0.025]]))


def test_the_sign_turns_the_push_round() -> None:
    family = CartPole("reversed")
    state = family.reset(tensors(family.default()), torch.tensor([[0.2, 0.7, 0.4, 0.9]], dtype=torch.float64))
    turned = tensors({**family.default(), "sign": np.array(-1.0)})
    right = family.step(state, torch.tensor([1]), tensors(family.default()), NO_DRAW)[0]["motion"]
    left = family.step(state, torch.tensor([0]), turned, NO_DRAW)[0]["motion"]
    other = family.step(state, torch.tensor([1]), turned, NO_DRAW)[0]["motion"]
    assert torch.equal(right, left)
    assert not torch.equal(right, other)


def test_both_default_tasks_are_gymnasiums() -> None:
    # The reversed variant leaves masses and gravity to Gymnasium's constants.
    motion, action = torch.tensor([[0.1, -0.2, 0.05, 0.3]], dtype=torch.float64), torch.tensor([1])
    state = {"motion": motion, "push": torch.zeros(1)}
    after = [
        family.step(state, action, tensors(family.default()), NO_DRAW)[0]["motion"]
        for family in (CartPole("ranges"), CartPole("reversed"))
    ]
    assert torch.equal(*after)


def test_one_linear_feedback_balances_every_task_of_ranges() -> None:
    family = CartPole("ranges")
    assert (policy_returns(family, "balance", family.splits.test) == 200).all()
    assert policy_returns(family, "random", family.splits.test).mean() < 50


def test_reversed_reference_policies() -> None:
    family = CartPole("reversed")
    tasks = family.splits.test
    sign = tasks.values["sign"]
    assert (family.floor, family.optimum) == ("balance", "balance, told the sign")
    floor = policy_returns(family, "balance", tasks)[:, 0]
    assert (floor[sign > 0] == 200).all()
    assert floor[sign < 0].max() < 30
    assert (policy_returns(family, "balance, told the sign", tasks) == 200).all()
    assert (policy_returns(family, "switch", tasks) == 200).all()


def test_ood_tasks_go_beyond_the_training_range() -> None:
    for variant in CartPole.variants():
        tasks = CartPole(variant).splits.part("ood").values
        outside = (np.abs(tasks["half_length"] - 0.625) > 0.375) | (np.abs(tasks["force"] - 12.5) > 7.5)
        assert outside.all()
