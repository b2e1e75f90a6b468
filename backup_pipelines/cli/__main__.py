"""The command line: a thin face over the same jobs that the UI runs.

Reading (`list`, `show`) needs the store only. What works runs the Dagster job of its name. Imports
that cost time are made where they are needed: a read must answer in well under a second.
"""

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import archive as cli_archive
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import catalog as cli_catalog
from backup_pipelines.cli import completion as cli_completion
from backup_pipelines.cli import csv as cli_csv
from backup_pipelines.cli import csv_import as cli_csv_import
from backup_pipelines.cli import encryption as cli_encryption
from backup_pipelines.cli import housekeeping as cli_housekeeping
from backup_pipelines.cli import jobs as cli_jobs
from backup_pipelines.cli import links as cli_links
from backup_pipelines.cli import modules as cli_modules
from backup_pipelines.cli import preflight as cli_preflight
from backup_pipelines.cli import query as cli_query
from backup_pipelines.cli import restore as cli_restore
from backup_pipelines.cli import serve as cli_serve
from backup_pipelines.cli import status as cli_status
from backup_pipelines.cli import timeline as cli_timeline
from backup_pipelines.cli import users as cli_users
from backup_pipelines.cli.jobs import json_option, store_named, store_option, variable
from backup_pipelines.cli.output import (
    backup_document,
    print_backup,
    print_backups,
    print_json,
    print_table,
    progress,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.wording import clean, count

PROGRAM = "backup-pipelines"
INTERRUPTED = 130

_DEBUG = "--debug"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = _DEBUG in arguments
    try:
        with _polite():
            result = cli.main(
                [a for a in arguments if a != _DEBUG], prog_name=PROGRAM, standalone_mode=False
            )
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        # Its own way of showing itself takes three lines.
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        said = " ".join(error.format_message().split()).rstrip(".")
        tell(f"{said}; see {path} --help")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted; what was unfinished does not count, and the next run clears it away")
        return INTERRUPTED
    except BackupError as error:
        if debug:
            traceback.print_exc()
        tell(str(error))
        return error.exit_code
    except Exception as error:
        if debug:
            traceback.print_exc()
        tell(
            f"unexpected {type(error).__name__}: {clean(error)}; "
            f"run again with {_DEBUG} for the traceback"
        )
        return 1


@contextmanager
def _polite() -> Generator[None, None, None]:
    """End on SIGTERM and SIGHUP as on Ctrl-C, taking back what was begun; survive odd terminals."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    signals = [signal.SIGTERM, signal.SIGHUP]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    # nohup has the second ignored, and means it.
    changed = [s for s in signals if signal.getsignal(s) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(version("backup_pipelines"))
    except PackageNotFoundError:
        print("unknown: run from a folder, not installed")
    context.exit()


@click.group(no_args_is_help=False, epilog="Any command takes --debug: tracebacks of errors.")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version)
def cli() -> None:
    """Back up PostgreSQL databases and get the data back, proved equal.

    BACKUP is the id of a backup, or latest. Exit codes: 0 done, 1 failed, 2 refused or misused.
    """


@cli.command()
@click.option("--print-url", metavar="SYSTEM", help="Print the application's URL, nothing else.")
@click.option("--stop", is_flag=True, help="Stop the servers; their data stay.")
@json_option
def demo(print_url: str | None, stop: bool, as_json: bool) -> None:
    """Start the embedded PostgreSQL with sample data, and leave it up."""
    from backup_pipelines.demo.databases import Demo
    from backup_pipelines.demo.seed import SYSTEMS

    embedded = Demo(environment.home())
    if stop:
        if print_url:
            raise Refused("give either --print-url or --stop: a stopped demo has no URL")
        was_up = embedded.server.is_running()
        embedded.server.stop()
        if as_json:
            print_json({"running": False, "was_running": was_up, "urls": {}})
            return
        print("the demo is stopped" if was_up else "the demo was not up")
        return
    if print_url and not embedded.has(print_url):
        raise Refused(f"the demo has no system {print_url}; it has {', '.join(SYSTEMS)}")
    with progress("starting the embedded PostgreSQL") as step, embedded.server.running():
        for system in SYSTEMS:
            step(f"sample data of {system}")
            embedded.ensure_system(system)
        # Last: a demo that could not be made must not stay up.
        embedded.server.keep()
    if as_json:
        named = [print_url] if print_url else SYSTEMS
        print_json({"running": True, "urls": {one: embedded.owner_url(one) for one in named}})
        return
    if print_url:
        print(embedded.owner_url(print_url))
        return
    print("The demo is up. Connect as the application does:")
    for system in SYSTEMS:
        print(f"  psql '{embedded.owner_url(system)}'")
    print(f"Back it up: {PROGRAM} backup {SYSTEMS[0]}")
    print(f"Stop it:    {PROGRAM} demo --stop")


@cli.command()
@click.argument("system")
@click.option("--database-url-env", metavar="VAR", required=True, help="Variable with its URL.")
@json_option
def init(system: str, database_url_env: str, as_json: bool) -> None:
    """Write defs/SYSTEM/defs.yaml by reading the database."""
    from backup_pipelines.onboarding.init_system import init_system
    from backup_pipelines.onboarding.rendering import owner_variable

    url = environment.url_of(variable("--database-url-env", database_url_env))
    with progress(f"reading the database of {system}"):
        report = init_system(system, database_url_env, url, environment.defs_folder())
    if as_json:
        print_json({**report.document(), "restore_url_env": owner_variable(database_url_env)})
        return
    print(f"written: {systems.shown(report.path)}")
    print_table(
        ("module", "tables", ""),
        [(module, len(names), ", ".join(names)) for module, names in report.modules.items()],
        numbers=("tables",),
    )
    for heading, found in (
        ("not backed up", report.left_out),
        ("backed up; exclude it if you can do without", report.excluded),
    ):
        for table in found:
            print(f"{heading}: {clean(table.name)} ({clean(table.reason)})")
    for warning in report.warnings:
        said, *statements = warning.splitlines()
        tell(f"warning: {clean(said)}")
        for statement in statements:
            tell(f"  {clean(statement)}")
    for note in report.notes:
        tell(f"note: {clean(note)}")
    print(f"For backups put the URL of a role that only reads into {database_url_env},")
    print(f"for restores that of the tables' owner into {owner_variable(database_url_env)}.")
    print(f"Read it, change what you like, then: {PROGRAM} preflight {system}")


@cli.command("list")
@click.argument("system")
@store_option
@json_option
def list_(system: str, which: StoreName, as_json: bool) -> None:
    """List the backups of SYSTEM, newest first."""
    systems.require_known(system)
    found = catalog.listing(store_named(system, which), system)
    for problem in found.unreadable:
        print(f"not listed: {problem}", file=sys.stderr)
    if as_json:
        print_json([catalog.row(entry, found.states) for entry in found.backups])
    elif found.backups:
        print_backups(found.backups, found.states)
    elif which == "second":
        print(f"the second store of {system} has no backups yet: {PROGRAM} copy {system}")
    else:
        # Whoever forgot the variable must not take the demo's folder for the loss of everything.
        store = environment.store_url()
        is_set = bool(os.environ.get(environment.BACKUP_STORE_URL))
        where = store if is_set else f"{store} ({environment.BACKUP_STORE_URL} is not set)"
        print(f"{system} has no backups in {where}; take one: {PROGRAM} backup {system}")
    cli_audit.note(system, "list", "done", message=count(len(found.backups), "backup"), which=which)


@cli.command()
@click.argument("system")
@click.argument("backup")
@store_option
@json_option
def show(system: str, backup: str, which: StoreName, as_json: bool) -> None:
    """Show what a BACKUP of SYSTEM holds."""
    systems.require_known(system)
    store = store_named(system, which)
    entry = catalog.find(store, system, backup)
    known = catalog.states(store, system)
    if as_json:
        print_json(backup_document(entry, known))
    else:
        print_backup(entry, known)


for command in (
    cli_preflight.preflight,
    cli_jobs.backup,
    cli_jobs.verify,
    cli_jobs.drill,
    cli_restore.plan,
    cli_restore.restore,
    cli_restore.undo,
    cli_housekeeping.prune,
    cli_housekeeping.delete,
    cli_housekeeping.pin,
    cli_housekeeping.unpin,
    cli_housekeeping.reconcile,
    cli_housekeeping.acknowledge,
    cli_catalog.catalog_group,
    cli_catalog.copy,
    cli_encryption.reencrypt,
    cli_archive.download,
    cli_archive.upload,
    cli_csv.csv_group,
    cli_links.link,
    cli_modules.modules,
    cli_query.query,
    cli_timeline.history,
    cli_timeline.diff,
    cli_audit.audit_,
    cli_status.status,
    cli_serve.serve,
    cli_users.users_group,
    cli_completion.completion,
):
    cli.add_command(command)
for about_files in (cli_csv_import.plan, cli_csv_import.import_):
    cli_csv.csv_group.add_command(about_files)
cli_completion.attach(cli)

if __name__ == "__main__":
    sys.exit(main())
