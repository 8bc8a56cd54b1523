"""The package metaworld: which version, how it is installed beside us, and the one method of it that is replaced."""

from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metarl.core.errors import MetaRLError

VERSION = "3.1.1"
INSTALL = f"pip install --no-deps metaworld=={VERSION}"


@cache
def metaworld() -> Any:
    """Return the package metaworld, which runs on our MuJoCo from then on.

    Raises:
        MetaRLError: it is not installed, or in another version than the one that this was made for.
    """
    try:
        found = version("metaworld")
    except PackageNotFoundError:
        raise MetaRLError(
            f"Meta-World's families need its package: {INSTALL} (--no-deps, for it asks for an older MuJoCo)."
        ) from None
    if found != VERSION:
        raise MetaRLError(f"metaworld {found} is installed, these families are of {VERSION}: {INSTALL}")
    package = import_module("metaworld")
    import_module("metaworld.sawyer_xyz_env").SawyerMocapBase.reset_mocap_welds = reset_mocap_welds
    return package


def reset_mocap_welds(env: Any) -> None:
    """Weld the hand to its mocap body, as ``SawyerMocapBase.reset_mocap_welds`` of metaworld does on MuJoCo 3.3.

    A weld has 11 numbers there: anchor, relative position and rotation, and a last one for torque, which metaworld
    writes as one row. MuJoCo 4 has a twelfth behind them, so that the row no longer fits; it stays as it is, zero.
    """
    import mujoco

    model = env.model
    if model.nmocap:
        welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
        model.eq_data[welds, :11] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
