"""The registry, and what a declaration makes of variants and tasks."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.envs import FAMILIES
from metarl.envs.engine.torch import TorchFamily
from metarl.family import TaskFamily, family_class, family_ids, make_family, register_family
from metarl.family.policy_returns import policy_returns
from metarl.family.views.single import TaskEnv
from metarl.tasks import TaskSpace, Uniform

WALK = "test/Walk-v0"


def test_plug_ins_and_registered_families_are_known() -> None:
    assert {*FAMILIES, WALK} <= set(family_ids())
    assert family_class(WALK).id == WALK
    assert gymnasium.spec(WALK).max_episode_steps is None


def test_an_unknown_family_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(MetaRLError, match=r"'me/Nothing-v0' is unknown. Known are .*test/Walk-v0.*module:Name"):
        family_class("me/Nothing-v0")
    with pytest.raises(MetaRLError, match="no module 'nowhere'"):
        family_class("nowhere:me/Nothing-v0")


def test_module_and_id_reach_a_family_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).with_name("conftest.py").read_text()
    (tmp_path / "my_walks.py").write_text(source.replace("test/", "mine/").replace("check/", "mine/"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert make_family("my_walks:mine/Walk-v0", "closed").name == "mine/Walk-v0:closed"
    assert isinstance(gymnasium.make("mine/Walk-v0").unwrapped, TaskEnv)
    with pytest.raises(MetaRLError, match="'mine/Run-v0' is unknown"):
        family_class("my_walks:mine/Run-v0")


def test_an_id_is_taken_once() -> None:
    with pytest.raises(MetaRLError, match=r"test/Walk-v0 is taken by .*Walk; choose another id"):
        register_family(WALK)(type("Other", (TorchFamily,), {}))
    register_family(WALK)(family_class(WALK))  # importing a module again is no conflict


def test_a_family_is_made_from_an_id_or_from_itself() -> None:
    family = make_family(WALK)
    assert make_family(family) is family
    assert make_family(family, "fresh") is family
    with pytest.raises(MetaRLError, match="no variant array"):
        make_family(family, np.array(["fresh"]))  # type: ignore[arg-type]
    assert make_family(family, "closed").variant == "closed"
    assert family.name == "test/Walk-v0:fresh"


def test_the_first_preset_is_the_default_and_presets_override() -> None:
    assert family_class(WALK).variants() == ["fresh", "disjoint", "closed"]
    assert (make_family(WALK).episodes_per_trial, make_family(WALK, "disjoint").episodes_per_trial) == (1, 3)
    assert make_family("test/Slots-v0").variant == "default"


def declared(**attributes: Any) -> TaskFamily:
    return type("Declared", (family_class(WALK),), {"presets": {}, **attributes})()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"presets": {"a": {"horizn": 3}}}, "'a' .* sets 'horizn', which the family does not declare"),
        ({"horizon": 0}, "horizon=0; an episode needs at least one step"),
    ],
)
def test_a_wrong_declaration_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        declared(**attributes)


def test_what_is_not_declared_is_named() -> None:
    methods = dict.fromkeys(("reset", "step", "observe"), lambda *args: None)
    with pytest.raises(MetaRLError, match=r"Bare declares no horizon, .*action_space"):
        type("Bare", (TorchFamily,), {"tasks": TaskSpace(x=Uniform(0, 1)), **methods})()


def test_a_task_may_be_an_ood_one_but_the_default_is_not() -> None:
    family, far = make_family(WALK), {"goal": (1.5, 1.5), "scale": 1}
    np.testing.assert_array_equal(family.validate(far)["goal"], [1.5, 1.5])
    with pytest.raises(MetaRLError, match="lies outside its space"):
        family.validate({"goal": (3, 3), "scale": 1})
    with pytest.raises(MetaRLError, match="lies outside its space"):
        declared(default_task=far).default()


def test_the_default_task_is_drawn_where_none_is_declared() -> None:
    first, second = (declared(default_task=None).default() for _ in range(2))
    np.testing.assert_array_equal(first["goal"], second["goal"])


def test_players_play_the_very_tasks_that_are_scored() -> None:
    family = make_family(WALK)
    stay, go = (policy_returns(family, name, family.splits.test, repeats=8).mean(1) for name in ("stay", "go"))
    assert stay.shape == (100,)
    assert go.mean() > stay.mean()
    one = policy_returns(family, "stay", family.splits.test[:3], episodes=4)
    assert one.shape == (3, 4)
    with pytest.raises(MetaRLError, match="no reference policy 'fly'; it has stay, go"):
        policy_returns(family, "fly", family.splits.test)
