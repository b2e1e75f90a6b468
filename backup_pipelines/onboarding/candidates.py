"""Tables whose rows nobody may want back, told by their names and by what refers to them."""

from collections.abc import Iterable

from backup_pipelines.onboarding.names import stems_of, words_of
from backup_pipelines.onboarding.table_facts import Reference, TableFacts

_MIGRATIONS = {
    "alembic_version",
    "ar_internal_metadata",
    "databasechangelog",
    "databasechangeloglock",
    "efmigrationshistory",
    "flyway_schema_history",
    "goose_db_version",
    "knex_migrations_lock",
}


def exclusion_candidates(
    tables: Iterable[TableFacts], references: Iterable[Reference]
) -> dict[TableFacts, str]:
    """Tables whose rows people often leave out, with the reason, as far as nothing needs them."""
    reasons = {table: _looks_like(table.name) for table in sorted(tables)}
    found = {table: reason for table, reason in reasons.items() if reason}
    links = [(ref.table, ref.references) for ref in references if ref.table != ref.references]
    while True:
        # Without its rows, whatever refers to it could not be restored.
        names = {table.qualified for table in found}
        needed = {parent for child, parent in links if child not in names}
        kept = {table: why for table, why in found.items() if table.qualified not in needed}
        if len(kept) == len(found):
            return found
        found = kept


def _looks_like(name: str) -> str:
    words = stems_of(words_of(name))
    if not words:
        return ""
    last, known = words[-1], set(words)
    if last == "migration" or name.strip("_").lower() in _MIGRATIONS:
        return "looks like the history of a migration tool, which a restore would set back"
    if known & {"cache", "cached"}:
        return "looks like a cache, which fills itself again"
    if last == "session":
        return "looks like sessions, which end with a restore"
    if last in {"token", "nonce", "otp"} or words[-2:] == ("password", "reset"):
        return "looks like tokens, which a restore would bring back to life"
    if last == "job" or "queue" in known or words[-2:] == ("job", "batch"):
        return "looks like a job queue, whose old jobs a restore would run again"
    if known & {"tmp", "temp", "bak"}:
        return "looks like a temporary copy"
    return ""
