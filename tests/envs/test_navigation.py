"""Point navigation: single steps by hand, and the reference figures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.types import Noise, Outputs, Params
from metarl.envs.navigation import PointNavigation
from metarl.family.policy_returns import policy_returns
from metarl.family.reference_policies import ReferencePolicy
from metarl.tasks import Tasks

NO_DRAW = torch.empty(1, 0)


def goals(limit: float, n: int = 60) -> Tasks:
    """A grid of goals over the square: sums over it have next to no sampling error."""
    axis = limit * ((np.arange(n) + 0.5) / n * 2 - 1)
    return Tasks({"goal": np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)})


class _Noise(ReferencePolicy):
    action_noise = Noise(2, "normal")

    def act(
        self, params: Params, state: dict[str, Tensor], observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return noise, {}


class _NoisyNavigation(PointNavigation):
    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {"noise": _Noise()}


def test_maml_step_by_hand() -> None:
    family = PointNavigation("maml")
    state, reward, terminated = family.step(
        {"position": torch.tensor([[0.1, 0.2], [0.0, 0.0]])},
        torch.tensor([[0.1, -0.1], [0.1, 0.1]]),
        {"goal": torch.tensor([[0.5, 0.5], [0.105, 0.095]])},
        NO_DRAW,
    )
    torch.testing.assert_close(state["position"], torch.tensor([[0.2, 0.1], [0.1, 0.1]]))
    torch.testing.assert_close(reward, torch.tensor([-0.5, -(0.005 * 2**0.5)]))
    assert terminated.tolist() == [False, True]


def test_maml_ends_only_where_both_coordinates_are_close() -> None:
    family, still = PointNavigation("maml"), torch.zeros(3, 2)
    offsets = torch.tensor([[0.009, 0.009], [0.009, 0.011], [0.011, 0.0]])
    assert family.step({"position": still}, still, {"goal": offsets}, NO_DRAW)[2].tolist() == [True, False, False]


def test_pearl_starts_uniformly_in_the_square_and_never_ends() -> None:
    family, task = PointNavigation("pearl"), {"goal": torch.zeros(3, 2)}
    start = family.reset(task, torch.tensor([[0.0, 1.0], [0.5, 0.25], [0.75, 0.5]]))["position"]
    torch.testing.assert_close(start, torch.tensor([[-1.0, 1.0], [0.0, -0.5], [0.5, 0.0]]))
    assert not family.step({"position": torch.zeros(3, 2)}, torch.zeros(3, 2), task, NO_DRAW)[2].any()


def test_promp_pays_progress_near_the_right_corner_only() -> None:
    family = PointNavigation("promp")
    before = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.1, 0.1]])
    action = torch.tensor([[0.2, 0.2], [0.2, 0.2], [0.1, 0.1]])
    reward = family.step({"position": before}, action, {"goal": torch.full((3, 2), 2.0)}, NO_DRAW)[1]
    # Towards the goal; nearest to another corner; within the start's diamond.
    torch.testing.assert_close(reward, torch.tensor([0.2 * 2**0.5, 0.0, 0.0]))


def test_maml_reference_figures(mean_return: Callable[..., float]) -> None:
    family = PointNavigation("maml")
    assert mean_return(family, "stand still", goals(0.5)) == pytest.approx(-38.26, abs=0.01)
    assert mean_return(family, "straight to the goal", goals(0.5)) == pytest.approx(-0.51, abs=0.01)


def test_maml_noise_figure(within: Callable[..., bool]) -> None:
    returns = policy_returns(_NoisyNavigation("maml"), "noise", goals(0.5))[:, 0]
    assert within(returns, -70.9, 0.05)


def test_pearl_reference_figures(within: Callable[..., bool]) -> None:
    family = PointNavigation("pearl")
    figures = {"stand still": -20.86, "go to the centre": -15.87, "straight to the goal": -5.19}
    for reference, figure in figures.items():
        assert within(policy_returns(family, reference, goals(1.0, 140))[:, 0], figure, 0.005), reference
