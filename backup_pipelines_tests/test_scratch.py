"""Folders for rows on their way."""

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from backup_pipelines.scratch import scratch_folder

_WORKS = """
import sys, time
from backup_pipelines.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "rows").write_text("secret")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' folders are not those that are looked at here."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_folder_is_private_and_goes_with_its_block() -> None:
    """Whichever way the block is left."""
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "rows").write_text("secret")
        raise ZeroDivisionError
    assert not folder.exists()


def test_the_next_one_removes_what_a_killed_process_left() -> None:
    """And nothing that another process works in, nor what is not of this project."""
    command = [sys.executable, "-c", _WORKS]
    killed, working = (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    assert killed.stdout is not None and working.stdout is not None
    left, used = Path(killed.stdout.readline().strip()), Path(working.stdout.readline().strip())
    other = Path(tempfile.gettempdir()) / "backup-pipelines-notes"
    other.mkdir()
    try:
        killed.kill()
        killed.wait()
        assert (left / "rows").is_file()
        with scratch_folder():
            assert not left.exists()
            assert (used / "rows").is_file()
        assert other.is_dir()
    finally:
        working.kill()
        working.wait()
