"""Write docs/gallery/: a page with a picture for every family of the registry, and an index (``make gallery``).

Families whose module lies in a package of its own, as those of a benchmark do, share a page, which says only what
their classes say: their package need not be installed.
"""

import argparse
import inspect
import re
from io import BytesIO
from pathlib import Path

from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.plugins import FAMILIES, OPTIONAL_FAMILIES, declared
from metarl.evaluation.scores import short_name
from metarl.family import family_class, make_family
from metarl.family.listing import VariantInfo, families
from metarl.plotting.render import render_reference
from metarl.plotting.video import grid

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "gallery"
_TASKS, _WIDTH, _COLOURS = 4, 960, 64  # side by side in a picture; its pixels and colours
_MOST = 150_000  # bytes of a picture
_OWN_PAGE = 3  # parts of the name of a module that has no package of its own, such as metarl.envs.navigation


def groups() -> dict[str, list[str]]:
    """Return the ids of the families on each page, by the page's name."""
    found: dict[str, list[str]] = {}
    for family_id, module in (declared(FAMILIES) | declared(OPTIONAL_FAMILIES)).items():
        parts = module.split(".")
        page = short_name(family_id) if len(parts) <= _OWN_PAGE else parts[_OWN_PAGE - 1]
        found.setdefault(page, []).append(family_id)
    return found


def pages() -> dict[str, str]:
    """Return the text of every page and of the index, by the name of the file."""
    made, rows = {}, []
    for page, ids in groups().items():
        alone = page == short_name(ids[0])
        made[f"{page}.md"] = _page(ids[0]) if alone else _shared_page(page, ids)
        listed = ", ".join(f"`{each}`" for each in ids[:3]) + f" and {len(ids) - 3} more" * (len(ids) > 3)
        shown = f"![{page}]({page}.png)" if alone else ""
        rows.append(f"| [{page}]({page}.md) | {listed} | {_summary(ids[0])} | {shown} |")
    head = "# The task families\n\nMade by `make gallery` from the registry; `metarl families ID` tells the same.\n\n"
    made["README.md"] = head + "| page | id | | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    return made


def picture(family_id: str) -> bytes:
    """Draw the end of an episode of the best reference policy on test tasks side by side, as PNG."""
    family = make_family(family_id)
    names = family.reference_policies()
    reference = family.optimum or family.floor or next(iter(names), "random")
    film = render_reference(family, reference, n_tasks=_TASKS)
    ends = [family.render(history, task) for history, task in zip(film.histories[0], film.tasks, strict=True)]
    last = grid(ends, columns=_TASKS)
    image = Image.fromarray(last)
    image = image.resize((_WIDTH, round(image.height * _WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(content := BytesIO(), "PNG", optimize=True)
    if len(content.getvalue()) > _MOST:
        raise MetaRLError(f"The picture of {family_id} has {len(content.getvalue()):,} bytes, more than {_MOST:,}.")
    return content.getvalue()


def _page(family_id: str) -> str:
    (family,) = families([family_id])
    first, name = family.variants[0], short_name(family_id)
    agent = "rl2" if first.episodes_per_trial > 1 else "maml"
    best = first.optimum or first.floor or "random"
    commands = [f"metarl train {agent} {family_id}", f"metarl render {family_id} --reference '{best}'"]
    parts = [f"# {family_id}", f"![{_TASKS} tasks of {family_id} at an episode's end]({name}.png)"]
    parts += [f"*{_TASKS} test tasks of `{first.name}` at the end of an episode; plays: {best}.*", _words(family_id)]
    parts += ["## Variants", *(_variant(each) for each in family.variants)]
    parts += ["## Try it", "```sh\n" + "\n".join(commands) + "\n```"]
    papers = dict.fromkeys(variant.paper for variant in family.variants if variant.paper)
    return "\n\n".join([*parts, *(["Source: " + "; ".join(papers) + "."] if papers else [])]) + "\n"


def _shared_page(page: str, ids: list[str]) -> str:
    """Return the page of several families: each class's own words once, and the ids of its families."""
    said: dict[str, list[str]] = {}
    for family_id in ids:
        said.setdefault(_words(family_id), []).append(family_id)
    parts = [f"# {page}"]
    for words, those in said.items():
        parts += ["## " + ", ".join(those[:3]) + f" and {len(those) - 3} more" * (len(those) > 3), words]
        parts += ["Ids: " + ", ".join(f"`{each}`" for each in those) + "."] * (len(those) > 3)
        parts += [f"```sh\nmetarl train rl2 {those[0]}\n```"]
    return "\n\n".join(parts) + "\n"


def _variant(variant: VariantInfo) -> str:
    ood = ", and ood tasks outside the training range" if variant.ood else ""
    rows = {
        **{f"parameter `{name}`": value for name, value in variant.parameters.items()},
        "split": f"{variant.split}, {variant.test_tasks} test tasks{ood}",
        "observation, action": f"{variant.observation}, {variant.action}",
        "trial": f"episodes × steps: {variant.episodes_per_trial} × {variant.horizon}",
        "floor": variant.floor or "– (a trained policy that does not know the task: `multitask`)",
        "optimum": variant.optimum or "– (a trained policy that does: `oracle`)",
    }
    return f"### `{variant.name}`\n\n| | |\n|---|---|\n" + "\n".join(f"| {k} | {v} |" for k, v in rows.items())


def _words(family_id: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", inspect.getdoc(family_class(family_id)) or "")


def _summary(family_id: str) -> str:
    return _words(family_id).partition("\n")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text-only", action="store_true", help="leave the pictures as they are")
    text_only = parser.parse_args().text_only
    for file, text in pages().items():
        write_atomic(FOLDER / file, text)
    for name, (family_id, *_) in groups().items():
        if name == short_name(family_id) and not text_only:
            write_atomic(FOLDER / f"{name}.png", picture(family_id))
            print(f"Drew {name}")
