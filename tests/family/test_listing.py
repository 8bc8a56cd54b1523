"""The list of families: one source for the table in docs/, the console's and the JSON."""

import json
from dataclasses import asdict
from io import StringIO

import pytest
from rich.console import Console

from metarl.envs import FAMILIES
from metarl.family import make_family
from metarl.family.listing import families, families_details, families_json, families_markdown, families_rows

IDS = ["test/Walk-v0", "test/Slots-v0"]


def test_a_variant_is_listed_with_what_it_declares() -> None:
    walk, slots = families(IDS)
    assert (walk.id, walk.summary) == (
        IDS[0],
        "A noisy walk to a hidden goal, which ends by accident at different times.",
    )
    assert asdict(walk.variants[1]) == {
        "name": "disjoint",
        "parameters": {"goal": "uniform [-1, 1] (2)", "scale": "log-uniform [0.5, 2]"},
        "split": "disjoint",
        "test_tasks": 5,
        "ood": True,
        "observation": "Box(2) [-10, 10]",
        "action": "Box(2)",
        "horizon": 12,
        "episodes_per_trial": 3,
        "floor": "stay",
        "optimum": "go",
        "paper": "",
    }
    assert walk.variants[2].parameters == {"goal": "2 values (2)", "scale": "1 value"}
    assert (slots.variants[0].action, slots.variants[0].floor) == ("Discrete(3, start=1)", None)


def test_every_form_shows_every_variant() -> None:
    listed = families(IDS)
    names = [variant.name for family in listed for variant in family.variants]
    assert [row["variant"] for row in families_rows(listed)] == names
    markdown = families_markdown(listed).splitlines()
    assert len(markdown) == 2 + len(names)
    assert len({line.count("|") for line in markdown}) == 1
    assert sum("test/Walk-v0" in line for line in markdown) == 1  # in its first row
    printed = StringIO()
    Console(width=80, file=printed).print(families_details(listed))
    shown = printed.getvalue()
    assert all(name in shown for name in (*names, *IDS))
    assert max(map(len, shown.splitlines())) <= 80


def test_the_json_reads_back() -> None:
    read = json.loads(families_json(families(IDS)))
    assert [family["id"] for family in read] == IDS
    assert read == [asdict(family) for family in families(IDS)]


@pytest.mark.parametrize("family_id", FAMILIES)
def test_every_installed_family_is_listed_with_its_source(family_id: str) -> None:
    (family,) = families([family_id])
    assert family.summary
    assert [variant.name for variant in family.variants] == type(make_family(family_id)).variants()
    assert all(variant.paper for variant in family.variants)
