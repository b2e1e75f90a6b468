"""What people see of long work: a live line on a terminal, a few plain ones elsewhere."""

import os
import re
import subprocess
import sys

import pytest

from backup_pipelines.cli.tables import wide
from backup_pipelines_tests.terminals import on_terminal

# As a verb does it; time passes ten times as fast, for a test cannot wait for an estimate.
_WORK = """
import time
from backup_pipelines.cli.output import progress
from backup_pipelines.pace import Amount
from backup_pipelines.progress import Meter, sparse
began = time.monotonic()
with progress("crm: backing up") as step:
    time.sleep(0.2)
    with Meter("crm: exporting", sparse(step), Amount(20000, 10**9), exact=False,
               clock=lambda: 10 * (time.monotonic() - began)) as meter:
        for number in range(16):
            time.sleep(0.1)
            meter.add(1000, 50 * 10**6, what=f"public.t{number}")
    step("proving the result")
    time.sleep(0.2)
print("done")
"""

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def _run(columns: int | None, **environment: str) -> tuple[str, str]:
    """What stdout and stderr got; stderr is a terminal of so many columns, or a pipe."""
    command = [sys.executable, "-c", _WORK]
    if columns is None:
        env = {**os.environ, **environment}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done.stdout, done.stderr
    seen = on_terminal(command, stream="stderr", columns=columns, **environment)
    return seen.out, seen.shown


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_has_one_line_that_grows_to_the_end(columns: int) -> None:
    """Share, time left and amounts, never wider than the terminal; nothing of it stays."""
    out, shown = _run(columns)
    assert out == "done\n"
    frames = [_SEQUENCE.sub("", frame).rstrip() for frame in re.split(r"[\r\n]+", shown)]
    assert [frame for frame in frames if wide(frame) > columns] == []
    # Spinner and time are whole however long the rest is.
    assert all(re.match(r"\S 0:00:0\d \S", frame) for frame in frames if frame)
    text = "\n".join(frames)
    shares = [int(found) for found in re.findall(r"(\d+) %", text)]
    assert shares == sorted(shares)
    assert {10, 50, 75} & set(shares)
    assert "backing up" in text
    assert "proving the result" in text
    assert ("━" in text) == (columns >= 80)
    if columns >= 80:
        assert re.search(r"exporting: \d+ %, about \d+ s left", text)
    if columns == 200:
        assert re.search(r"\d,000 of about 20,000 rows, \d+\.0 MB of about 1\.0 GB", text)
    # The line is erased, the cursor is there again.
    assert shown.rstrip().endswith("\x1b[2K") or "\x1b[2K" in shown[-40:]
    assert "\x1b[?25h" in shown


def test_no_colours_where_they_are_not_wanted() -> None:
    """The line is there all the same."""
    colours = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert colours.search(_run(100)[1])
    _, shown = _run(100, NO_COLOR="1")
    assert not colours.search(shown)
    assert "%" in shown


@pytest.mark.parametrize(("columns", "term"), [(None, "xterm"), (80, "dumb")])
def test_elsewhere_there_are_a_few_plain_lines(columns: int | None, term: str) -> None:
    """In a pipe, a file, the log of cron, and on a terminal that can do nothing."""
    out, shown = _run(columns, TERM=term)
    assert out == "done\n"
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert lines[0] == "crm: backing up"
    assert lines[-1] == "proving the result"
    assert 3 <= len(lines) <= 9
    assert re.fullmatch(r"crm: exporting: \d+ %, .* rows, .*\(public\.t\d+\)", lines[1])
