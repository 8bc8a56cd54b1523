"""What a step of point navigation needs at least, as the benchmark counts it: kernels, bytes and operations."""

from pathlib import Path

import pytest


def test_a_captured_step_is_fewer_than_40_kernels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    from bench.kernels import kernels_of_a_step

    found = kernels_of_a_step()
    assert found.inside["baddbmm"] == 3  # the layers: it is the policy's step that was counted
    # Position, observation and noise come, five tensors go, and the flags of who has ended are joined.
    assert found.around == {"_foreach_copy_": 3, "clone": 5, "bitwise_or": 2}
    assert found.total < 40, found


def test_the_roofline_of_point_navigation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    from bench.roofline import Roofline, policy_and_physics

    # 2·64 + 64, 64·64 + 64, 64·2 + 2 and 2 are 4484 numbers a task; 12 an environment, and two flags of a byte.
    work = policy_and_physics(environments=40, tasks=2)
    assert work.bytes == 4 * (2 * 4484 + 40 * 12) + 40 * 2
    assert work.flops == 40 * 2 * (2 * 64 + 64 * 64 + 64 * 2)
    roof = Roofline(bandwidth=1e3, flops=1e9)
    assert roof.seconds(work) == pytest.approx(work.bytes / 1e3)
    assert Roofline(bandwidth=1e12, flops=1e3).seconds(work) == pytest.approx(work.flops / 1e3)
