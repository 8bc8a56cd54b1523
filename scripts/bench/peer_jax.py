"""RL² in JAX: trials, recurrent policy and PPO in one jitted function, on the Bernoulli bandit or on GridNavi.

The sizes are those of our presets: a GRU of 64 on (observation, last action, reward, done, start), on GridNavi behind
an embedding of 64; heads of 64 on its state and the observation; minibatches of whole trials, Adam, clipped gradients.
It learns, so that its speed is that of something that works. JAX is no dependency of the project.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.example_libraries import optimizers

_WIDTH, _HEAD, _MINIBATCHES, _CLIP = 64, 64, 4, 0.2
_VALUE, _NORM = 0.5, 0.5
Tree = Any


@dataclass(frozen=True, kw_only=True)
class Game:
    """Trials of an environment, and the settings that our preset for it has."""

    actions: int
    observed: int  # numbers of an observation
    steps: int  # of a trial
    horizon: int  # steps of an episode
    embedding: int  # width of the layer before the memory; 0 for none
    epochs: int
    gamma: float
    gae_lambda: float
    learning_rate: float
    entropy: float
    task: Callable[[Any, int], Any]  # key, trials -> hidden task
    start: Callable[[int], Any]  # trials -> observation at the start of an episode
    step: Callable[[Any, Any, Any, Any], tuple[Any, Any]]  # key, task, observation, action -> observation, reward

    @property
    def inputs(self) -> int:
        """Return how many numbers the memory takes in: observation, last action, its reward, its end, a new episode."""
        return self.observed + self.actions + 3


def _pull(key: Any, arms: Any, observation: Any, action: Any) -> tuple[Any, Any]:
    pays = jnp.take_along_axis(arms, action[:, None], 1)[:, 0]
    return observation, (jax.random.uniform(key, pays.shape) < pays).astype(jnp.float32)


def _walk(_key: Any, goal: Any, cell: Any, action: Any) -> tuple[Any, Any]:
    moves = jnp.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]], jnp.float32)
    cell = jnp.clip(cell + moves[action], 0, 4)
    return cell, jnp.where((cell == goal).all(-1), 1.0, -0.1)


def _goals(key: Any, trials: int) -> Any:
    goals = jnp.array([(x, y) for x in range(5) for y in range(5) if x > 1 or y > 1], jnp.float32)
    return goals[jax.random.randint(key, (trials,), 0, len(goals))]


BANDIT = Game(
    actions=5, observed=0, steps=100, horizon=1, embedding=0,
    epochs=3, gamma=0.99, gae_lambda=0.85, learning_rate=2e-3, entropy=0.04,
    task=lambda key, trials: jax.random.uniform(key, (trials, 5)),
    start=lambda trials: jnp.zeros((trials, 0)),
    step=_pull,
)  # fmt: skip
GRIDNAVI = Game(
    actions=5, observed=2, steps=60, horizon=15, embedding=64,
    epochs=4, gamma=0.95, gae_lambda=0.95, learning_rate=1e-3, entropy=0.03,
    task=_goals,
    start=lambda trials: jnp.zeros((trials, 2)),
    step=_walk,
)  # fmt: skip


def jax_training(
    game: Game,
    trials: int,
    most: float,
    left: Callable[[], float],
    progress: Callable[[float, float, int, float], None],
) -> tuple[str, float]:
    """Train for so many seconds, or until none is ``left``; return JAX's platform, and the seconds of compiling.

    Args:
        game: what is played.
        trials: of an iteration, a multiple of the minibatches or cut to one.
        most: seconds to measure.
        left: seconds that there still are.
        progress: is called about every second with steps a second, seconds, iterations and the mean return of a trial.
    """
    iteration = jax_iteration(game, trials)
    trials -= trials % _MINIBATCHES
    started = time.perf_counter()
    earned = iteration()
    compiling = time.perf_counter() - started
    started, done, reported = time.perf_counter(), 0, 0.0
    while not done or (left() > 0 and time.perf_counter() - started < most):
        earned = iteration()
        done += 1
        seconds = time.perf_counter() - started
        if seconds - reported > 1 or done == 1:
            reported = seconds
            progress(done * trials * game.steps / seconds, seconds, done, earned)
    seconds = time.perf_counter() - started
    progress(done * trials * game.steps / seconds, seconds, done, earned)
    return str(jax.devices()[0].platform), compiling


def jax_iteration(game: Game, trials: int) -> Callable[[], float]:
    """Return a function that trains on so many new trials and returns their mean return; the first call compiles."""
    trials -= trials % _MINIBATCHES
    key = jax.random.PRNGKey(0)
    adam = optimizers.adam(game.learning_rate)  # Kingma and Ba 2015
    carry = adam[0](_init(game, key)), jnp.zeros((), int), key
    compiled = jax.jit(lambda carry: _iteration(game, adam, carry, trials), donate_argnums=0)

    def iteration() -> float:
        nonlocal carry
        carry, earned = compiled(carry)
        return float(earned)  # waits for it

    return iteration


def _init(game: Game, key: Any) -> Tree:
    features = _WIDTH + game.observed
    sizes = {
        "wx": (game.embedding or game.inputs, 3 * _WIDTH),
        "wh": (_WIDTH, 3 * _WIDTH),
        "a0": (features, _HEAD),
        "a1": (_HEAD, game.actions),
        "c0": (features, _HEAD),
        "c1": (_HEAD, 1),
    } | ({"in": (game.inputs, game.embedding)} if game.embedding else {})
    keys = jax.random.split(key, len(sizes))
    weights = {
        name: jax.random.normal(k, shape) * (0.01 if name == "a1" else 1 / math.sqrt(shape[0]))
        for k, (name, shape) in zip(keys, sizes.items(), strict=True)
    }
    return weights | {f"b_{name}": jnp.zeros(shape[1]) for name, shape in sizes.items()}


def _linear(p: Tree, name: str, x: Any) -> Any:
    return x @ p[name] + p[f"b_{name}"]


def _gru(p: Tree, hidden: Any, x: Any) -> Any:
    x = jnp.tanh(_linear(p, "in", x)) if "in" in p else x
    r, z, n = jnp.split(_linear(p, "wx", x), 3, -1)
    hr, hz, hn = jnp.split(_linear(p, "wh", hidden), 3, -1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    return (1 - z) * jnp.tanh(n + r * hn) + z * hidden


def _heads(p: Tree, hidden: Any, observation: Any) -> tuple[Any, Any]:
    """Return the log-probabilities of the actions, and the value."""
    x = jnp.concatenate([hidden, observation], -1)
    actor = _linear(p, "a1", jnp.tanh(_linear(p, "a0", x)))
    critic = _linear(p, "c1", jnp.tanh(_linear(p, "c0", x)))
    return jax.nn.log_softmax(actor), critic[..., 0]


def _collect(game: Game, p: Tree, key: Any, trials: int) -> dict[str, Any]:
    """Collect whole trials, ``(step, trial)``."""
    of_tasks, of_steps = jax.random.split(key)
    task, start = game.task(of_tasks, trials), game.start(trials)

    def step(carry: Any, now: Any) -> tuple[Any, dict[str, Any]]:
        hidden, observation = carry
        number, key = now
        choosing, paying = jax.random.split(key)
        log_probs, value = _heads(p, hidden, observation)
        action = jax.random.categorical(choosing, log_probs)
        following, reward = game.step(paying, task, observation, action)
        log_prob = jnp.take_along_axis(log_probs, action[:, None], 1)[:, 0]
        ends = (number + 1) % game.horizon == 0
        following = jnp.where(ends, start, following)
        end = jnp.full((trials, 1), ends, jnp.float32)
        seen = jnp.concatenate([following, jax.nn.one_hot(action, game.actions), reward[:, None], end, end], -1)
        given = {"observation": observation, "action": action, "reward": reward, "value": value}
        return (_gru(p, hidden, seen), following), given | {"log_prob": log_prob, "seen": seen}

    numbered = jnp.arange(game.steps), jax.random.split(of_steps, game.steps)
    return jax.lax.scan(step, (jnp.zeros((trials, _WIDTH)), start), numbered)[1]


def _targets(game: Game, data: dict[str, Any]) -> dict[str, Any]:
    """Add advantages and the value's targets over whole trials."""
    following = jnp.concatenate([data["value"][1:], jnp.zeros_like(data["value"][:1])])
    delta = data["reward"] + game.gamma * following - data["value"]

    def back(later: Any, now: Any) -> tuple[Any, Any]:
        found = now + game.gamma * game.gae_lambda * later
        return found, found

    _, advantage = jax.lax.scan(back, jnp.zeros_like(delta[0]), delta, reverse=True)
    scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    return data | {"advantage": scaled, "target": data["value"] + advantage}


