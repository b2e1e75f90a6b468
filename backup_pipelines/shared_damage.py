"""A damaged object that several backups name: each of them is damaged, not only the one read."""

from collections.abc import Sequence
from datetime import datetime

from backup_pipelines import catalog, state_log
from backup_pipelines.errors import BackupError
from backup_pipelines.manifest import Part
from backup_pipelines.progress import Report, silent
from backup_pipelines.storage.store import Store


def remember_in_others(
    store: Store,
    system: str,
    wrong: Sequence[tuple[Part, str]],
    *,
    read_for: str,
    operator: str = "",
    now: datetime | None = None,
    report: Report = silent,
) -> str:
    """Remember as damaged every other backup that names one of these parts; gives what to tell.

    `wrong` are parts that were looked at twice, with what is wrong with them; `read_for` is the
    backup that is left out. A manifest that says something else of an object, its size or digest,
    is not judged by this: it is when it is verified itself. A store that fails now is told of and
    not raised: what was found before is the news.
    """
    try:
        marked = _mark(store, system, wrong, read_for, operator, now)
    except BackupError as error:
        said = f"which other backups name the same objects could not be found out: {error}"
        report(said)
        return said
    if not marked:
        return ""
    said = f"these name the same objects and are marked as damaged too: {', '.join(marked)}"
    report(said)
    return said


def _mark(
    store: Store,
    system: str,
    wrong: Sequence[tuple[Part, str]],
    read_for: str,
    operator: str,
    now: datetime | None,
) -> list[str]:
    """The ids that are new among the damaged, oldest first."""
    if not wrong:
        return []
    said = {_facts(part): problem for part, problem in wrong}
    found = catalog.listing(store, system)
    known = {read_for, *found.states.damaged, *found.states.removing}
    marked: list[str] = []
    for entry in reversed(found.backups):
        if entry.id in known:
            continue
        named = map(_facts, entry.parts)
        listed = "\n".join(f"- {said[facts]}" for facts in named if facts in said)
        if not listed:
            continue
        message = (
            f"backup {entry.id} is damaged, do not restore it; it was found when objects of "
            f"{read_for} were read:\n{listed}"
        )
        content = {"operator": operator, "message": message}
        state_log.append(
            store, system, "verifications", entry.id, catalog.DAMAGED, content, now=now
        )
        marked.append(entry.id)
    return marked


def _facts(part: Part) -> tuple[str, int, str, int, str]:
    return part.key, part.size_bytes, part.sha256, part.rows, part.digest
