"""A real spreadsheet program that opens files and saves them, as people do."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# Tokens of LibreOffice's CSV filter: comma, quote, UTF-8, first line, no column formats, English,
# and whether quoted fields stay text and special numbers (dates, scientific ones) are looked for.
AS_TEXT = "44,34,76,1,,1033,true,false"
AS_IT_LIKES = "44,34,76,1,,1033,false,true"

_SECONDS = 120

Resave = Callable[..., Path]


@pytest.fixture(scope="session")
def soffice() -> str:
    """The path of the machine's LibreOffice; skips where there is none."""
    found = shutil.which("soffice")
    if found is None:
        pytest.skip("no LibreOffice on this machine: apt-get install libreoffice-calc-nogui")
    return found


@pytest.fixture
def resave(soffice: str, tmp_path: Path) -> Resave:
    """Opens a file, with a CSV filter's options if it is one, and saves it as CSV elsewhere."""
    profile = tmp_path / "profile"

    def run(file: Path, to: Path, reading: str = "", *, quoted: bool = False) -> Path:
        to.mkdir(exist_ok=True)
        # The sixth token of the output quotes all texts, as some people tick.
        kept = f"44,34,76,1,,0,{str(quoted).lower()}"
        command = [
            *(soffice, "--headless", f"-env:UserInstallation={profile.as_uri()}"),
            *((f"--infilter=CSV:{reading}",) if reading else ()),
            *("--convert-to", f"csv:Text - txt - csv (StarCalc):{kept}"),
            *("--outdir", str(to), str(file)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        made = to / f"{file.stem}.csv"
        assert done.returncode == 0 and made.is_file(), done.stderr
        return made

    return run
