"""Every installed family, in every variant, keeps the contract: a new one gets its tests for nothing."""

import gymnasium
import pytest

from metarl.core.plugins import FAMILIES, declared
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family import TaskFamily, family_class, make_family
from metarl.family.checks.check import check_family


def marks(family_id: str, variant: str) -> list[pytest.MarkDecorator]:
    """Checks of MuJoCo families take seconds: of each the first variant is checked at once, the others are slow."""
    cls = family_class(family_id)
    return [pytest.mark.slow] if issubclass(cls, MujocoFamily) and variant != cls.variants()[0] else []


VARIANTS = [
    pytest.param(family_id, variant, marks=marks(family_id, variant))
    for family_id in sorted(declared(FAMILIES))
    for variant in family_class(family_id).variants()
]


@pytest.mark.parametrize(("family_id", "variant"), VARIANTS)
def test_the_check_finds_nothing_wrong(family_id: str, variant: str) -> None:
    report = check_family(family_id, variant)
    assert report.ok, str(report)


@pytest.mark.parametrize(("family_id", "variant"), VARIANTS)
def test_it_has_pictures_a_source_a_default_task_and_players(family_id: str, variant: str) -> None:
    family = make_family(family_id, variant)
    assert type(family).render is not TaskFamily.render
    assert family.paper
    assert family.floor is not None or isinstance(family, MujocoFamily)  # theirs is a trained policy: multitask
    assert family.reference_policies()
    family.tasks.validate(family.default())
    picture = gymnasium.make(family_id, variant=variant, render_mode="rgb_array")
    picture.reset(seed=0)
    shown = picture.render()
    assert shown.min() < shown.max()  # type: ignore[union-attr]  # an array, in this mode
