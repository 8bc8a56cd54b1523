"""The ids of Meta-World's families, known without its package."""

# Of its environments, each with "-v3" behind it.
ML1_ENVS = tuple(
    f"{name}-v3"
    for name in """
    assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press button-
    press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open door-
    unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert handle-press-side handle-press
    handle-pull-side handle-pull lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-
    wall plate-slide-back-side plate-slide-back plate-slide-side plate-slide push-back push push-wall reach reach-
    wall shelf-place soccer stick-pull stick-push sweep-into sweep window-close window-open
    """.split()
)
BENCHMARKS = ("ML10", "ML45", "MT10", "MT50")


def ml1_id(env: str) -> str:
    """Return the family's id of an environment such as "reach-v3"."""
    return f"metarl/ML1-{env}"


FAMILIES = dict.fromkeys(
    [*map(ml1_id, ML1_ENVS), *(f"metarl/{name}-v3" for name in BENCHMARKS)], "metarl.envs.metaworld.families"
)
