"""The training state of an SB3 model as tensors by name, and the random numbers that it draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import Tensor

Model = PPO | SAC
_OPTIMIZER = "optimizer"


def model_tensors(model: Model) -> dict[str, Tensor]:
    """Return networks, optimisers' moments, entropy coefficient and normaliser's statistics as tensors by name."""
    tensors: dict[str, Tensor] = {}
    for name, content in model.get_parameters().items():
        if not name.endswith(_OPTIMIZER):
            tensors |= {f"{name}/{key}": value for key, value in content.items()}
            continue
        for number, slots in content["state"].items():
            tensors |= {f"{name}/{number}/{slot}": value for slot, value in slots.items()}
    if isinstance(model, SAC) and model.log_ent_coef is not None:
        tensors["log_ent_coef"] = model.log_ent_coef.detach()
    for name, statistics in _statistics(model).items():
        tensors |= {f"{name}/{key}": _float64(value) for key, value in vars(statistics).items()}
    return {"n_updates": torch.tensor(model._n_updates), **tensors}


def load_model_tensors(model: Model, saved: dict[str, Tensor]) -> None:
    """Restore a model from what ``model_tensors`` returned."""
    parameters: dict[str, Any] = model.get_parameters()
    for name, content in parameters.items():
        found = {key.removeprefix(f"{name}/"): value for key, value in saved.items() if key.startswith(f"{name}/")}
        if not name.endswith(_OPTIMIZER):
            parameters[name] = found
            continue
        content["state"] = {}
        for key, value in found.items():
            number, slot = key.split("/")
            content["state"].setdefault(int(number), {})[slot] = value
    model.set_parameters(parameters, device=model.device)
    if isinstance(model, SAC) and model.log_ent_coef is not None:
        with torch.no_grad():
            model.log_ent_coef.copy_(saved["log_ent_coef"])
    for name, statistics in _statistics(model).items():
        statistics.mean, statistics.var = (saved[f"{name}/{key}"].numpy().copy() for key in ("mean", "var"))
        statistics.count = float(saved[f"{name}/count"])
    model._n_updates = int(saved["n_updates"])


def _statistics(model: Model) -> dict[str, RunningMeanStd]:
    normaliser = model.get_vec_normalize_env()
    if normaliser is None:
        return {}
    if not normaliser.norm_obs:
        return {"returns": normaliser.ret_rms}
    assert isinstance(normaliser.obs_rms, RunningMeanStd)  # it is a dict for Dict observations, which no family has
    return {"observations": normaliser.obs_rms, "returns": normaliser.ret_rms}


def _float64(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


class OwnRandomness:
    """Separates SB3's random numbers, which it draws from the process's global generators, from everybody else's.

    Within ``in_use`` the global generators are this object's; afterwards they are as they were before.
    """

    def __init__(self) -> None:
        self._mine: tuple[Any, ...] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Continue the global generators from where they stood at the end of the last use."""
        others = _generators()
        if self._mine is not None:
            _set_generators(self._mine)
        try:
            yield
        finally:
            self._mine = _generators()
            _set_generators(others)


def _generators() -> tuple[Any, ...]:
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), gpu


def _set_generators(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    if states[3]:
        torch.cuda.set_rng_state_all(states[3])
