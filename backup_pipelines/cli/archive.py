"""The verbs `download` and `upload`: one file with a whole backup, made and put back.

A download reads the store only; an upload runs the Dagster job of its name.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import by_option, json_option, loadable, run_job
from backup_pipelines.cli.output import (
    print_json,
    progress,
)
from backup_pipelines.cli.restore import reason_option
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.progress import Report, sparse
from backup_pipelines.wording import count, size

if TYPE_CHECKING:
    from backup_pipelines.manifest import Manifest
    from backup_pipelines.storage.store import Store


@click.command()
@click.argument("system")
@click.argument("backup")
@click.option("--to", "to", metavar="FILE", required=True, help="The file to make.")
@click.option(
    "--format",
    "made_as",
    type=click.Choice(("archive", "json")),
    default="archive",
    help="A tar with all of it, or one JSON document with the rows.",
)
@by_option
@json_option
def download(
    system: str, backup: str, to: str, made_as: str, operator: str | None, as_json: bool
) -> None:
    """Make one file of a BACKUP: an archive, which `upload` puts back, or its rows as JSON.

    An archive that was interrupted goes on where it broke off when the same command is given again.
    """
    systems.require_known(system)
    started, named = time.monotonic(), backup
    try:
        who.require(system, "download", operator)
        store = environment.store()
        entry = catalog.find(store, system, backup)
        named = entry.id
        with progress(f"{system}: downloading {entry.id}") as step:
            make = _json_document if made_as == "json" else _archive
            made, said = make(store, entry, Path(to), sparse(step))
    except BackupError as error:
        outcome = "refused" if isinstance(error, Refused) else "failed"
        cli_audit.note(
            system, "download", outcome, operator=operator, backup=named, message=str(error)
        )
        raise
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        about = {"backup": entry.id, "system": system, "file": str(Path(to).absolute())}
        print_json({**about, **made, "seconds": seconds})
    else:
        print(f"{entry.id}: {said} checked and written to {to}, {seconds:.1f} s")
    cli_audit.note(system, "download", "done", operator=operator, backup=entry.id, message=said)


def _archive(
    store: "Store", entry: "Manifest", to: Path, report: Report
) -> tuple[Mapping[str, int], str]:
    from backup_pipelines.copies import archive

    done = archive.download(store, entry, to, report=report)
    made = {"objects": done.objects, "bytes": done.bytes, "resumed_bytes": done.kept}
    return made, f"{count(done.objects, 'object')}, {size(done.bytes)}"


def _json_document(
    store: "Store", entry: "Manifest", to: Path, report: Report
) -> tuple[Mapping[str, int], str]:
    from backup_pipelines.copies import json_document

    done = json_document.write(store, entry, to, report=report)
    made = {"tables": done.tables, "rows": done.rows, "bytes": done.bytes}
    rows = f"{count(done.tables, 'table')} with {count(done.rows, 'row')}"
    return made, f"{rows} as JSON, {size(done.bytes)}"


@click.command()
@click.argument("system")
@click.argument("file")
@reason_option
@by_option
@json_option
def upload(system: str, file: str, reason: str, operator: str | None, as_json: bool) -> None:
    """Put the backup of FILE, which `download` made, into the store and the catalog of SYSTEM."""
    path = Path(file).absolute()
    with cli_audit.refusals(system, "upload", operator=operator, reason=reason):
        loadable(system)
        if not path.is_file():
            raise Refused(f"{file} is no file: give one that `download` has made")
    config = {"file": str(path), "reason": reason}
    ran = run_job(system, "upload", config, f"uploading {path.name}", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    done = ran.result
    objects = f"{count(done['objects'], 'object')}, {size(done['bytes'])}"
    print(f"{done['id']}: {objects} verified and in the catalog, {ran.seconds:.1f} s")
    print(f"Retention counts it as any other; keep it: backup-pipelines pin {system} {done['id']}")
