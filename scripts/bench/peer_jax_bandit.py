"""RL² on the Bernoulli bandit in JAX: trials, recurrent policy and PPO in one jitted function.

The sizes are those of our preset: trials of 100 pulls, a GRU of 64 on (last action, reward, done, start), heads of 64
on its state, 3 epochs of 4 minibatches of whole trials, Adam, clipped gradients. It learns, so that its speed is that
of something that works. JAX is no dependency of the project.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.example_libraries import optimizers

_ARMS, _PULLS, _WIDTH, _HEAD = 5, 100, 64, 64
_EPOCHS, _MINIBATCHES, _CLIP, _GAMMA, _LAMBDA = 3, 4, 0.2, 0.99, 0.85
_RATE, _VALUE, _ENTROPY, _NORM = 2e-3, 0.5, 0.04, 0.5
_INPUTS = _ARMS + 3  # the last action one-hot, its reward, its end, and whether an episode begins
Tree = Any
_start, _update, _params = optimizers.adam(_RATE)  # Kingma and Ba 2015


def jax_bandit(
    trials: int, most: float, left: Callable[[], float], progress: Callable[[float, float, int, float], None]
) -> tuple[str, float]:
    """Train for so many seconds, or until none is ``left``; return JAX's platform, and the seconds of compiling.

    Args:
        trials: of an iteration, a multiple of the minibatches or cut to one.
        most: seconds to measure.
        left: seconds that there still are.
        progress: is called about every second with steps a second, seconds, iterations and the mean return of a trial.
    """
    iteration = jax_iteration(trials)
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
            progress(done * trials * _PULLS / seconds, seconds, done, earned)
    seconds = time.perf_counter() - started
    progress(done * trials * _PULLS / seconds, seconds, done, earned)
    return str(jax.devices()[0].platform), compiling


def jax_iteration(trials: int) -> Callable[[], float]:
    """Return a function that trains on so many new trials and returns their mean return; the first call compiles."""
    trials -= trials % _MINIBATCHES
    key = jax.random.PRNGKey(0)
    carry = _start(_init(key)), jnp.zeros((), int), key
    compiled = jax.jit(lambda carry: _iteration(carry, trials), donate_argnums=0)

    def iteration() -> float:
        nonlocal carry
        carry, earned = compiled(carry)
        return float(earned)  # waits for it

    return iteration


def _init(key: Any) -> Tree:
    sizes = {
        "wx": (_INPUTS, 3 * _WIDTH),
        "wh": (_WIDTH, 3 * _WIDTH),
        "a0": (_WIDTH, _HEAD),
        "a1": (_HEAD, _ARMS),
        "c0": (_WIDTH, _HEAD),
        "c1": (_HEAD, 1),
    }
    keys = jax.random.split(key, len(sizes))
    weights = {
        name: jax.random.normal(k, shape) * (0.01 if name == "a1" else 1 / math.sqrt(shape[0]))
        for k, (name, shape) in zip(keys, sizes.items(), strict=True)
    }
    return weights | {f"b_{name}": jnp.zeros(shape[1]) for name, shape in sizes.items()}


def _gru(p: Tree, hidden: Any, x: Any) -> Any:
    r, z, n = jnp.split(x @ p["wx"] + p["b_wx"], 3, -1)
    hr, hz, hn = jnp.split(hidden @ p["wh"] + p["b_wh"], 3, -1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    return (1 - z) * jnp.tanh(n + r * hn) + z * hidden


def _heads(p: Tree, hidden: Any) -> tuple[Any, Any]:
    """Return the log-probabilities of the arms, and the value."""
    actor = jnp.tanh(hidden @ p["a0"] + p["b_a0"]) @ p["a1"] + p["b_a1"]
    critic = jnp.tanh(hidden @ p["c0"] + p["b_c0"]) @ p["c1"] + p["b_c1"]
    return jax.nn.log_softmax(actor), critic[..., 0]


def _seen(action: Any, reward: Any) -> Any:
    """Return the memory's input of a pull, whose episode is over and after which another begins."""
    one = jnp.ones((*action.shape, 1))
    return jnp.concatenate([jax.nn.one_hot(action, _ARMS), reward[..., None], one, one], -1)


def _collect(p: Tree, key: Any, trials: int) -> dict[str, Any]:
    """Collect whole trials, ``(pull, trial)``."""
    of_arms, of_pulls = jax.random.split(key)
    arms = jax.random.uniform(of_arms, (trials, _ARMS))

    def pull(hidden: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        choosing, paying = jax.random.split(key)
        log_probs, value = _heads(p, hidden)
        action = jax.random.categorical(choosing, log_probs)
        pays = jnp.take_along_axis(arms, action[:, None], 1)[:, 0]
        reward = (jax.random.uniform(paying, (trials,)) < pays).astype(jnp.float32)
        log_prob = jnp.take_along_axis(log_probs, action[:, None], 1)[:, 0]
        given = {"action": action, "reward": reward, "value": value, "log_prob": log_prob}
        return _gru(p, hidden, _seen(action, reward)), given

    return jax.lax.scan(pull, jnp.zeros((trials, _WIDTH)), jax.random.split(of_pulls, _PULLS))[1]


def _targets(data: dict[str, Any]) -> dict[str, Any]:
    """Add advantages and the value's targets over whole trials."""
    following = jnp.concatenate([data["value"][1:], jnp.zeros_like(data["value"][:1])])
    delta = data["reward"] + _GAMMA * following - data["value"]

    def back(later: Any, now: Any) -> tuple[Any, Any]:
        found = now + _GAMMA * _LAMBDA * later
        return found, found

    _, advantage = jax.lax.scan(back, jnp.zeros_like(delta[0]), delta, reverse=True)
    scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    return data | {"advantage": scaled, "target": data["value"] + advantage}


def _loss(p: Tree, data: dict[str, Any]) -> Any:
    def step(hidden: Any, x: Any) -> tuple[Any, Any]:
        return _gru(p, hidden, x), hidden

    start = jnp.zeros((data["action"].shape[1], _WIDTH))
    _, hidden = jax.lax.scan(step, start, _seen(data["action"], data["reward"]))
    log_probs, value = _heads(p, hidden)
    ratio = jnp.exp(jnp.take_along_axis(log_probs, data["action"][..., None], -1)[..., 0] - data["log_prob"])
    gain = jnp.minimum(ratio * data["advantage"], jnp.clip(ratio, 1 - _CLIP, 1 + _CLIP) * data["advantage"]).mean()
    error = jnp.abs(value - data["target"])
    huber = jnp.where(error < 1, 0.5 * error**2, error - 0.5).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return -gain + _VALUE * huber - _ENTROPY * entropy


def _iteration(carry: Tree, trials: int) -> tuple[Tree, Any]:
    """Collect trials and train on them in epochs of minibatches; return the new state and a trial's mean return."""
    state, count, key = carry
    key, collecting, ordering = jax.random.split(key, 3)
    data = _targets(_collect(_params(state), collecting, trials))

    def minibatch(carry: Tree, rows: Any) -> tuple[Tree, None]:
        state, count = carry
        gradient = jax.grad(_loss)(_params(state), {name: value[:, rows] for name, value in data.items()})
        return (_update(count, optimizers.clip_grads(gradient, _NORM), state), count + 1), None

    orders = jax.vmap(lambda k: jax.random.permutation(k, trials))(jax.random.split(ordering, _EPOCHS))
    rows = orders.reshape(_EPOCHS * _MINIBATCHES, trials // _MINIBATCHES)
    (state, count), _ = jax.lax.scan(minibatch, (state, count), rows)
    return (state, count, key), data["reward"].sum(0).mean()
