"""Whether a first backup of a system would work: every check is made, whatever the others find.

Nothing is left behind: the database is read, the trial object in each store is removed again.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import yaml
from pydantic import ValidationError

from backup_pipelines import catalog, environment, systems
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.exporting.estimate import Estimate, estimate
from backup_pipelines.manifest import Manifest
from backup_pipelines.preflighting import access, database, restores, stores, surroundings
from backup_pipelines.preflighting.database import Seen
from backup_pipelines.preflighting.line import (
    Line,
    as_warnings,
    collected,
    not_checked,
    ok,
    warning,
)
from backup_pipelines.progress import Report
from backup_pipelines.scheduling import due
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count


@dataclass(frozen=True)
class Preflight:
    """Everything that was looked at."""

    system: str
    lines: tuple[Line, ...]
    table_bytes: int | None
    estimate: Estimate | None
    """None where the tables are not known."""

    @property
    def is_ready(self) -> bool:
        """Whether a first backup would work."""
        return not any(line.status == "wrong" for line in self.lines)

    def document(self) -> Mapping[str, object]:
        """What `--json` prints."""
        found = self.estimate
        return {
            "system": self.system,
            "ready": self.is_ready,
            "wrong": sum(line.status == "wrong" for line in self.lines),
            "warnings": sum(line.status == "warning" for line in self.lines),
            "table_bytes": self.table_bytes,
            "expected_seconds": round(found.seconds, 1) if found else None,
            "expected_bytes": found.stored_bytes if found else None,
            "expected_by": (found.by or None) if found else None,
            "lines": [line.document() for line in self.lines],
        }


def preflight(name: str, report: Report) -> Preflight:
    """Look at everything that a first backup of the system needs.

    Raises NotFound only, for a name of no system; what is wrong is in the result.
    """
    systems.require_known(name)
    system = _readable_part(name)
    urls = [environment.store_url()]
    if system is not None and system.second_store is not None:
        urls.append(os.environ.get(system.second_store.url_env, ""))
    with ExitStack() as stack:
        for url in urls:
            stack.enter_context(stores.left_as_it_was(url, name))
        return _look(name, system, report)


def _look(name: str, system: System | None, report: Report) -> Preflight:
    seen, lines = Seen(), collected("YAML", lambda: _yaml(name))
    if system is not None:
        report(f"{name}: looking at the database")
        lines += _database(system, seen)
    else:
        lines.append(not_checked("database", "the YAML does not say which it is"))
    report(f"{name}: looking at the store")
    of_store = collected("store", lambda: _first_store(name))
    lines += of_store
    # One that is away is asked once: each question costs its timeouts.
    answers = any(line.check == "store" and line.status == "ok" for line in of_store)
    store = environment.store() if answers else None
    found = _estimated(name, seen, store)
    report(f"{name}: looking at what is around")
    if system is not None:
        lines += _rest(system, seen, found, store)
    lines += collected("Dagster", surroundings.dagster)
    return Preflight(name, tuple(lines), seen.table_bytes if found else None, found)


def _database(system: System, seen: Seen) -> list[Line]:
    def source() -> Iterator[Line]:
        said = "is set" if os.environ.get(system.database_url_env) else "is not set: the demo's"
        with environment.source_url(system) as url:
            yield ok("database URL", f"{system.database_url_env} {said}")
            yield from database.look(system, url, seen)

    def owner() -> Iterator[Line]:
        with environment.restore_url(system) as url:
            yield from restores.role(system, url, seen.server, seen.chosen)

    return [*collected("database", source), *as_warnings(collected("restores", owner))]


def _first_store(name: str) -> Iterator[Line]:
    if not os.environ.get(environment.BACKUP_STORE_URL):
        yield warning(
            "store URL",
            f"{environment.BACKUP_STORE_URL} is not set: the demo's folder is used",
            "Set it to s3://bucket/prefix or file:///folder, best on another machine.",
        )
    yield from stores.look("store", name, environment.store_url())


def _rest(system: System, seen: Seen, found: Estimate | None, store: Store | None) -> list[Line]:
    """What needs the YAML, beside the database."""
    url = environment.store_url()
    lines = collected("object lock", lambda: stores.locks(system, store))
    if found is not None:
        lines += collected("room", lambda: stores.room(url, system, found))
        bytes_of_tables = seen.table_bytes
        lines += collected(
            "duration", lambda: surroundings.duration(system, bytes_of_tables, found)
        )
    else:
        lines.append(not_checked("duration", "the tables could not be looked at"))
    if system.second_store is not None:
        lines += as_warnings(collected("second store", lambda: _second_store(system)))
    lines += collected("encryption", lambda: restores.keys(system))
    lines += collected("drills", lambda: surroundings.drills(system))
    has_source = seen.server is not None
    lines += collected(
        "cluster", lambda: surroundings.cluster_of(system, store, has_source=has_source)
    )
    lines += as_warnings(collected("notifications", lambda: surroundings.messages(system)))
    lines += collected("access", lambda: access.access(system))
    last = _last_scheduled(system, store)
    now = datetime.now(UTC)
    return lines + collected("schedule", lambda: surroundings.next_backup(system, now, last))


def _second_store(system: System) -> Iterator[Line]:
    second = environment.second_store(system)
    yield from stores.look("second store", system.system, second.url, second.variables)


def _yaml(name: str) -> Iterator[Line]:
    loaded = systems.load_system(name)
    yield ok("YAML", f"valid, {count(len(loaded.modules), 'module')}")


def _readable_part(name: str) -> System | None:
    """The system without the keys of its YAML that are wrong, so that the others are looked at."""
    with_problems: System | None = None
    try:
        return systems.load_system(name)
    except Refused:
        attributes = _attributes(name)
    for _ in range(2):
        try:
            with_problems = System.model_validate(attributes)
            break
        except ValidationError as error:
            bad = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
            # Checks of several modules have no place of their own.
            bad = bad or {"modules", "excluded"}
            attributes = {key: value for key, value in attributes.items() if key not in bad}
            attributes |= {"modules": {}} if "modules" not in attributes else {}
    return with_problems


def _attributes(name: str) -> dict[str, Any]:
    path = environment.defs_folder() / name / systems.FILE_NAME
    try:
        document: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    found = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    attributes: object = found.get("attributes")
    return dict(cast("dict[str, Any]", attributes)) if isinstance(attributes, dict) else {}


def _estimated(name: str, seen: Seen, store: Store | None) -> Estimate | None:
    """By the newest full backup, where the store has one; nothing where no table is known."""
    if not seen.chosen:
        return None
    return estimate(seen.table_bytes, _last_full(name, store) if store else None)


def _last_full(name: str, store: Store) -> Manifest | None:
    try:
        found = catalog.listing(store, name).good
    except BackupError:
        return None
    return next((entry for entry in found if entry.scope == "full"), None)


def _last_scheduled(system: System, store: Store | None) -> datetime | None:
    try:
        return due.last_backup(store, system.system) if store else None
    except BackupError:
        return None
