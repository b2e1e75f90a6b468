"""All metadata that Dagster shows, and the one way an error of the core becomes a failed step.

Numbers are plain int and float, which the UI plots over time.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines import catalog, layout
from backup_pipelines.backup_id import BackupId
from backup_pipelines.dagster_layer import backup_links
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.health.finding import span
from backup_pipelines.manifest import Column, DdlSection, Manifest, Table
from backup_pipelines.wording import clean, count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.drill_record import DrillResult
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
    SUMMARY,
    "good",
    "restore_time",
    *backup_links.LABELS,
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
    "verified_at",
    "drilled_at",
    "snapshot_at",
    "seconds",
    "pinned",
    "path",
)

# In this order: what stands for a mark has marks itself.
_MARKS = {"&": "&amp;", "\\": "\\\\", "|": "\\|", "<": "&lt;", "[": "&#91;"}

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


def table(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> dg.TableMetadataValue:
    """Rows as a table of these columns and no others; a list of no rows is one, too."""
    records = [dg.TableRecord({name: row[name] for name in kinds}) for row in rows]
    # Without a schema Dagster refuses a list of no records.
    columns = [dg.TableColumn(name, kind) for name, kind in kinds.items()]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def leave_result(
    context: dg.OpExecutionContext, document: Mapping[str, Any], shown: Metadata
) -> None:
    """Show it of the run, with the document that the command line prints."""
    context.add_output_metadata({**shown, RESULT: dg.MetadataValue.json(dict(document))})


def cell(text: object) -> str:
    """A text that we did not write as a cell of a markdown table: on one line, and no markup.

    People write some of it: a link or a picture in it must not become one.
    """
    line = " ".join(str(text).split())
    for mark, written in _MARKS.items():
        line = line.replace(mark, written)
    return line


def bullets(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Texts that we did not write as a list in markdown."""
    return dg.MetadataValue.md("\n".join(f"- {cell(line)}" for line in lines) or "none")


def backup_link(system: str, backup_id: str) -> str:
    """A backup's id as a link to its page, in markdown."""
    return f"[{backup_id}](/assets/{system}/backups?view=partitions&partition={backup_id})"


def named(backup_id: str, label: str = "backup") -> dict[str, str]:
    """A backup's id, and what it is: an id alone says little to whoever reads it."""
    if not BackupId.is_valid(backup_id):
        return {label: backup_id or "none"}
    return {label: backup_id, f"{label}_is": _what_it_is(backup_id)}


def listed(backup_ids: Iterable[str]) -> str:
    """Ids of backups, each with what it is."""
    return ", ".join(
        f"{one} ({_what_it_is(one)})" if BackupId.is_valid(one) else one for one in backup_ids
    )


def of_tables(tables: Sequence[Table], backup_id: str, system: str, store: "Store") -> Metadata:
    """What an entry's asset shows: of its one table, or the sums and a list of several."""
    rows = sum(table.rows for table in tables)
    seconds = sum(table.seconds for table in tables)
    stored = sum(table.size_bytes for table in tables)
    shown: dict[str, Value] = {
        SUMMARY: f"{count(rows, 'row')}, {size(stored)}, read in {span(seconds)}",
        ROW_COUNT: rows,
        "backup": dg.MetadataValue.md(backup_link(system, backup_id)),
        "size_bytes": stored,
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
    objects = sum(len(section.objects) for section in sections)
    stored = sum(section.size_bytes for section in sections)
    return {
        SUMMARY: f"{count(objects, 'object')} of the schema, {size(stored)} of SQL",
        "backup": dg.MetadataValue.md(backup_link(system, backup_id)),
        "objects": objects,
        "size_bytes": stored,
        "sections": ", ".join(section.section for section in sections),
        URI: store.uri(layout.backup_prefix(system, backup_id) + "schema/"),
    }


def of_backup(
    entry: Manifest,
    store: "Store",
    known: catalog.States = catalog.NOTHING_KNOWN,
    drills: "Mapping[str, DrillResult] | None" = None,
) -> Metadata:
    """The catalog row of a backup, whether it is good, its manifest as a table, every digest.

    `drills` are the newest of each backup; without them the last one is read from the store.
    """
    from backup_pipelines.dagster_layer import proof

    if drills is None:
        drills = proof.last_drill(store, entry.system)
    row = dict(catalog.row(entry, known))
    row["backup_type"] = row.pop("type")
    shown: dict[str, Value] = {
        name: value if isinstance(value, (str, int, float)) else str(value or "")
        for name, value in row.items()
    }
    shown[SUMMARY] = _in_words(entry)
    shown |= proof.shown(entry, known, drills)
    tables = (one.qualified.removeprefix("public.") for one in entry.tables if one.rows)
    offered = backup_links.of_backup(entry.system, entry.id, next(tables, ""), entry.modules)
    shown |= {name: dg.MetadataValue.md(links) for name, links in offered.items()}
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
        f"{count(entry.tables_count, 'table')}, {count(entry.records_count, 'row')} and "
        f"{size(entry.size_bytes)} of {entry.system} on PostgreSQL {major}, as they were at "
        f"{moment(entry.snapshot_at, seconds=True)}.",
        "",
        "| table | module | rows | size | parts | digest |",
        "|---|---|--:|--:|--:|---|",
    ]
    for table in entry.tables[:_MANIFEST_LINES]:
        name = cell(table.qualified)
        lines.append(
            f"| {name} | {table.module} | {table.rows:,} | {size(table.size_bytes)} "
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


def _what_it_is(backup_id: str) -> str:
    found = BackupId(backup_id)
    return f"{found.type} backup of {moment(found.started_at, seconds=True)}"


def _in_words(entry: Manifest) -> str:
    """A backup in a sentence: what it is, how big, who made it, when and how fast."""
    scope = f"module {entry.module}" if entry.module else entry.scope
    called = f" {clean(entry.label)!r}" if entry.label else ""
    new = f", {size(entry.added_bytes)} of it new," if entry.reuse else ""
    return (
        f"{entry.type} backup{called} ({scope}) of {moment(entry.created_at)} by "
        f"{entry.created_by}: {count(entry.tables_count, 'table')}, "
        f"{count(entry.records_count, 'row')}, {size(entry.size_bytes)}{new} in "
        f"{span(entry.seconds)}"
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
    rows = [
        {
            "table": one.qualified,
            "rows": one.rows,
            "size": size(one.size_bytes),
            "bytes": one.size_bytes,
            "parts": len(one.parts),
            "digest": one.digest,
        }
        for one in tables
    ]
    numbers, names = (
        ("rows", "bytes", "parts"),
        ("table", "rows", "size", "bytes", "parts", "digest"),
    )
    kinds = {name: "int" if name in numbers else "string" for name in names}
    return table(rows, kinds)
