"""All metadata that Dagster shows, and the one way an error of the core becomes a failed step.

Numbers are plain int and float, which the UI plots over time.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines import catalog, layout
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.manifest import Column, DdlSection, Manifest, Table

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store

ROW_COUNT = "dagster/row_count"
COLUMN_SCHEMA = "dagster/column_schema"
URI = "dagster/uri"
EXIT_CODE = "exit_code"
RESULT = "result"
"""Key of a JSON document in an op's output metadata: what the command line prints of the run."""

Value = dg.MetadataValue[Any] | str | int | float
Metadata = Mapping[str, Value]

# What people look for in the catalog comes first; the rest follows as it comes.
_FIRST = (
    "status",
    "backup_type",
    "module",
    "label",
    "created_at",
    "created_by",
    "tables_count",
    "records_count",
    "size_bytes",
    "manifest",
    "warnings",
    "excluded",
    "snapshot_at",
    "seconds",
    "pinned",
    "path",
)

# The manifest in the catalog is for reading in a browser; the whole one is in the store.
_MANIFEST_LINES = 500


class Shown(Refused):
    """A refusal that has more to show of itself in the run than its message."""

    def __init__(self, message: str, shown: Metadata) -> None:
        """`shown` is the metadata of the failed step."""
        super().__init__(message)
        self.shown = shown


@contextmanager
def as_failure() -> Generator[None, None, None]:
    """Turn an error of the core into a failed step that is not tried again."""
    try:
        yield
    except BackupError as error:
        # A second attempt would do all over again, or be refused for the same reason.
        shown = error.shown if isinstance(error, Shown) else {}
        raise dg.Failure(
            description=str(error),
            metadata={**shown, EXIT_CODE: error.exit_code},
            allow_retries=False,
        ) from error


def leave_result(
    context: dg.OpExecutionContext, document: Mapping[str, Any], shown: Metadata
) -> None:
    """Show it of the run, with the document that the command line prints."""
    context.add_output_metadata({**shown, RESULT: dg.MetadataValue.json(dict(document))})


def of_tables(tables: Sequence[Table], backup_id: str, system: str, store: "Store") -> Metadata:
    """What an entry's asset shows: of its one table, or the sums and a list of several."""
    rows = sum(table.rows for table in tables)
    seconds = sum(table.seconds for table in tables)
    shown: dict[str, Value] = {
        ROW_COUNT: rows,
        "backup": backup_id,
        "size_bytes": sum(table.size_bytes for table in tables),
        "parts": sum(len(table.parts) for table in tables),
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds else 0.0,
    }
    if len(tables) == 1:
        table = tables[0]
        shown["digest"] = table.digest
        shown[COLUMN_SCHEMA] = dg.MetadataValue.table_schema(column_schema(table))
        shown[URI] = store.uri(_folder(system, backup_id, table))
    else:
        shown["tables_count"] = sum(1 for table in tables if table.partition_of is None)
        shown["tables"] = _table_list(tables)
        shown[URI] = store.uri(layout.backup_prefix(system, backup_id))
    return shown


def of_ddl(sections: Sequence[DdlSection], backup_id: str, system: str, store: "Store") -> Metadata:
    """What the schema's asset shows: objects and bytes of the DDL."""
    return {
        "backup": backup_id,
        "objects": sum(len(section.objects) for section in sections),
        "size_bytes": sum(section.size_bytes for section in sections),
        "sections": ", ".join(section.section for section in sections),
        URI: store.uri(layout.backup_prefix(system, backup_id) + "schema/"),
    }


def of_backup(
    entry: Manifest, store: "Store", known: catalog.States = catalog.NOTHING_KNOWN
) -> Metadata:
    """The catalog row of a backup, with its manifest as a table and every digest."""
    row = dict(catalog.row(entry, known))
    row["backup_type"] = row.pop("type")
    shown: dict[str, Value] = {
        name: value if isinstance(value, (str, int, float)) else str(value or "")
        for name, value in row.items()
    }
    shown["pinned"] = dg.MetadataValue.bool(bool(row["pinned"]))
    shown["created_at"] = dg.MetadataValue.timestamp(entry.created_at)
    shown["snapshot_at"] = dg.MetadataValue.timestamp(entry.snapshot_at)
    shown["path"] = store.uri(layout.backup_prefix(entry.system, entry.id))
    shown["manifest"] = dg.MetadataValue.md(manifest_table(entry))
    if entry.warnings:
        shown["warnings"] = "\n".join(entry.warnings)
    if entry.excluded:
        shown["excluded"] = ", ".join(f"{left.name} ({left.reason})" for left in entry.excluded)
    shown["digests"] = dg.MetadataValue.json({t.qualified: t.digest for t in entry.tables})
    return {name: shown[name] for name in sorted(shown, key=lambda n: _place(n, shown[n]))}


def manifest_table(entry: Manifest) -> str:
    """What is in a backup, and its tables, as markdown."""
    major = entry.server_version // 10000
    lines = [
        f"{entry.tables_count} tables, {entry.records_count:,} rows and {entry.size_bytes:,} bytes "
        f"of {entry.system} on PostgreSQL {major}, as they were at "
        f"{entry.snapshot_at:%Y-%m-%d %H:%M:%S} UTC.",
        "",
        "| table | module | rows | bytes | parts | digest |",
        "|---|---|--:|--:|--:|---|",
    ]
    for table in entry.tables[:_MANIFEST_LINES]:
        name = table.qualified.replace("|", "\\|")
        lines.append(
            f"| {name} | {table.module} | {table.rows:,} | {table.size_bytes:,} "
            f"| {len(table.parts)} | `{table.digest}` |"
        )
    left = len(entry.tables) - _MANIFEST_LINES
    return "\n".join(lines) + (f"\n\n{left} more are in the manifest." if left > 0 else "")


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table as Dagster's column view shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=_kept_as(column),
                constraints=dg.TableColumnConstraints(
                    nullable=not column.not_null,
                    other=["primary key"] if column.name in table.primary_key else [],
                ),
            )
            for column in table.columns
        ]
    )


def _kept_as(column: Column) -> str:
    """What the backup does with a column that it does not simply copy."""
    if column.generated:
        return "generated by the database, kept for comparison"
    return "kept in its exact text form" if column.encoding == "text" else ""


def _place(name: str, value: Value) -> tuple[bool, int]:
    """Where a field of the catalog row is shown; what is empty comes last."""
    later = name not in _FIRST or value == ""
    return later, 0 if later else _FIRST.index(name)


def _folder(system: str, backup_id: str, table: Table) -> str:
    first = layout.part_key(system, backup_id, table.schema_name, table.name, 0)
    return first.rpartition("/")[0] + "/"


def _table_list(tables: Sequence[Table]) -> Value:
    records = [
        dg.TableRecord(
            {
                "table": table.qualified,
                "rows": table.rows,
                "bytes": table.size_bytes,
                "parts": len(table.parts),
                "digest": table.digest,
            }
        )
        for table in tables
    ]
    # Without a schema Dagster refuses a list of no records.
    columns = {"table": "string", "rows": "int", "bytes": "int", "parts": "int", "digest": "string"}
    return dg.MetadataValue.table(
        records, dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    )
