"""How the columns of a file differ from those of its table, in the terms of a restore."""

from backup_pipelines.manifest import Table
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.restoring.drift import Drift, TableDrift


def drift_of_file(table: Table, live: LiveTable | None) -> TableDrift:
    """What an import writes, and what it leaves to the table, as the live table is now."""
    if live is None:
        text = f"{table.qualified} does not exist any more"
        return TableDrift((Drift("", "refused", text),), ())
    of_file = {column.name: column for column in table.columns}
    now = {column.name: column for column in live.columns if not column.generated}
    differences = [
        Drift(name, "refused", f"{table.qualified}.{name} has changed since the files were read")
        for name, column in of_file.items()
        if name not in now or now[name].type != column.type
    ]
    if missing := [name for name in now if name not in of_file]:
        text = (
            f"{table.qualified}: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not in the file: rows keep their values, new "
            "ones get the defaults"
        )
        differences.append(Drift("", "adapted", text))
    return TableDrift(tuple(differences), tuple(name for name in now if name in of_file))
