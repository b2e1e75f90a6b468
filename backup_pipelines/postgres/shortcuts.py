"""What a restore need not stage: pages that are as they were, rows of a table that is empty."""

from collections.abc import Collection, Sequence

from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.comparison import Change
from backup_pipelines.postgres.guards import LiveForeignKey
from backup_pipelines.postgres.projection import Pages, rows_and_digest
from backup_pipelines.postgres.range_digests import RangeDigests


def cuts(table: Table) -> frozenset[int]:
    """The heap pages at which a backup's parts begin."""
    return frozenset(first for first, _ in _ranges(table.parts))


def narrowed(change: Change, live: RangeDigests) -> Table:
    """The backup's table with only those parts whose range of heap pages is not as it was.

    The change is narrowed to the same pages. Equal ranges hold the same rows on both sides, so
    what they hold cannot differ anywhere else. The live digests are cut where the parts begin.
    """
    ranges = _ranges(change.table.parts)
    if len(ranges) < 2:
        return change.table
    different = [
        pages for pages, parts in ranges.items() if live.of(pages) != rows_and_digest(parts)
    ]
    change.pages = tuple(different)
    kept = tuple(part for pages in different for part in ranges[pages])
    return change.table.model_copy(update={"parts": kept})


def can_copy_directly(
    change: Change, foreign_keys: Sequence[LiveForeignKey], inside: Collection[str]
) -> bool:
    """Whether rows for this empty table can go straight into it, as nothing can be wrong with them.

    Values of types that people change (enums, domains) and keys to tables outside the selection
    are looked at first, in the staged rows.
    """
    kinds = {column.base_type.partition(".")[0] for column in change.live.columns}
    return (
        bool(change.columns)
        and change.live.partition_of is None
        and kinds == {"pg_catalog"}
        and all(column.type == "" or "." not in column.type for column in change.live.columns)
        and all(k.references in inside for k in foreign_keys if k.table == change.live.qualified)
        and not any(c.not_null for c in change.live.columns if not _was_not_null(change, c.name))
    )


def _was_not_null(change: Change, name: str) -> bool:
    return any(c.name == name and c.not_null for c in change.table.columns)


def _ranges(parts: Sequence[Part]) -> dict[Pages, list[Part]]:
    """Parts by their pages, if those are all pages of the table, each in one range."""
    found: dict[Pages, list[Part]] = {}
    for part in parts:
        if part.first_page is None:
            return {}
        found.setdefault((part.first_page, part.end_page), []).append(part)
    ordered = sorted(found, key=lambda pages: pages[0])
    ends: list[int | None] = [0, *(end for _, end in ordered)]
    starts: list[int | None] = [*(first for first, _ in ordered), None]
    return found if starts == ends else {}
