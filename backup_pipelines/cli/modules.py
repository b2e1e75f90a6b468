"""The verb `modules`: each module with its live records and its last backup, without Dagster."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backup_pipelines import environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option
from backup_pipelines.cli.output import print_json, print_table, progress, tell
from backup_pipelines.errors import BackupError
from backup_pipelines.wording import age, clean, count, size

if TYPE_CHECKING:
    from backup_pipelines.module_cards import Card
    from backup_pipelines.postgres.row_counts import RowCount
    from backup_pipelines.system import System

_FAILED = 1


@click.command()
@click.argument("system")
@by_option
@json_option
def modules(system: str, operator: str | None, as_json: bool) -> int:
    """Show each module of SYSTEM: its live records and its last backup.

    Exit code 1 when the live records cannot be counted; the rest is shown all the same.
    """
    from backup_pipelines import module_cards

    cli_audit.allow(system, "modules", operator)
    loaded, store = systems.load_system(system), environment.store()
    with progress(f"{system}: counting live records"):
        live, problem = _live_rows(loaded)
        found = module_cards.cards(loaded, module_cards.last_backups(store, loaded), live)
    if as_json:
        shown = [module_cards.document(card) for card in found]
        print_json({"system": system, "modules": shown, "problem": problem or None})
    else:
        _print(found)
    if problem:
        tell(f"live records are not counted: {clean(problem)}")
    message = count(len(found), "module")
    outcome = "failed" if problem else "done"
    cli_audit.note(system, "modules", outcome, operator=operator, message=message)
    return _FAILED if problem else 0


def _live_rows(system: "System") -> "tuple[Mapping[str, RowCount] | None, str]":
    """The rows of each table, or why they are not known."""
    from backup_pipelines.health.live_look import look_and_count

    try:
        with environment.source_url(system) as url:
            looked = look_and_count(system, url)
    except BackupError as error:
        return None, str(error)
    return looked.rows, "" if looked.rows is not None else looked.finding.message


def _print(found: "Sequence[Card]") -> None:
    from backup_pipelines import module_cards

    now = datetime.now(UTC)
    print_table(
        ("module", "tables", "live rows", "last backup", "rows", "size", "age"),
        [(card.module, len(card.tables), _live(card), *_backup(card, now)) for card in found],
        numbers=("tables", "live rows", "rows", "size"),
        whole=("last backup",),
    )
    if any(module_cards.certainty(card.live_rows) == module_cards.ESTIMATED for card in found):
        print("about: PostgreSQL's estimate, since counting would take long")


def _live(card: "Card") -> str:
    live = card.live_rows
    if live is None:
        return ""
    if live.rows is None:
        return "unknown"
    return f"{live.rows:,}" if live.is_exact else f"about {live.rows:,}"


def _backup(card: "Card", now: datetime) -> tuple[str, str, str, str]:
    if card.backup is None:
        return "none yet", "", "", ""
    one = card.backup
    return one.id, f"{one.rows:,}", size(one.size_bytes), age(one.created_at, now)
