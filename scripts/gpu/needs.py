"""Packages to carry to a machine without a network: ``python -m gpu.needs`` prints ``name==version`` lines.

``python -m gpu.needs mujoco-warp`` prints what that package needs beyond those, itself among them.

The requirements of the package and of pytest, and theirs, in the versions of this environment, without what is there
and without what no row imports.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

THERE = ("torch", "numpy", "scipy", "setuptools")
# Together with their own requirements they are 50 MB. Figures are drawn and beliefs probed where the numbers are
# brought back to; MuJoCo's studio is a program, OpenGL is for rendering, and the last two are TensorBoard's server.
LEFT_OUT = (
    *("matplotlib", "scikit-learn", "imageio", "mujoco-studio", "pyopengl"),
    *("grpcio", "tensorboard-data-server"),
)
_ROOTS = ("metarl-suite", "pytest")
_PLACE = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
}


def needs(*roots: str) -> dict[str, str]:
    """Return the versions by name of everything but the package itself, or of what ``roots`` need beyond that."""
    found: dict[str, str] = {}
    waiting = [(name, frozenset[str]()) for name in roots or _ROOTS]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for each in _required(name, extras):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
        found[name] = distribution(name).version
    there = needs() if roots else _ROOTS[:1]
    return {name: version for name, version in sorted(found.items()) if name not in there}


def _required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what a package needs there, and which extras of it."""
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        needed = canonicalize_name(requirement.name)
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({**_PLACE, "extra": extra}) for extra in ("", *extras))
        if wanted and needed not in (*THERE, *LEFT_OUT):
            yield needed, frozenset(requirement.extras)


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in needs(*sys.argv[1:]).items()))
