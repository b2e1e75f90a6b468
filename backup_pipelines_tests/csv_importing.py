"""Imports without Dagster: files on disk, a site, and what both come to."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backup_pipelines.csv.export import Asked, export_live
from backup_pipelines.csv.form import FileNote
from backup_pipelines.csv.importing import Validated, import_files, plan_import, validated
from backup_pipelines.csv.incoming import AskedImport
from backup_pipelines.csv.problems import Problem
from backup_pipelines.restore import LiveRestored
from backup_pipelines.restoring.planned import Plan
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_restore import EVERYTHING, Site

ALL = Selection(modules=("all",))


def write(folder: Path, **files: str | bytes) -> Path:
    """A folder with these CSV files, named without their suffix."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{name}.csv").write_bytes(data)
    return folder


def export(site: Site, to: Path, selection: Selection = ALL) -> Path:
    """An export of the live database; returns its folder."""
    exported(site, to, selection)
    return to


def exported(site: Site, to: Path, selection: Selection) -> Sequence[FileNote]:
    """An export of the live database; returns its files."""
    asked = Asked(selection, to)
    done = export_live(site.system, site.database.reader_url, asked, report=ignore)
    return done.note.files


@contextmanager
def looked_at(site: Site, source: Path, **more: Any) -> Generator[Validated]:
    """Files read and validated by the owner of the tables."""
    asked = AskedImport(source, more.pop("selection", EVERYTHING), **more)
    with validated(site.system, site.database.owner_url, asked, ignore) as found:
        yield found


def problems_of(site: Site, source: Path, **more: Any) -> list[Problem]:
    """Everything that is wrong with files."""
    with looked_at(site, source, **more) as found:
        return list(found.problems.in_order())


def plan_of(site: Site, source: Path, **more: Any) -> Plan:
    """The plan of an import of files that nothing is wrong with."""
    with looked_at(site, source, **more) as found:
        assert [*found.problems.in_order(5)] == []
        plan = plan_import(found, site.database.owner_url, ignore)
    assert plan is not None
    return plan


def import_(
    site: Site, source: Path, *, with_safety: bool = False, plan_hash: str = "", **more: Any
) -> LiveRestored:
    """Import files that nothing is wrong with."""
    with looked_at(site, source, **more) as found:
        assert [*found.problems.in_order(5)] == []
        return import_files(
            found,
            site.database.owner_url,
            plan_hash=plan_hash,
            safety=site.safety if with_safety else None,
            report=ignore,
        )


def counts(plan: Plan) -> dict[str, tuple[int, int]]:
    """Inserts and updates of every table, without `public.`."""
    return {t.table.removeprefix("public."): (t.insert, t.update) for t in plan.tables}


def told(problems: Sequence[Problem]) -> list[tuple[int, str, str | None, str]]:
    """Line, column, value and kind of problems."""
    return [(one.line, one.column, one.value, one.kind) for one in problems]
