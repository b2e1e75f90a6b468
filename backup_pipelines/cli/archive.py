"""The verbs `download` and `upload`: one file with a whole backup, made and put back.

A download reads the store only; an upload runs the Dagster job of its name.
"""

import time
from pathlib import Path

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option, loadable, run_job
from backup_pipelines.cli.output import (
    print_json,
    progress,
)
from backup_pipelines.cli.restore import reason_option
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.progress import sparse
from backup_pipelines.wording import count, size


@click.command()
@click.argument("system")
@click.argument("backup")
@click.option("--to", "to", metavar="FILE", required=True, help="The file to make, a tar.")
@by_option
@json_option
def download(system: str, backup: str, to: str, operator: str | None, as_json: bool) -> None:
    """Make one file of a BACKUP, which `upload` puts back.

    What was interrupted goes on where it broke off when the same command is given again.
    """
    from backup_pipelines.copies import archive

    systems.require_known(system)
    started, named = time.monotonic(), backup
    try:
        store = environment.store()
        entry = catalog.find(store, system, backup)
        named = entry.id
        with progress(f"{system}: downloading {entry.id}") as step:
            done = archive.download(store, entry, Path(to), report=sparse(step))
    except BackupError as error:
        outcome = "refused" if isinstance(error, Refused) else "failed"
        cli_audit.note(
            system, "download", outcome, operator=operator, backup=named, message=str(error)
        )
        raise
    seconds = round(time.monotonic() - started, 3)
    made = f"{count(done.objects, 'object')}, {size(done.bytes)}"
    if as_json:
        print_json(
            {
                "backup": entry.id,
                "system": system,
                "file": str(done.file.absolute()),
                "objects": done.objects,
                "bytes": done.bytes,
                "resumed_bytes": done.kept,
                "seconds": seconds,
            }
        )
    else:
        print(f"{entry.id}: {made} checked and written to {to}, {seconds:.1f} s")
    cli_audit.note(system, "download", "done", operator=operator, backup=entry.id, message=made)


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
