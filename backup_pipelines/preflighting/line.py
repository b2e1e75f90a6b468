"""What one check says: a line of its own, whatever the others find."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from backup_pipelines.errors import BackupError
from backup_pipelines.messages.scrub import scrub

Status = Literal["ok", "warning", "wrong"]
"""wrong: a first backup would not work, or would lie open to others."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    check: str
    status: Status
    found: str
    advice: str = ""

    def document(self) -> Mapping[str, str]:
        """The line for JSON."""
        return {
            "check": self.check,
            "status": self.status,
            "found": self.found,
            "advice": self.advice,
        }


def ok(check: str, found: str) -> Line:
    """A line about something that is as it must be."""
    return Line(check, "ok", found)


def warning(check: str, found: str, advice: str = "") -> Line:
    """A line about something that a first backup does without."""
    return Line(check, "warning", found, advice)


def wrong(check: str, found: str, advice: str = "") -> Line:
    """A line about something that a first backup fails by."""
    return Line(check, "wrong", found, advice)


def not_checked(check: str, why: str) -> Line:
    """A line about something that cannot be looked at before something else is right."""
    return warning(check, f"not checked: {why}", "Do what is wrong first, and look again.")


def each(check: str, problems: Iterable[str], otherwise: str) -> list[Line]:
    """A line for each problem, or one that says that there is none."""
    return [wrong(check, problem) for problem in problems] or [ok(check, otherwise)]


def collected(check: str, look: Callable[[], Iterable[Line]]) -> list[Line]:
    """The lines of one look; what it raises becomes a line, after those that came before it.

    Only what is raised is scrubbed, since it may quote what it was given. The lines are ours, and
    a masked role would spoil their statements.
    """
    found: list[Line] = []
    try:
        found.extend(look())
    except BackupError as error:
        found += [wrong(check, scrub(text)) for text in str(error).splitlines() if text.strip()]
    except Exception as error:
        # Whatever it is, the other checks are to be heard.
        said = scrub(" ".join(str(error).split()))
        found.append(wrong(check, f"could not be checked: {type(error).__name__}: {said}"))
    return found


def as_warnings(lines: Iterable[Line]) -> list[Line]:
    """The lines of something that no backup waits for."""
    return [replace(line, status="warning") if line.status == "wrong" else line for line in lines]
