"""Checksums of published files: what was changed, added or lost since is named; publishing records them."""

import subprocess
from pathlib import Path

import pytest

from metarl.core.errors import MetaRLError
from metarl.evaluation.sums import SUMS, check_published, check_sums, record_sums
from results.files import load_results

ONE, OTHER = "maml/PointNavigation-maml", "fewshot/prototypical/omniglot"
COMMITTED = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two folders with two files each, recorded, and a README."""
    for folder in (ONE, OTHER):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("summary.json", "curve.csv"):
            (tmp_path / folder / name).write_text(f"{folder} {name}")
    (tmp_path / "README.md").write_text("made of them")
    record_sums(tmp_path)
    return tmp_path


def test_sound_files_have_no_faults_and_the_readme_may_change(results: Path) -> None:
    assert check_sums(results) == []
    (results / "README.md").write_text("made anew")
    assert check_sums(results) == []
    check_published(results / ONE)
    check_published(results / OTHER)


def test_the_file_is_what_sha256sum_checks(results: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=results, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert len((results / SUMS).read_text().splitlines()) == 4


@pytest.mark.parametrize("folder", [ONE, OTHER])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"!"), "is not what was published"),
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.with_name("more.csv").write_text("more"), "is not listed"),
    ],
)
def test_a_changed_a_lost_and_a_new_file_are_named(results: Path, folder: str, change, words: str) -> None:
    file = results / folder / "summary.json"
    change(file)
    (fault,) = check_sums(results)
    assert words in fault
    assert str(file.parent) in fault
    with pytest.raises(MetaRLError, match=words):
        check_published(file.parent)
    # The other one is sound.
    check_published(results / (OTHER if folder == ONE else ONE))
    record_sums(results, file.parent)
    assert check_sums(results) == []


def test_recording_one_folder_leaves_the_faults_of_the_others(results: Path) -> None:
    for folder in (ONE, OTHER):
        (results / folder / "curve.csv").write_text("changed")
    record_sums(results, results / ONE)
    (fault,) = check_sums(results)
    assert OTHER in fault


@pytest.mark.parametrize("content", [b"\xff\xfe", b"abc  maml/curve.csv\n", b"\n"])
def test_damaged_checksums_are_named(results: Path, content: bytes) -> None:
    (results / SUMS).write_bytes(content)
    (fault,) = check_sums(results)
    assert "is damaged" in fault
    with pytest.raises(MetaRLError, match="is damaged"):
        record_sums(results, results / ONE)


def test_results_without_checksums_are_read_as_they_are(results: Path) -> None:
    (results / SUMS).unlink()
    assert check_sums(results) == []
    # The first that is recorded takes those with it that were there before.
    record_sums(results, results / ONE)
    assert check_sums(results) == []


def test_committed_results_are_as_they_were_published(tmp_path: Path) -> None:
    assert (COMMITTED / SUMS).is_file()
    assert check_sums(COMMITTED) == []
    # That they are looked at when results are loaded:
    (tmp_path / SUMS).write_text(f"{'0' * 64}  maml/PointNavigation/summary.json\n")
    with pytest.raises(MetaRLError, match="is missing"):
        load_results(tmp_path)
