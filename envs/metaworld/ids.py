"""The ids of Meta-World's families, known without its package."""

_NAMES = """
assembly basketball bin-picking box-close button-press button-press-topdown button-press-topdown-wall
button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
door-unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert handle-press handle-press-side
handle-pull handle-pull-side lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-wall
plate-slide plate-slide-back plate-slide-back-side plate-slide-side push push-back push-wall reach reach-wall
shelf-place soccer stick-pull stick-push sweep sweep-into window-close window-open
"""
ML1_ENVS = tuple(f"{name}-v3" for name in _NAMES.split())
BENCHMARKS = ("ML10", "ML45", "MT10", "MT50")


def ml1_id(env: str) -> str:
    """Return the family's id of an environment such as "reach-v3"."""
    return f"metarl/ML1-{env}"


# Family id -> the module that registers it.
FAMILIES = dict.fromkeys(
    [*map(ml1_id, ML1_ENVS), *(f"metarl/{name}-v3" for name in BENCHMARKS)], "metarl.envs.metaworld.families"
)
