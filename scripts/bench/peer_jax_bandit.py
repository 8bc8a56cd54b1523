"""RL² on the Bernoulli bandit as JAX has it: trials, recurrent policy and PPO in one jitted function.

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

_ARMS, _PULLS, _WIDTH, _HEAD = 5, 100, 64, 64
_EPOCHS, _MINIBATCHES, _CLIP, _GAMMA, _LAMBDA = 3, 4, 0.2, 0.99, 0.85
_RATE, _VALUE, _ENTROPY, _NORM = 2e-3, 0.5, 0.04, 0.5
_INPUTS = _ARMS + 3  # the last action one-hot, its reward, its end, and whether an episode begins
Tree = Any


def jax_bandit(
    trials: int, most: float, left: Callable[[], float], told: Callable[[float, float, int, float], None]
) -> tuple[str, float]:
    """Train for so many seconds, or until none is ``left``.

    Returns JAX's platform and the seconds of the first iteration, which compiles.

    Args:
        trials: of an iteration, a multiple of the minibatches or cut to one.
        most: seconds to measure.
        left: seconds that there still are.
        told: is called about every second with steps a second, seconds, iterations and the mean return of a trial.
    """
    trials -= trials % _MINIBATCHES
    key = jax.random.PRNGKey(0)
    params = _init(key)
    carry = params, _zeros(params), _zeros(params), jnp.zeros(()), key
    iteration = jax.jit(lambda carry: _iteration(carry, trials), donate_argnums=0)
    started = time.perf_counter()
    carry, earned = iteration(carry)
    earned.block_until_ready()
    compiling = time.perf_counter() - started
    started, done, said = time.perf_counter(), 0, 0.0
    while not done or (left() > 0 and time.perf_counter() - started < most):
        carry, earned = iteration(carry)
        earned.block_until_ready()
        done += 1
        seconds = time.perf_counter() - started
        if seconds - said > 1 or done == 1:
            said = seconds
            told(done * trials * _PULLS / seconds, seconds, done, float(earned))
    seconds = time.perf_counter() - started
    told(done * trials * _PULLS / seconds, seconds, done, float(earned))
    return str(jax.devices()[0].platform), compiling


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


def _zeros(params: Tree) -> Tree:
    return jax.tree_util.tree_map(jnp.zeros_like, params)


def _gru(p: Tree, hidden: Any, x: Any) -> Any:
    r, z, n = jnp.split(x @ p["wx"] + p["b_wx"], 3, -1)
    hr, hz, hn = jnp.split(hidden @ p["wh"] + p["b_wh"], 3, -1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    return (1 - z) * jnp.tanh(n + r * hn) + z * hidden


def _heads(p: Tree, hidden: Any) -> tuple[Any, Any]:
    """Log-probabilities of the arms, and the value."""
    actor = jnp.tanh(hidden @ p["a0"] + p["b_a0"]) @ p["a1"] + p["b_a1"]
    critic = jnp.tanh(hidden @ p["c0"] + p["b_c0"]) @ p["c1"] + p["b_c1"]
    return jax.nn.log_softmax(actor), critic[..., 0]


def _seen(action: Any, reward: Any) -> Any:
    """What the memory takes in of a pull, whose episode is over and after which another begins."""
    one = jnp.ones((*action.shape, 1))
    return jnp.concatenate([jax.nn.one_hot(action, _ARMS), reward[..., None], one, one], -1)


def _collect(p: Tree, key: Any, trials: int) -> dict[str, Any]:
    """Whole trials, pull before trial."""
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
    """Advantages and values over whole trials."""
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
    """Collect trials, then epochs of minibatches; returns the mean return of a trial beside the new state."""
    params, first, second, count, key = carry
    key, collecting, ordering = jax.random.split(key, 3)
    data = _targets(_collect(params, collecting, trials))

    def minibatch(state: Tree, rows: Any) -> tuple[Tree, None]:
        params, first, second, count = state
        gradient = jax.grad(_loss)(params, {name: value[:, rows] for name, value in data.items()})
        return _adam(params, first, second, count + 1, gradient), None

    orders = jax.vmap(lambda k: jax.random.permutation(k, trials))(jax.random.split(ordering, _EPOCHS))
    state, _ = jax.lax.scan(
        minibatch, (params, first, second, count), orders.reshape(_EPOCHS * _MINIBATCHES, trials // _MINIBATCHES)
    )
    return (*state, key), data["reward"].sum(0).mean()


def _adam(params: Tree, first: Tree, second: Tree, count: Any, gradient: Tree) -> tuple[Tree, Tree, Tree, Any]:
    """Adam (Kingma and Ba 2015) on the gradient, whose norm is bounded."""
    norm = jnp.sqrt(sum((each**2).sum() for each in jax.tree_util.tree_leaves(gradient)))
    scale = jnp.minimum(1.0, _NORM / (norm + 1e-6))
    tree = jax.tree_util.tree_map
    gradient = tree(lambda g: g * scale, gradient)
    first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
    rate = _RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    params = tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, first, second)
    return params, first, second, count
