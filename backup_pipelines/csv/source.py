"""Which files are for which tables: in a folder, in a zip archive, or one file alone.

A file is opened several times, and must be the same each time; nothing is unpacked.
"""

import difflib
import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.places import (
    WORKBOOKS,
    Place,
    SourceFile,
    explained,
    in_archive,
    in_folder,
    is_zip,
    refuse_workbook,
    signature_of,
)
from backup_pipelines.csv.tables import CsvTable
from backup_pipelines.errors import NotFound, Refused

# What a template makes beside the files of the tables.
_DESCRIPTIONS = "columns/"


@dataclass(frozen=True)
class Found:
    """The files of an import."""

    by_table: Mapping[str, SourceFile]
    """By the table's qualified name, in its order."""
    warnings: tuple[str, ...]
    """What lies there and is not read, and which tables have no file."""


def find_files(
    source: Path,
    tables: Sequence[CsvTable],
    others: Iterable[CsvTable] = (),
    *,
    say_missing: bool = True,
) -> Found:
    """The files of the selected tables; `others` are the database's tables that are not selected.

    `say_missing` is for tables that somebody named: that one has no file is worth a warning.
    Raises Refused when there is none, or a file cannot be what it should be.
    """
    found = _find(source, tables, others)
    missing = [table.file for table in tables if table.qualified not in found.by_table]
    if not missing or not say_missing:
        return found
    said = f"nothing is imported into tables without a file: there is no {_listed(missing)}"
    return Found(found.by_table, (*found.warnings, said))


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another; empty where none is."""
    by_plain = {_plain(one): one for one in sorted(known, reverse=True)}
    if (same := by_plain.get(_plain(name))) is not None:
        return same
    found = difflib.get_close_matches(_plain(name), list(by_plain), n=1, cutoff=0.75)
    return by_plain[found[0]] if found else ""


def _find(source: Path, tables: Sequence[CsvTable], others: Iterable[CsvTable]) -> Found:
    elsewhere = {table.file: table.qualified for table in others}
    with explained(source):
        kind = source.stat().st_mode
    if stat.S_ISDIR(kind):
        return _of_place(in_folder(source), source, tables, elsewhere)
    if not stat.S_ISREG(kind):
        raise Refused(f"{source} is neither a file nor a folder: save it as a file first")
    refuse_workbook(source)
    if is_zip(source):
        return _of_place(in_archive(source), source, tables, elsewhere)
    return _of_one(source, tables, elsewhere)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name.casefold())


def _of_one(source: Path, tables: Sequence[CsvTable], elsewhere: Mapping[str, str]) -> Found:
    by_file = {table.file: table for table in tables}
    name = _file_name(source.name)
    table = by_file.get(name) or (tables[0] if len(tables) == 1 else None)
    if table is None:
        meant = near(name, by_file)
        hint = f"did you mean {meant}? " if meant else ""
        raise NotFound(
            f"{source} is the file of none of the selected tables: {hint}name it as one of "
            f"{_listed(sorted(by_file))}, or select its table alone"
        )
    warnings: list[str] = []
    if name in elsewhere:
        warnings.append(
            f"{source.name} is read for {table.qualified}, the selected table, although its name "
            f"is that of {elsewhere[name]}"
        )
    with explained(source):
        size_bytes = source.stat().st_size
    file = SourceFile(source.name, table, size_bytes, source, "", signature_of(source))
    return Found({table.qualified: file}, tuple(warnings))


def _of_place(
    place: Place, source: Path, tables: Sequence[CsvTable], elsewhere: Mapping[str, str]
) -> Found:
    by_file = {table.file: table for table in tables}
    signature = signature_of(place.path) if place.path.is_file() else None
    found: dict[str, SourceFile] = {}
    warnings: list[str] = []
    for name, (path, member, size_bytes) in sorted(place.names.items()):
        table = by_file.get(_file_name(name))
        if table is None:
            warnings += _left(name, [*by_file, *elsewhere], elsewhere)
            continue
        if (twin := found.get(table.qualified)) is not None:
            raise Refused(
                f"{source} has {twin.name} and {name}, both for {table.qualified}: remove one"
            )
        found[table.qualified] = SourceFile(
            name, table, size_bytes, path, member, signature or signature_of(path)
        )
    if not found:
        told = f" ({'; '.join(warnings)})" if warnings else ""
        raise Refused(
            f"{source} has no file of the selected tables: looked for "
            f"{_listed(sorted(by_file))}{told}"
        )
    return Found(
        {table.qualified: found[table.qualified] for table in tables if table.qualified in found},
        tuple(warnings),
    )


def _left(name: str, known: Collection[str], elsewhere: Mapping[str, str]) -> list[str]:
    """What is said of a file that is not read."""
    if csv_form.NOTE.fullmatch(name) or name.startswith(_DESCRIPTIONS):
        return []
    if (other := elsewhere.get(_file_name(name))) is not None:
        return [f"{name} is left alone: {other} is not selected"]
    if name.lower().endswith(WORKBOOKS):
        return [f"{name} is left alone: save each of its sheets as CSV to import it"]
    if not name.lower().endswith(csv_form.SUFFIX):
        return []
    if "/" in name:
        return [f"{name} is left alone: it is in a folder below"]
    meant = near(name, known)
    hint = f"; did you mean {meant}?" if meant else ""
    return [f"{name} is left alone: it has no table's name{hint}"]


def _file_name(name: str) -> str:
    """The name with the suffix as we write it: Windows has it in capitals at times."""
    stem, suffix = name[: -len(csv_form.SUFFIX)], name[-len(csv_form.SUFFIX) :]
    return stem + suffix.lower() if suffix.lower() == csv_form.SUFFIX else name


def _listed(names: Sequence[str]) -> str:
    shown = names[:10]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
