"""Which files are byte for byte as an export wrote them, by what lies beside them.

In those nothing is a spreadsheet's doing, whatever it looks like.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from backup_pipelines.csv.form import NOTE, ExportNote
from backup_pipelines.csv.places import SourceFile, explained, is_zip
from backup_pipelines.csv.source import Found

# A note has some 200 bytes a column; what is larger is another file.
_LARGEST_NOTE = 64 * 1024 * 1024

_PIECE = 1024 * 1024


def untouched(source: Path, files: Found) -> frozenset[str]:
    """The qualified tables of such files; the notes of several exports may lie there."""
    written = {(one.table, one.sha256) for note in _notes(source) for one in note.files}
    tables = {table for table, _ in written}
    return frozenset(
        table
        for table, file in files.by_table.items()
        if table in tables and (table, _sha256(file)) in written
    )


def _notes(source: Path) -> Iterator[ExportNote]:
    for text in _texts(source):
        try:
            yield ExportNote.model_validate_json(text)
        except ValidationError:
            # Another program's file of that name.
            continue


def _texts(source: Path) -> Iterator[bytes]:
    if source.is_file() and is_zip(source):
        with explained(source), zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename).name
                if NOTE.fullmatch(name) and member.file_size <= _LARGEST_NOTE:
                    yield archive.read(member)
        return
    for path in sorted((source if source.is_dir() else source.parent).glob("export*.json")):
        if NOTE.fullmatch(path.name) and path.stat().st_size <= _LARGEST_NOTE:
            with explained(path):
                yield path.read_bytes()


def _sha256(file: SourceFile) -> str:
    digest = hashlib.sha256()
    with file.open() as stream:
        while data := stream.read(_PIECE):
            digest.update(data)
    return digest.hexdigest()
