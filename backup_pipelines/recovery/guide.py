"""RECOVERY.md of a backup: what it is and three ways to restore it, made of its manifest alone."""

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files

from backup_pipelines import layout
from backup_pipelines.manifest import Manifest
from backup_pipelines.recovery import by_hand
from backup_pipelines.recovery.by_hand import FOLDER, printable
from backup_pipelines.wording import moment

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_SCOPES = {
    "full": "the whole database",
    "modules": "the modules {}",
    "tables": "single tables of {}",
}

_IDENTITY_LINES = """
export BACKUP_AGE_IDENTITY=/path/of/identity.txt"""

_IDENTITY_FILE = """
export IDENTITY=/path/of/identity.txt"""

_ROWS_AS: dict[layout.Format, str] = {
    "parquet": "Parquet",
    "jsonl": "JSON Lines that `zstd` has compressed: a line is a row, each value what PostgreSQL "
    "printed, or null",
}

_TURNING: dict[layout.Format, str] = {
    "parquet": """\
Each Parquet column is `native`, `decimal` or `text` in the manifest. A `text` is what PostgreSQL
printed, and goes back as it is; so do the others as DuckDB prints them, but for bytes, which
become hex digits, and times with a time zone, which are in UTC. That is exact for every type.
(pyarrow is exact as well: `restore.py` reads by it. DuckDB's own CSV with its usual settings is
not.)""",
    "jsonl": """\
Each value of a line is what PostgreSQL printed, and goes back as it is, in the order of the
columns. That is exact for every type. If DuckDB says that a row exceeds `maximum_object_size`,
write a higher number of bytes there.""",
}

_DECRYPT = """
Decrypt them. The identity is that of one of the recipients above; `IDENTITY` is the path of its
file. From now on the rows lie here in clear.

```sh
for file in $(find {prefix} -name '*.age'); do
    age --decrypt -i "$IDENTITY" -o "${{file%.age}}" "$file" || break
done
```
"""


def guide(entry: Manifest) -> str:
    """The text, the same whether the manifest names RECOVERY.md itself already or not."""
    template = (files("backup_pipelines.recovery") / "guide.md").read_text("utf-8")
    words = _about(entry) | _commands(entry)
    return _PLACE.sub(lambda found: words[found[1]], template)


def _about(entry: Manifest) -> dict[str, str]:
    recipients = entry.encryption.recipients if entry.encryption else ()
    encrypted = "every row and every line of SQL, by age, to " + ", ".join(
        f"`{key}`" for key in recipients
    )
    major = entry.server_version // 10000
    return {
        "id": entry.id,
        "system": entry.system,
        "SYSTEM": entry.system.upper(),
        "database": printable(entry.database),
        "snapshot_at": moment(entry.snapshot_at, seconds=True),
        "server": f"{major}.{entry.server_version % 10000}",
        "major": str(major),
        "tool_version": printable(entry.tool_version),
        "what": _SCOPES[entry.scope].format(printable(", ".join(entry.modules))),
        "tables": f"{entry.tables_count:,}",
        "rows": f"{entry.records_count:,}",
        "encrypted": encrypted if recipients else "no",
        "roles": printable(", ".join(entry.roles)) or "none",
        "extensions": printable(", ".join(entry.extensions)) or "none",
        "excluded": "; ".join(
            f"{printable(one.name)} ({printable(one.reason)})" for one in entry.excluded
        )
        or "nothing",
        "identity_lines": _IDENTITY_LINES if recipients else "",
        "identity_file": _IDENTITY_FILE if recipients else "",
        "identity_option": ' --identity "$IDENTITY"' if recipients else "",
        "identity_needs": ", and `pip install pyrage` or the `age` tool" if recipients else "",
        "age": ", `age`" if recipients else "",
        "cleanup": " and what `age` has written" if recipients else "",
        "rows_as": " and ".join(_ROWS_AS[format] for format in _formats(entry)),
        "turning": "\n".join(_TURNING[format] for format in _formats(entry)),
        "elsewhere": _elsewhere(entry),
        "partial": _partial(entry),
    }


def _commands(entry: Manifest) -> dict[str, str]:
    prefix = layout.backup_prefix(entry.system, entry.id).rstrip("/")
    settings = f"-f {FOLDER}/settings.sql"
    return {
        "prefix": prefix,
        "fetching": _lines(_fetching(entry)),
        "folder": FOLDER,
        "checksums": _lines(by_hand.checksums(entry)),
        "decrypt": _DECRYPT.format(prefix=f"{entry.system}/backups") if entry.encryption else "",
        "settings": by_hand.SETTINGS,
        "with_settings": f'psql "$URL" -q -v ON_ERROR_STOP=1 {settings}',
        "rows_sql": _lines(by_hand.rows_for_duckdb(entry)),
        "loading": _lines(by_hand.loading(entry)),
        "positions": _lines(by_hand.positions(entry)),
        "refreshing": _lines(by_hand.refreshing(entry)),
        "digests": _lines(by_hand.digests(entry)),
        "proved": str(len(by_hand.proved(entry))),
    }


def _formats(entry: Manifest) -> list[layout.Format]:
    """How its parts are written; those of a backup without any would be Parquet."""
    found = frozenset[layout.Format]().union(*(table.formats for table in entry.tables))
    return [format for format in ("parquet", "jsonl") if format in (found or {"parquet"})]


def _elsewhere(entry: Manifest) -> str:
    listed = "\n".join(f"- `{part.key}`" for part in entry.inherited)
    if not listed:
        return ""
    return (
        "\nIt needs these objects of other backups as well, under the same keys; the commands "
        f"below copy the folders that they lie in:\n\n{listed}\n"
    )


def _fetching(entry: Manifest) -> Iterator[str]:
    """A command for each folder that has objects of this backup, its own first."""
    others = sorted({layout.backup_id_of(entry.system, part.key) for part in entry.inherited})
    for backup_id in (entry.id, *others):
        folder = layout.backup_prefix(entry.system, backup_id).rstrip("/")
        yield f"aws s3 cp --recursive s3://bucket/prefix/{folder} {folder}"


def _partial(entry: Manifest) -> str:
    if entry.scope == "full":
        return ""
    return (
        " This backup is partial: a foreign key to a table whose rows are not in it fails here. "
        "Run its statement again with `NOT VALID` at the end."
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
