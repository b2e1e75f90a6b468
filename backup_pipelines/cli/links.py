"""The verb `link`: addresses by which others fetch the objects of a backup for a while."""

from functools import partial

import click

from backup_pipelines import catalog, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import by_option, json_option, store_named, store_option
from backup_pipelines.cli.output import (
    print_json,
    tell,
)
from backup_pipelines.cli.restore import reason_option
from backup_pipelines.copies import links
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.wording import clean, count, moment, size


@click.command()
@click.argument("system")
@click.argument("backup")
@click.option("--table", "tables", metavar="T", multiple=True, help="Only this; may be repeated.")
@click.option(
    "--expires", metavar="TIME", default="1h", help="How long they live: 30m, 1h; at most 7d."
)
@store_option
@reason_option
@by_option
@json_option
def link(
    system: str,
    backup: str,
    tables: tuple[str, ...],
    expires: str,
    which: StoreName,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Print links by which anybody can fetch the objects of a BACKUP for a while."""
    systems.require_known(system)
    named = backup
    note = partial(cli_audit.note, system, "link", operator=operator, reason=reason, which=which)
    try:
        who.require(system, "link", operator)
        lifetime = links.parse_lifetime(expires)
        store = store_named(system, which)
        entry = catalog.find(store, system, backup)
        named = entry.id
        made = links.make(store, entry, lifetime, tables)
    except BackupError as error:
        outcome = "refused" if isinstance(error, Refused) else "failed"
        note(outcome, backup=named, message=str(error))
        raise
    said = links.in_words(made, tables)
    # Before they are shown: nobody shall have one that the trail knows nothing of.
    note("done", backup=named, message=said)
    if as_json:
        print_json(made.document())
        return
    for one in made.links:
        about = "" if one.size_bytes is None else f", {size(one.size_bytes)}"
        print(f"# {clean(one.what)}{about}, {one.key}")
        print(one.url)
    tell(
        f"{count(len(made.links), 'link')} until {moment(made.until, seconds=True)}: {links.SECRET}"
    )
    if made.is_encrypted:
        tell(links.ENCRYPTED)
