"""The check of an engine that was chosen: it gives what the usual one gives, within a tolerance."""

from collections.abc import Iterator

from metarl.core.random import gymnasium_keys
from metarl.family.checks.play import N_ENVS, Checks, Found, Subject


def agrees(subject: Subject) -> Iterator[Found]:
    """Rewards and observations are those of the usual engine, from the same states."""
    found = subject.family.compare_engines(subject.tasks, gymnasium_keys(0, N_ENVS), subject.actions)
    subject.measured += found.told
    for name, value in found.distances.items():
        if not value <= found.tolerance:
            what = f"The {name} differs by {value:.2g} from that of the usual engine, more than {found.tolerance:g}."
            yield what, "Use the usual engine, or look at the model's contacts, solver and integrator."


ENGINE: Checks = {"engines agree": agrees}
