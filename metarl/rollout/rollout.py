"""The one rollout: a learner acts in batched environments, all tasks and envs in lockstep, on one device."""

import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner, keep_where
from metarl.core.process import torch_beside
from metarl.core.random import Domain
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State
from metarl.rollout.batch import Batch, PureBatch
from metarl.rollout.chunks import in_chunks
from metarl.rollout.compiled import way_to_compile
from metarl.rollout.context import RolloutContext
from metarl.rollout.recording import Recording
from metarl.rollout.streams import Stream, noise_stream


@torch.no_grad()
def rollout(
    learner: MetaLearner,
    params: Params,
    state: State,
    batch: Batch,
    *,
    n_envs: int,
    episodes: int = 1,
    first_episode: int = 0,
    deterministic: bool = False,
    context: RolloutContext | None = None,
) -> tuple[Trajectory, State]:
    """Collect whole episodes of every environment; return them and the learner's state afterwards.

    The state changes only in ``begin_episode`` and, for online learners, in ``observe``. Nothing is read from a GPU
    before the end. Where its memory runs short, tasks are played in parts, with a warning.

    Args:
        batch: task × env environments, the envs of a task side by side.
        n_envs: environments of a task; 1 for online learners.
        episodes: how many are played, one after the other.
        first_episode: the number of the first one, which picks its random numbers.
        deterministic: whether actions are the distributions' modes.
        context: whether steps are compiled, and what earlier rollouts of the same owner have made. What cannot be
            compiled runs as it is.

    Raises:
        MetaRLError: where an observation, an action or a reward is not finite.
    """
    if episodes < 1:
        raise MetaRLError(f"episodes={episodes}: a rollout has at least one.")
    if n_envs < 1 or batch.num_envs % n_envs:
        raise MetaRLError(f"{batch.num_envs} environments do not divide into envs of {n_envs}; take a multiple.")
    if learner.online and n_envs != 1:
        raise MetaRLError(f"{type(learner).__name__} adapts online and has one env a task, got n_envs={n_envs}.")
    numbers = range(first_episode, first_episode + episodes)
    kept, prepared = RolloutContext() if context is None else context, learner.prepare(params)

    def play(batch: Batch, state: State) -> tuple[Trajectory, State]:
        return _Rollout(learner, prepared, batch, n_envs, deterministic, kept).play(state, numbers)

    return in_chunks(play, kept, state, batch, n_envs)


class _Rollout:
    """A learner in its environments, and the recording of what they do."""

    def __init__(
        self,
        learner: MetaLearner,
        params: Params,
        batch: Batch,
        n_envs: int,
        deterministic: bool,
        context: RolloutContext,
    ) -> None:
        self.learner, self.params, self.batch, self.deterministic = learner, params, batch, deterministic
        self.rows = (batch.num_envs // n_envs, n_envs)
        self.action_noise = noise_stream(learner.action_noise, batch.keys, Domain.ACTION, batch.horizon)
        self.episode_noise = noise_stream(learner.episode_noise, batch.keys[::n_envs], Domain.EPISODE, 1)
        self.recording = Recording(self.rows, batch.device)
        self.to_env = context.to_env(batch.action_space, batch.device)
        way = way_to_compile(context.compile, batch.device)
        self.compiled = None if way is None else context.compiled_step(learner, batch, self.rows, deterministic, way)

    def play(self, state: State, episodes: range) -> tuple[Trajectory, State]:
        """Play these episodes from their first steps to their ends."""
        with torch_beside(getattr(self.batch, "threads", 1)):
            for episode in episodes:
                at_start = self.episode_noise.at(episode, 0)
                self.recording.begin(at_start)
                observation = self.batch.reset(episode).unflatten(0, self.rows)
                state = self.learner.begin_episode(self.params, state, at_start)
                state = self._episode(state, observation, self.action_noise, episode)
        return self.recording.trajectory(), state

    def _episode(self, state: State, observation: Tensor, noise: Stream, episode: int) -> State:
        """Play one episode from its first observation, recording it; returns the learner's state afterwards."""
        learner, params, batch, recording = self.learner, self.params, self.batch, self.recording
        for step in range(batch.horizon):
            numbers = noise.at(episode, step).unflatten(0, self.rows)
            ended_before, some_ended = recording.ended, recording.some_ended
            if self.compiled is not None:
                assert isinstance(batch, PureBatch)  # for mypy: only such are compiled
                last = step == batch.horizon - 1
                action, record, outcome, state = self.compiled(
                    params, state, ended_before, observation, numbers, batch, last
                )
            else:
                action, record = learner.act(params, state, observation, numbers, self.deterministic)
                outcome = batch.step(self.to_env(action).flatten(0, 1))
            following = outcome.observation.unflatten(0, self.rows)
            transition = recording.add(observation, action, record, outcome, following)
            if learner.online and self.compiled is None:
                new = learner.observe(params, state, transition)
                state = keep_where(~ended_before[:, 0], new, state) if some_ended else new
            observation = following
            if recording.all_ended:
                break
        return state
