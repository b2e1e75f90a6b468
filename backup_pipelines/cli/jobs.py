"""The verbs that run a Dagster job in the instance, so that the UI has their run.

Dagster is imported in one place, after everything that can be refused without it.
"""

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from backup_pipelines import catalog, encryption, environment, layout, systems
from backup_pipelines.cli import who
from backup_pipelines.cli.output import (
    content,
    print_json,
    print_table,
    progress,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.source_load import Allowance
from backup_pipelines.wording import clean, count, size

if TYPE_CHECKING:
    from backup_pipelines.drill_record import DrillResult
    from backup_pipelines.manifest import Manifest
    from backup_pipelines.storage.store import Store
    from backup_pipelines.system import System

# How launch.run_job tells that Ctrl-C ended the run, which Dagster does not raise again.
_INTERRUPTED = "the run was interrupted"

_Command = TypeVar("_Command", bound=Callable[..., Any])

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
store_option = click.option(
    "--store",
    "which",
    type=click.Choice(get_args(StoreName)),
    default="first",
    help="Read from the second store.",
)
by_option = click.option("--as", "operator", metavar="WHO", help="Who does it, if not the OS user.")


def with_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """A decorator with several options, in the order of the help."""

    def decorated(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def variable(option: str, name: str) -> str:
    """The name of an environment variable; Refused, without showing it, when it is none."""
    if not _VARIABLE.fullmatch(name):
        raise Refused(
            f"{option} takes the name of an environment variable such as TARGET_DATABASE_URL, "
            "never a URL, which others could read"
        )
    return name


@click.command()
@click.argument("system")
@click.option("--module", "modules", metavar="M", multiple=True, help="Only this; may be repeated.")
@click.option("--label", default="", help="A name for people, shown in the catalog.")
@click.option("--reason", default="", help="Why it is taken; kept in the manifest.")
@click.option(
    "--format",
    "written_as",
    type=click.Choice(get_args(layout.Format)),
    help="How rows are written, if not as the YAML says.",
)
@click.option(
    "--full-copy", is_flag=True, help="Write every part anew, also what earlier backups hold."
)
@click.option(
    "--max-connections",
    type=int,
    metavar="N",
    help="How many sessions it may have on the database at once, 2 or more.",
)
@click.option(
    "--throttle",
    type=float,
    metavar="MB",
    help="How many MB of rows it may read a second; 0 is as fast as it goes.",
)
@by_option
@json_option
def backup(
    system: str,
    modules: tuple[str, ...],
    label: str,
    reason: str,
    written_as: layout.Format | None,
    full_copy: bool,
    max_connections: int | None,
    throttle: float | None,
    operator: str | None,
    as_json: bool,
) -> None:
    """Back up SYSTEM, or some of its modules, in one snapshot."""
    from backup_pipelines.modules import select_modules

    chosen = loadable(system)
    Allowance.of(max_connections, throttle or 0)
    selection = select_modules(chosen, modules) if modules else frozenset()
    store = environment.store()

    def assets() -> Sequence[Any]:
        from backup_pipelines.dagster_layer import partitions

        known = partitions.entry_keys(chosen)
        return [key for key, entry in known.items() if entry in selection]

    config: dict[str, Any] = {"label": label, "reason": reason}
    if written_as:
        config["format"] = written_as
    if full_copy:
        config["full_copy"] = True
    if max_connections is not None:
        config["max_connections"] = max_connections
    if throttle is not None:
        config["throttle"] = throttle
    ran = run_job(system, "backup", config, "backing up", operator, assets)
    entry = catalog.load(store, system, ran.backup_id)
    for warning in entry.warnings:
        tell(f"warning: {clean(warning)}")
    if as_json:
        print_json({**catalog.row(entry), "run_id": ran.run_id})
        return
    new = f", {size(entry.added_bytes)} of it new" if entry.reuse else ""
    print(f"{entry.id}: {content(entry)}{new}, {entry.seconds:.1f} s")


@click.command()
@click.argument("system")
@click.argument("backup")
@store_option
@by_option
@json_option
def verify(system: str, backup: str, which: StoreName, operator: str | None, as_json: bool) -> None:
    """Read every object of a BACKUP back and compare it with the manifest."""
    loadable(system)
    entry = catalog.find(store_named(system, which), system, backup)
    config = {"backup": entry.id, "store": which}
    ran = run_job(system, "verify", config, f"verifying {entry.id}", operator)
    # The job fails unless it has read exactly these.
    objects = (
        len(entry.ddl) + len(entry.documents) + sum(len(table.parts) for table in entry.tables)
    )
    if as_json:
        print_json(
            {
                "backup": entry.id,
                "system": system,
                "verified": True,
                "opened": ran.result["opened"],
                "objects": objects,
                "bytes": entry.size_bytes,
                "seconds": ran.seconds,
                "run_id": ran.run_id,
            }
        )
        return
    read = f"{count(objects, 'object')}, {size(entry.size_bytes)}"
    only = "" if ran.result["opened"] else f"; {encryption.BYTES_ONLY}"
    print(f"{entry.id}: {read} read back as written, {ran.seconds:.1f} s{only}")


@click.command()
@click.argument("system")
@click.argument("backup", default=catalog.LATEST)
@store_option
@by_option
@json_option
def drill(system: str, backup: str, which: StoreName, operator: str | None, as_json: bool) -> None:
    """Prove a BACKUP by restoring it into a scratch database and comparing everything."""
    loadable(system)
    store = store_named(system, which)
    entry = catalog.find(store, system, backup)
    config = {"backup": entry.id, "store": which}
    ran = run_job(system, "drill", config, f"drilling {entry.id}", operator)
    result = _drill_record(store, entry)
    if as_json:
        shown = result.model_dump(mode="json")
        print_json({"backup": entry.id, "verified": True, **shown, "run_id": ran.run_id})
        return
    for skipped in result.skipped:
        tell(f"not applied in the drill: {clean(skipped)}")
    print_table(
        ("module", "seconds"),
        [(module, f"{seconds:.2f}") for module, seconds in result.seconds_by_module.items()],
        numbers=("seconds",),
    )
    proved = f"{count(result.tables, 'table')} and {count(result.rows, 'row')}"
    opened = "; the identity here opens it" if result.encrypted else ""
    print(f"{entry.id}: {proved} are equal after a restore, {result.seconds:.1f} s{opened}")


@dataclass(frozen=True)
class Ran:
    """A run that succeeded."""

    run_id: str
    backup_id: str
    seconds: float
    result: Mapping[str, Any]


def run_job(
    system: str,
    verb: str,
    config: Mapping[str, object],
    title: str,
    operator: str | None,
    assets: Callable[[], Sequence[Any]] = tuple,
) -> Ran:
    """Run the system's job of that name in the Dagster instance; raises what it failed with."""
    # That module needs this one to be loaded.
    from backup_pipelines.cli import audit as cli_audit

    started, job = time.monotonic(), f"{system}_{verb}"
    with cli_audit.refusals(system, verb, operator=operator):
        identity = who.proved(systems.load_system(system), operator)
    # Whatever a library prints meanwhile is no result.
    with (
        progress(f"{system}: {title}") as step,
        redirect_stdout(sys.stderr),
        environment.dagster_environment(),
    ):
        from backup_pipelines.dagster_layer import launch, operators
        from backup_pipelines.dagster_layer.assets import BACKUP_TAG_PREFIX

        outcome = launch.run_job(
            job,
            run_config=launch.op_config(job, **config),
            tags={operators.OPERATOR_TAG: operator or who.os_user()},
            identity=identity,
            asset_selection=assets(),
            on_event=step,
        )
    seconds = round(time.monotonic() - started, 3)
    if outcome.message == _INTERRUPTED:
        raise KeyboardInterrupt
    if not outcome.success:
        kind = Refused if outcome.exit_code == Refused.exit_code else Failed
        raise kind(f"{outcome.message}\n(run {outcome.run_id} of {job})")
    return Ran(
        outcome.run_id, outcome.tags.get(BACKUP_TAG_PREFIX + system, ""), seconds, outcome.result
    )


def store_named(system: str, which: StoreName) -> "Store":
    """One of a system's stores; raises Refused where there is no second one."""
    if which == "first":
        return environment.store()
    return environment.second_store(systems.load_system(system))


def loadable(name: str) -> "System":
    """The system, after a look at all files: Dagster loads them all and would fail with them."""
    systems.require_known(name)
    found = systems.load_systems().get(name)
    return found or systems.load_system(name)


def _drill_record(store: "Store", entry: "Manifest") -> "DrillResult":
    """The record that the drill has just left in the store."""
    from backup_pipelines import drill_record

    newest = drill_record.newest_of(store, entry.system, entry.id)
    if newest is None:
        prefix = f"{layout.drills_prefix(entry.system)}{entry.id}/"
        raise Failed(f"the drill of {entry.id} left no record under {store.uri(prefix)}")
    return newest
