"""What restores and drills will need: nothing that a first backup waits for, so warnings only."""

from collections.abc import Iterator, Sequence

from backup_pipelines import encryption
from backup_pipelines.errors import Refused
from backup_pipelines.postgres.connection import Server, connected, describe
from backup_pipelines.postgres.guards import list_guards
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.preflighting.line import Line, not_checked, ok, warning
from backup_pipelines.storage import age
from backup_pipelines.system import System
from backup_pipelines.wording import count

# More names than this nobody reads.
_NAMED = 5

_TRIAL = "preflight"


def role(
    system: System, url: str, source: Server | None, tables: Sequence[LiveTable]
) -> Iterator[Line]:
    """Whether the role that restores write by owns the tables, in the same database."""
    named = system.restore_url_env or system.database_url_env
    what, doing = f"the database of {system.system}, for restores", f"preflight {system.system}"
    with connected(url, what=what, doing=doing) as connection:
        server = describe(connection)
        if source is None:
            yield not_checked("restores", "the database could not be looked at")
            return
        if server.is_standby:
            yield warning(
                "restores",
                f"{named} leads to a standby, which takes no writes",
                "Backups work; restores would be refused. Set restore_url_env in the YAML to a "
                "variable with the URL of the primary, as the role that owns the tables.",
            )
            return
        if server.database != source.database:
            yield warning(
                "restores",
                f"{named} leads to database {server.database}, backups come from {source.database}",
                f"Let {named} name the same database, as the role that owns the tables.",
            )
            return
        guards = list_guards(connection, tables)
        foreign = {guard.table_oid for guard in guards if guard.kind == "foreign owner"}
    others = sorted(table.qualified for table in tables if table.oid in foreign)
    if not others:
        yield ok("restores", f"role {server.role} owns all tables")
        return
    shown = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    yield warning(
        "restores",
        f"role {server.role} does not own {count(len(others), 'table')}: {shown}",
        "Backups work; restores would be refused. Set restore_url_env in the YAML to a variable "
        "with the URL of the role that owns the tables, or of a member of it.",
    )


def keys(system: System) -> Iterator[Line]:
    """Whether what is encrypted can be opened here."""
    recipients = encryption.recipients_of(system)
    if recipients is None:
        yield ok("encryption", "none: the YAML names no recipients")
        return
    check = recipients.key_check(_TRIAL)
    yield ok("encryption", f"to {count(len(recipients.keys), 'recipient')}")
    if not age.has_identity():
        yield warning(
            "identity",
            f"{age.BACKUP_AGE_IDENTITY} is not set: this machine cannot restore or drill what it "
            "backs up",
            "Set it where restores and drills run. Elsewhere leave it out.",
        )
        return
    try:
        opens = age.opens(check, _TRIAL)
    except Refused as error:
        yield warning("identity", str(error))
        return
    if opens:
        yield ok("identity", "the identity here opens what is encrypted to the recipients")
    else:
        yield warning(
            "identity",
            f"{age.BACKUP_AGE_IDENTITY} opens nothing that is encrypted to the recipients",
            "Name the public key of that identity under encryption, or set another identity.",
        )
