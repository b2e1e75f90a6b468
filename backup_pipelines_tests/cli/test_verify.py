"""`verify`: every object read back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_pipelines import environment
from backup_pipelines_tests.cli.conftest import Cli, run_on_terminal


@pytest.fixture
def damaged(backup_id: str) -> Iterator[str]:
    """The backup with one byte of one part turned, for the time of the test."""
    folder = environment.home() / ".demo" / "store" / "dcim" / "backups" / backup_id
    part = next(iter(sorted(Path(folder).rglob("public.servers/*.parquet"))))
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    yield backup_id
    part.write_bytes(whole)


def test_a_whole_backup_verifies_and_a_terminal_shows_one_live_line(backup_id: str) -> None:
    result, shown = run_on_terminal(
        "verify", "dcim", backup_id, "--json", stream="stderr", columns=60
    )
    assert result.code == 0
    found = result.document
    assert (found["backup"], found["verified"]) == (backup_id, True)
    assert found["objects"] > 20
    assert found["run_id"]
    assert "verifying" in shown
    colours = r"\x1b\[[0-9;]*3[0-9][0-9;]*m"
    assert not re.search(colours, shown), "NO_COLOR is set"


def test_a_turned_bit_is_found_and_fails(cli: Cli, damaged: str) -> None:
    result = cli("verify", "dcim", damaged, "--json")
    assert (result.code, result.out) == (1, "")
    assert "is damaged, do not restore it" in result.err
    assert "public.servers/part-00000.parquet" in result.err


def test_a_backup_must_be_named(cli: Cli) -> None:
    result = cli("verify", "dcim")
    assert result.code == 2
    assert "Missing argument 'BACKUP'" in result.err
