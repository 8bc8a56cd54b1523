"""Reference policies of tabular Markov decision processes: value iteration, and posterior sampling."""

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.random import to_normal
from metarl.core.types import Noise, Outputs, Params, Transition
from metarl.family.reference_policies import ReferencePolicy


class _Planning(ReferencePolicy):
    """Follows the ``plan`` ``(task, step, state)`` in its state."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon

    def act(
        self, params: Params, state: dict[str, Tensor], observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        row = torch.arange(len(observation), device=observation.device)
        return state["plan"][row, state["step"], observation[:, 0].argmax(-1)][:, None], {}


class Planner(_Planning):
    """Plans by value iteration with the true process, and takes the best action at every step."""

    def initial(self, params: Params, n_tasks: int) -> dict[str, Tensor]:
        return {**super().initial(params, n_tasks), "plan": plan(self.task(params), self._horizon)[0]}


class PSRL(_Planning):
    """Draws a process from its posterior at each episode's start and follows its plan: posterior sampling for RL.

    Strens 2000, "A Bayesian framework for reinforcement learning"; Osband et al. 2013, "(More) efficient reinforcement
    learning via posterior sampling". Its prior is what the tasks are drawn from: transitions Dirichlet(1), mean rewards
    N(1, 1), and rewards of variance 1.
    """

    def __init__(self, states: int, actions: int, horizon: int) -> None:
        super().__init__(horizon)
        self._states, self._actions = states, actions
        self.episode_noise = Noise(states * actions * (states + 1), "uniform")

    def initial(self, params: Params, n_tasks: int) -> dict[str, Tensor]:
        state = super().initial(params, n_tasks)
        nothing = torch.zeros(n_tasks, self._states, self._actions, self._states, device=state["step"].device)
        # How often (state, action, next state) was seen, and the sum of the rewards of (state, action).
        return {**state, "seen": nothing, "reward": nothing[..., 0]}

    def begin_episode(self, params: Params, state: dict[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        state = super().begin_episode(params, state, noise)
        return {**state, "plan": plan(self.draw(state, noise), self._horizon)[0]}

    def draw(self, state: dict[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        """Draw a process ``(task, ...)`` from the posterior, by inverse distribution functions of uniforms."""
        from scipy.special import gammaincinv  # here, for it takes long to import

        u = noise.double().unflatten(1, (self._states, self._actions, self._states + 1))
        # Independent gammas, divided by their sum, are a Dirichlet.
        shape, chance = (value.cpu().numpy() for value in (state["seen"].double() + 1, u[..., 1:]))
        gamma = torch.as_tensor(gammaincinv(shape, chance), device=noise.device)
        precision = state["seen"].double().sum(-1) + 1
        return {
            "transition": gamma / gamma.sum(-1, keepdim=True),
            "mean_reward": (state["reward"] + 1) / precision + to_normal(u[..., 0]) / precision.sqrt(),
        }

    def observe(self, params: Params, state: dict[str, Tensor], transition: Transition) -> dict[str, Tensor]:
        before, after = transition.observation[:, 0], transition.next_observation[:, 0]
        action = functional.one_hot(transition.action[:, 0], self._actions).to(before.dtype)
        pair = before[:, :, None] * action[:, None]
        return {
            **super().observe(params, state, transition),
            "seen": state["seen"] + pair[..., None] * after[:, None, None],
            "reward": state["reward"] + pair * transition.reward[..., None],
        }


def plan(task: dict[str, Tensor], horizon: int) -> tuple[Tensor, Tensor]:
    """Plan by value iteration over a finite horizon.

    Args:
        task: ``transition`` ``(task, state, action, state)`` and ``mean_reward`` ``(task, state, action)``.
        horizon: steps of an episode.

    Returns:
        The best actions ``(task, step, state)``, and the values at the first step ``(task, state)``.
    """
    value_tp1, actions = torch.zeros_like(task["mean_reward"][..., 0]), []
    for _ in range(horizon):
        action_value_t = task["mean_reward"] + torch.einsum("nsat,nt->nsa", task["transition"], value_tp1)
        value_tp1, best = action_value_t.max(-1)
        actions.append(best)
    return torch.stack(actions[::-1], dim=1), value_tp1
