"""The verbs around a restore: plan, which only reads, and restore and undo, which run their job."""

import shlex
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import masked as cli_masked
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import (
    by_option,
    json_option,
    loadable,
    run_job,
    store_named,
    store_option,
    variable,
    with_options,
)
from backup_pipelines.cli.output import (
    print_json,
    progress,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import Refused
from backup_pipelines.progress import sparse
from backup_pipelines.restoring.selection import Selection, select

if TYPE_CHECKING:
    from backup_pipelines.manifest import Manifest
    from backup_pipelines.restoring.restore_report import Document
    from backup_pipelines.system import System

_PROGRAM = "backup-pipelines"
_CONFIRM = "CONFIRM"

_what = with_options(
    click.option("--module", "modules", metavar="M", multiple=True, help="Only this module."),
    click.option("--table", "tables", metavar="T", multiple=True, help="Only this table."),
    click.option("--key", metavar="PK", help="Only the record with this primary key."),
    click.option("--with-children", is_flag=True, help="And what referenced that record."),
    click.option(
        "--mode",
        type=click.Choice(["replace", "upsert"]),
        default="replace",
        help="Make equal to the backup, or keep rows created since.",
    ),
    click.option("--into", metavar="VAR", help="Variable with the URL of another database."),
    store_option,
)

confirm_option = click.option("--confirm", metavar=_CONFIRM, help=f"The word {_CONFIRM}.")
reason_option = click.option("--reason", default="", help="Why; kept with the run.")


@dataclass(frozen=True)
class _Asked:
    """What of a backup is to be restored, how, and where."""

    modules: tuple[str, ...]
    tables: tuple[str, ...]
    key: str | None
    with_children: bool
    mode: Literal["replace", "upsert"]
    into: str | None
    which: StoreName

    @property
    def selection(self) -> Selection:
        return Selection(self.modules, self.tables, self.key, self.with_children)

    @property
    def is_whole(self) -> bool:
        """Whether it is all that an empty database can get."""
        return self.selection.is_everything and self.key is None and self.mode == "replace"

    def config(self) -> Mapping[str, object]:
        """The fields of the restore job that ask for this."""
        return {
            "mode": self.mode,
            "modules": list(self.modules),
            "tables": list(self.tables),
            "key": self.key or "",
            "with_children": self.with_children,
            "into_env": self.into or "",
            "store": self.which,
        }

    def arguments(self, more_tables: tuple[str, ...] = ()) -> list[str]:
        """The options that ask for this."""
        made = [word for module in self.modules for word in ("--module", module)]
        made += [word for table in (*self.tables, *more_tables) for word in ("--table", table)]
        made += ["--key", self.key] if self.key is not None else []
        made += ["--with-children"] if self.with_children else []
        made += ["--mode", self.mode] if self.mode != "replace" else []
        made += ["--store", self.which] if self.which != "first" else []
        return made + (["--into", self.into] if self.into else [])


@click.command()
@click.argument("system")
@click.argument("backup")
@_what
@json_option
def plan(system: str, backup: str, as_json: bool, **what: Any) -> None:
    """Show what a restore of BACKUP would do, row by row; changes nothing."""
    from backup_pipelines.cli import plan as cli_plan
    from backup_pipelines.restoring import restore_report

    asked = _Asked(**what)
    systems.require_known(system)
    loaded = systems.load_system(system)
    with cli_audit.refusals(system, "plan", backup=backup, which=asked.which):
        who.require(system, "plan", None)
        entry = catalog.find(store_named(system, asked.which), system, backup)
        select(entry, asked.selection)
        title = f"{system}: planning {entry.id}"
        with _target(loaded, asked.into) as url, progress(title) as step:
            document = _planned(entry, url, asked, step)
    cli_audit.note(
        system,
        "plan",
        "done",
        backup=entry.id,
        message=restore_report.in_words(document),
        plan_hash=document["hash"] or "",
        which=asked.which,
    )
    if as_json:
        print_json(document)
        return
    cli_plan.print_plan(document)
    following = _following(system, entry, asked, document)
    if following:
        print(f"{following[0]}: {_PROGRAM} {shlex.join(following[1:])}")


@click.command()
@click.argument("system")
@click.argument("backup")
@_what
@confirm_option
@click.option("--masked", is_flag=True, help="Mask values as the YAML says; needs --into.")
@click.option("--plan", "plan_hash", metavar="HASH", default="", help="Refuse anything else.")
@click.option("--skip-safety", is_flag=True, help="Take no safety backup; needs --reason.")
@click.option("--refresh-views", is_flag=True, help="Refresh every materialized view too.")
@reason_option
@by_option
@json_option
def restore(
    system: str,
    backup: str,
    confirm: str | None,
    masked: bool,
    plan_hash: str,
    skip_safety: bool,
    refresh_views: bool,
    reason: str,
    operator: str | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Restore what differs from BACKUP, all or nothing, proved, after a safety backup of it.

    With --into into another database; an empty one gets the whole backup, and may get it masked.
    """
    from backup_pipelines.cli import plan as cli_plan

    asked = _Asked(**what)
    with cli_audit.refusals(
        system, "restore", operator=operator, backup=backup, reason=reason, which=asked.which
    ):
        if masked and not asked.into:
            cli_masked.refuse_live(system)
        _refuse_unsafe(system, asked, confirm, reason, skip_safety=skip_safety)
        loadable(system)
        entry = catalog.find(store_named(system, asked.which), system, backup)
        select(entry, asked.selection)
        is_empty = _is_empty_target(asked, skip_safety=skip_safety, masked=masked)
    title = f"restoring {entry.id}"
    if asked.into and is_empty:
        about = {"backup": entry.id, "into_env": asked.into, "store": asked.which}
        config: Mapping[str, object] = {**about, "masked": masked, "confirm": confirm}
        ran = run_job(system, "restore_into", config, title, operator)
        show = cli_masked.print_copy if masked else cli_plan.print_whole
        show(entry, asked.into, ran, as_json)
        return
    config = {
        **asked.config(),
        "backup": entry.id,
        "plan": plan_hash,
        "skip_safety": skip_safety,
        "refresh_views": refresh_views,
        "reason": reason,
        "confirm": confirm,
    }
    cli_plan.print_done(system, run_job(system, "restore", config, title, operator), as_json)


@click.command()
@click.argument("system")
@confirm_option
@store_option
@reason_option
@by_option
@json_option
def undo(
    system: str,
    confirm: str | None,
    which: StoreName,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Take the last restore of SYSTEM back; undoing that undoes the undo."""
    from backup_pipelines.cli import plan as cli_plan

    with cli_audit.refusals(system, "undo", operator=operator, reason=reason, which=which):
        require_confirm(confirm, f"rows of the live database of {system} will be written")
        loadable(system)
    config = {"reason": reason, "confirm": confirm, "store": which}
    ran = run_job(system, "undo", config, "undoing the last restore", operator)
    cli_plan.print_done(system, ran, as_json)


def _refuse_unsafe(
    system: str, asked: _Asked, confirm: str | None, reason: str, *, skip_safety: bool
) -> None:
    where = f"the database of {asked.into}" if asked.into else f"the live database of {system}"
    if asked.into:
        environment.url_of(variable("--into", asked.into))
    require_confirm(confirm, f"rows of {where} will be written")
    refuse_skipping_without_reason(reason, skip_safety=skip_safety)


def _is_empty_target(asked: _Asked, *, skip_safety: bool, masked: bool) -> bool:
    """Whether another database gets the whole backup; Refused when it can get nothing safely."""
    if not asked.into:
        return False
    if _is_empty(environment.url_of(asked.into), asked):
        return True
    if masked:
        cli_masked.refuse_filled(asked.into)
    if not skip_safety:
        raise Refused(
            f"the target database is not empty: the database of {asked.into} would get the "
            "differences, and no safety backup of it can be kept among those of this system; add "
            "--skip-safety --reason TEXT if you can do without, or name an empty database"
        )
    return False


def require_confirm(confirm: str | None, what: str) -> None:
    """Refuse without the typed word; `what` says what it is about."""
    if confirm != _CONFIRM:
        raise Refused(f"{what}: add --confirm {_CONFIRM}")


def refuse_skipping_without_reason(reason: str, *, skip_safety: bool) -> None:
    """Refuse to take no safety backup for no reason."""
    if skip_safety and not reason.strip():
        raise Refused("--skip-safety needs --reason TEXT: there will be no undo, so say why")


@contextmanager
def _target(system: "System", into: str | None) -> Generator[str]:
    if into is None:
        with environment.restore_url(system) as url:
            yield url
        return
    yield environment.url_of(variable("--into", into))


def _planned(entry: "Manifest", url: str, asked: _Asked, step: Callable[[str], None]) -> "Document":
    from backup_pipelines.plan import plan_restore
    from backup_pipelines.restoring import restore_report

    started = time.monotonic()
    if asked.into and _is_empty(url, asked):
        return restore_report.whole_document(entry, asked.into, 0.0)
    found = plan_restore(
        store_named(entry.system, asked.which),
        entry,
        url,
        selection=asked.selection,
        mode=asked.mode,
        report=sparse(step),
    )
    return restore_report.plan_document(found, time.monotonic() - started, asked.into)


def _is_empty(url: str, asked: _Asked) -> bool:
    """Whether another database has no tables; raises Refused when it cannot get what is asked."""
    from backup_pipelines.postgres.connection import connected
    from backup_pipelines.postgres.introspect import list_tables

    with connected(url, what=f"the database of {asked.into}", doing="plan") as connection:
        if list_tables(connection):
            return False
    if not asked.is_whole:
        raise Refused(
            f"the database of {asked.into} is empty: it gets the whole backup or nothing, so leave "
            "--module, --table, --key and --mode out"
        )
    return True


def _following(
    system: str, entry: "Manifest", asked: _Asked, document: "Document"
) -> tuple[str, ...]:
    """What to type next, after a word about it."""
    from backup_pipelines.restoring import restore_report

    base = (system, entry.id)
    if document["refused"]:
        closure = tuple(document["closure"])
        # A record is of one table: what it hangs on has to come back first, as the plan says.
        if not closure or asked.key is not None:
            return ()
        return ("With those", "plan", *base, *asked.arguments(closure))
    if not restore_report.has_changes(document):
        return ()
    exactly = ("--plan", document["hash"]) if document["hash"] else ()
    skip = ("--skip-safety", "--reason", "TEXT") if asked.into and exactly else ()
    return ("Do it", "restore", *base, *asked.arguments(), *exactly, *skip, "--confirm", _CONFIRM)