def _loss(game: Game, p: Tree, data: dict[str, Any]) -> Any:
    def step(hidden: Any, x: Any) -> tuple[Any, Any]:
        return _gru(p, hidden, x), hidden

    start = jnp.zeros((data["action"].shape[1], _WIDTH))
    _, hidden = jax.lax.scan(step, start, data["seen"])
    log_probs, value = _heads(p, hidden, data["observation"])
    ratio = jnp.exp(jnp.take_along_axis(log_probs, data["action"][..., None], -1)[..., 0] - data["log_prob"])
    gain = jnp.minimum(ratio * data["advantage"], jnp.clip(ratio, 1 - _CLIP, 1 + _CLIP) * data["advantage"]).mean()
    error = jnp.abs(value - data["target"])
    huber = jnp.where(error < 1, 0.5 * error**2, error - 0.5).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return -gain + _VALUE * huber - game.entropy * entropy


def _iteration(game: Game, adam: Any, carry: Tree, trials: int) -> tuple[Tree, Any]:
    """Collect trials and train on them in epochs of minibatches; return the new state and a trial's mean return."""
    _, update, params = adam
    state, count, key = carry
    key, collecting, ordering = jax.random.split(key, 3)
    data = _targets(game, _collect(game, params(state), collecting, trials))
    loss = jax.grad(lambda p, part: _loss(game, p, part))

    def minibatch(carry: Tree, rows: Any) -> tuple[Tree, None]:
        state, count = carry
        gradient = loss(params(state), {name: value[:, rows] for name, value in data.items()})
        return (update(count, optimizers.clip_grads(gradient, _NORM), state), count + 1), None

    orders = jax.vmap(lambda k: jax.random.permutation(k, trials))(jax.random.split(ordering, game.epochs))
    rows = orders.reshape(game.epochs * _MINIBATCHES, trials // _MINIBATCHES)
    (state, count), _ = jax.lax.scan(minibatch, (state, count), rows)
    return (state, count, key), data["reward"].sum(0).mean()
