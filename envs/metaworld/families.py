"""Meta-World's benchmarks as families: ML1 of each of its 50 environments, ML10, ML45, MT10 and MT50."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from metarl.envs.engine.gymnasium import GymnasiumFamily
from metarl.envs.engine.simulators import Env
from metarl.envs.metaworld.benchmarks import Benchmark, env_names
from metarl.envs.metaworld.env import Idle, MetaWorldEnv
from metarl.envs.metaworld.ids import ML1_ENVS, ml1_id
from metarl.family import register_family
from metarl.tasks import Tasks, TaskSpace


class MetaWorldFamily(GymnasiumFamily):
    """A benchmark of metaworld; results of the reward versions v1 and v2 are not comparable.

    In the ``-150`` variants an episode has 150 steps, as in the first release of the benchmark, instead of 500.
    """

    paper = "Yu et al. 2019 (arXiv 1910.10897); McLean et al. 2025 (arXiv 2505.11289)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "v2": {},
        "v1": {"reward": "v1"},
        "v2-150": {"horizon": 150},
        "v1-150": {"reward": "v1", "horizon": 150},
    }
    split: Benchmark
    env = MetaWorldEnv
    extras = ("success",)
    horizon = 500
    episodes_per_trial = 10
    most_envs = 32  # each takes 16 MB, and among hundreds a step takes five times as long
    reward = "v2"  # version of the reward
    one_hot = False  # whether the environment's number is observed

    def __init__(self, variant: str | None = None) -> None:
        self._lent: Idle = {}  # metaworld's environments that wait in this process
        super().__init__(variant)

    @cached_property
    def tasks(self) -> TaskSpace:  # type: ignore[override]
        """Return the space of metaworld's tasks."""
        return self.split.space

    def set_task(self, env: Env, task: dict[str, Any]) -> None:
        """Put an environment on a task."""
        env.unwrapped.set_task(task["task"])  # type: ignore[attr-defined]

    def groups(self, tasks: Tasks) -> list[str]:
        """Return the environment of each task, such as "reach-v3"."""
        return [env_names()[int(number)] for number in tasks.values["task"][:, 0]]

    def _new_env(self) -> Env:
        numbers = self.split.numbers
        goal = self.split.observes_goal
        return MetaWorldEnv(numbers, self.reward, observes_goal=goal, one_hot=self.one_hot, idle=self._lent)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the environments, which are made anew."""
        return {**super().__getstate__(), "_lent": {}}


@register_family("metarl/ML10-v3")
class ML10(MetaWorldFamily):
    """Ten of Meta-World's tasks to train on, with 50 hidden goals each, and five others to adapt to."""

    split = Benchmark(benchmark="ML10")


@register_family("metarl/ML45-v3")
class ML45(MetaWorldFamily):
    """45 of Meta-World's tasks to train on, with 50 hidden goals each, and five others to adapt to."""

    split = Benchmark(benchmark="ML45")


class _MultiTask(MetaWorldFamily):
    episodes_per_trial = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **MetaWorldFamily.presets,
        "v2-one-hot": {"one_hot": True},
        "v1-one-hot": {"one_hot": True, "reward": "v1"},
    }


@register_family("metarl/MT10-v3")
class MT10(_MultiTask):
    """Ten of Meta-World's tasks, with 50 goals each that are observed, to train on and to be tested on."""

    split = Benchmark(benchmark="MT10")


@register_family("metarl/MT50-v3")
class MT50(_MultiTask):
    """All 50 of Meta-World's tasks, with 50 goals each that are observed, to train on and to be tested on."""

    split = Benchmark(benchmark="MT50")


def _ml1(name: str) -> type[MetaWorldFamily]:
    """Return the family of the hidden goals of one environment."""
    about = {
        "__doc__": "The one of Meta-World's tasks that the id names, with 50 hidden goals.",
        "__module__": __name__,
    }
    cls = type(name.title().replace("-", ""), (MetaWorldFamily,), {**about, "split": Benchmark(env=name)})
    globals()[cls.__name__] = cls  # where pickle looks for it
    return register_family(ml1_id(name))(cls)


for _name in ML1_ENVS:
    _ml1(_name)
