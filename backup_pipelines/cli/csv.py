"""The verbs about CSV files: `csv export` and `csv template`.

Both only read, so that neither needs a run of Dagster; both are in the audit trail.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import (
    by_option,
    json_option,
    store_named,
    store_option,
    with_options,
)
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    progress,
    tell,
)
from backup_pipelines.cli.restore import reason_option
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.progress import sparse
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.wording import clean, count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.csv.export import Exported

_what = with_options(
    click.option("--module", "modules", metavar="M", multiple=True, help="May be repeated."),
    click.option("--table", "tables", metavar="T", multiple=True, help="May be repeated."),
    click.option("--to", "to", metavar="DIR", required=True, help="The folder for the files."),
)


@click.group("csv")
def csv_group() -> None:
    """Tables as CSV files."""


@csv_group.command()
@click.argument("system")
@_what
@click.option("--backup", metavar="BACKUP", help="From this backup; else the live database.")
@store_option
@click.option("--zip", "zipped", is_flag=True, help="One archive with all files.")
@click.option("--bom", is_flag=True, help="Begin files with a byte order mark.")
@click.option("--masked", is_flag=True, help="Mask values as the YAML says.")
@reason_option
@by_option
@json_option
def export(
    system: str,
    modules: tuple[str, ...],
    tables: tuple[str, ...],
    to: str,
    backup: str | None,
    which: StoreName,
    zipped: bool,
    bom: bool,
    masked: bool,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Write tables of SYSTEM as CSV files, all as they were at one moment.

    From the live database, or from a backup. The same rows give the same bytes.
    """
    from backup_pipelines.csv import export as csv_export
    from backup_pipelines.csv import tables as csv_tables
    from backup_pipelines.masking import policy

    loaded = systems.load_system(system)
    with _audited(system, "csv_export", operator, reason, which) as word:
        csv_tables.refuse_live_second(backup, which)
        asked = csv_export.Asked(
            Selection(modules, tables),
            Path(to),
            zipped=zipped,
            bom=bom,
            masking=policy.spec_of(loaded) if masked else None,
        )
        if backup is None:
            with (
                progress(f"{system}: exporting") as step,
                environment.source_url(loaded) as url,
            ):
                done = csv_export.export_live(loaded, url, asked, report=sparse(step))
        else:
            store, word.backup = store_named(system, which), backup
            entry = catalog.find(store, system, backup)
            word.backup = entry.id
            with progress(f"{system}: exporting {entry.id}") as step:
                done = csv_export.export_backup(store, entry, asked, report=sparse(step))
        word.message, word.rows = done.in_words, done.note.rows
    for warning in done.warnings:
        tell(f"warning: {clean(warning)}")
    if as_json:
        print_json(done.document())
        return
    _print_files(done)


@csv_group.command()
@click.argument("system")
@_what
@click.option("--xlsx", is_flag=True, help="One workbook a module, with drop-downs.")
@reason_option
@by_option
@json_option
def template(
    system: str,
    modules: tuple[str, ...],
    tables: tuple[str, ...],
    to: str,
    xlsx: bool,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Write empty files for an import into tables of SYSTEM, and what each column takes."""
    from backup_pipelines.csv import template as csv_template

    loaded = systems.load_system(system)
    with _audited(system, "csv_template", operator, reason) as word:
        selection = Selection(modules, tables)
        with progress(f"{system}: reading") as step, environment.source_url(loaded) as url:
            done = csv_template.make_template(
                loaded, url, selection, Path(to), xlsx=xlsx, report=sparse(step)
            )
        word.message = done.in_words
    if as_json:
        print_json(done.document())
        return
    for one in done.tables:
        if one.no_example:
            tell(f"{clean(one.table)} has no example row: {clean(one.no_example)}")
    print(f"{done.in_words}, {done.seconds:.1f} s")


class _Word:
    """What the audit trail is told of a command that ends well, or as far as it came."""

    def __init__(self) -> None:
        self.message = ""
        self.backup = ""
        self.rows: int | None = None


@contextmanager
def _audited(
    system: str, name: str, operator: str | None, reason: str, which: StoreName = "first"
) -> Generator[_Word]:
    word = _Word()
    note = partial(cli_audit.note, system, name, operator=operator, reason=reason, which=which)
    try:
        who.require(system, name, operator)
        yield word
    except BackupError as error:
        outcome = "refused" if isinstance(error, Refused) else "failed"
        note(outcome, backup=word.backup, message=str(error))
        raise
    note("done", backup=word.backup, message=word.message, rows=word.rows)


def _print_files(done: "Exported") -> None:
    print_table(
        ("file", "rows", "size"),
        [(one.file, f"{one.rows:,}", size(one.size_bytes)) for one in done.note.files],
        numbers=("rows", "size"),
        whole=("file",),
    )
    at = moment(done.note.snapshot_at, seconds=True)
    source = done.note.backup or "the live database"
    print(
        f"{count(len(done.note.files), 'file')} with {count(done.note.rows, 'row')} of {source} "
        f"as of {at} in {done.to}, {done.seconds:.1f} s"
    )
