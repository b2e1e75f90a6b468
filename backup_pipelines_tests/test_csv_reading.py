"""Files before their rows are checked: which they are, how they are written, what they name."""

import os
import secrets
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from backup_pipelines import systems
from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.catalog import TableFacts, describe_tables
from backup_pipelines.csv.export import Asked, export_live
from backup_pipelines.csv.incoming import LINE, AskedImport, Incoming, Reading
from backup_pipelines.csv.intake import lay_aside
from backup_pipelines.csv.problems import Problem, problems
from backup_pipelines.csv.source import find_files
from backup_pipelines.csv.tables import CsvTable, live_tables
from backup_pipelines.csv.template import make_template
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.exactness import connect
from backup_pipelines_tests.fix_backup import ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]

SCHEMA = """
    CREATE TABLE contacts (
        id int PRIMARY KEY, email text UNIQUE NOT NULL, first_name text, active bool,
        shout text GENERATED ALWAYS AS (upper(email)) STORED);
    CREATE TABLE deals (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
    CREATE TABLE notes (note text);
    CREATE SCHEMA more;
    CREATE TABLE more."Odd, name" (a text);
    CREATE TABLE apart (id int);
"""

CONTACTS = b"id,email,first_name\n1,a@b.c,Ann\n"


@dataclass(frozen=True)
class Tables:
    """The tables of a database, and what is known of them."""

    by_name: dict[str, CsvTable]
    facts: dict[str, TableFacts]

    def named(self, *names: str) -> list[CsvTable]:
        """Some of them."""
        return [self.by_name[name] for name in names]


@pytest.fixture(scope="module")
def tables(server: EmbeddedServer) -> Tables:
    """The tables of SCHEMA, as an import sees them."""
    name = f"t_{secrets.token_hex(6)}"
    with connect(server.url()) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        with psycopg.connect(server.url(name)) as owner:
            owner.execute(SCHEMA.encode())
        return tables_of(server.url(name))
    finally:
        with connect(server.url()) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def tables_of(url: str, system: System | None = None) -> Tables:
    """All tables of a database."""
    with connected(url, what="the test database") as connection:
        found = live_tables(connection, system or whole_system(), Selection())
        lives = [part for one in found for part in one.parts if isinstance(part, LiveTable)]
        facts = describe_tables(connection, lives, lookups=False)
    return Tables(
        {one.qualified: one for one in found}, {one.table.qualified: one for one in facts}
    )


@dataclass(frozen=True)
class Laid:
    """What became of files."""

    files: list[Incoming]
    problems: list[Problem]
    rows: dict[str, list[dict[str, Any]]]
    """By file, with their lines."""

    @property
    def said(self) -> list[tuple[int, str, str]]:
        """The problems in short."""
        return [(one.line, one.kind, one.column) for one in self.problems]

    @property
    def only(self) -> Incoming:
        """The one file."""
        (one,) = self.files
        return one


def laid(source: Path, tables: Tables, *names: str, **asked: Any) -> Laid:
    """The rows of files, as they lie in the import's store."""
    found = find_files(source, tables.named(*(names or tables.by_name)), say_missing=False)
    with scratch_folder() as folder, problems(folder) as wrong:
        store = Store((folder / "rows").as_uri())
        files = lay_aside(
            AskedImport(source, Selection(), **asked), tables.facts, found, store, wrong, ignore
        )
        rows: dict[str, list[dict[str, Any]]] = {}
        for one in files:
            columns = [LINE, *one.columns]
            batches = list(stored_batches(store, one.table, columns))
            rows[one.file] = [row for batch in batches for row in batch.to_pylist()]
            assert one.table.rows == len(rows[one.file])
            for part in one.table.parts:
                assert store.checksum(part.key) == (part.size_bytes, part.sha256)
                path = store.local_path(part.key)
                assert path is not None
                assert pq.read_schema(path).names == columns
        return Laid(files, list(wrong.in_order()), rows)


def contacts(folder: Path, data: bytes, name: str = "contacts.csv") -> Path:
    """A file of contacts."""
    path = folder / name
    path.write_bytes(data)
    return path


def test_an_export_is_read_back_value_by_value(demo: Demo, tmp_path: Path) -> None:
    """All tables of the sample data, from the folder and from the archive, lines and all."""
    demo.ensure_system("crm")
    system, url = systems.load_system("crm"), demo.reader_url("crm")
    everything = Selection(modules=tuple(system.modules)[:3])
    tables = tables_of(url, system)
    written: dict[str, bytes] = {}
    for zipped in (False, True):
        to = tmp_path / f"zipped {zipped}"
        done = export_live(system, url, Asked(everything, to, zipped=zipped), report=ignore)
        result = laid(done.to, tables)
        assert result.problems == []
        assert [one.file for one in result.files] == [note.file for note in done.note.files]
        for note in done.note.files:
            if not zipped:
                written[note.file] = (to / note.file).read_bytes()
            rows = [csv_form.line(list(row.values())[1:]) for row in result.rows[note.file]]
            header = csv_form.header([column.name for column in note.columns])
            assert header + b"".join(rows) == written[note.file]
            assert result.rows[note.file][0][LINE] == 2


def test_files_are_found_by_their_tables_names(tables: Tables, tmp_path: Path) -> None:
    """What lies beside them is said where somebody could have meant it, and never read."""
    for name in (
        "contacts.csv",
        "more.Odd, name.CSV",
        "apart.csv",
        "notse.csv",
        "unlike.csv",
        "crm_sales.xlsx",
        "export-20260115T020000.000000Z.json",
        "readme.txt",
        ".hidden.csv",
    ):
        (tmp_path / name).write_bytes(b"a\n")
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns" / "contacts.csv").write_bytes(b"")
    (tmp_path / "notes.csv").mkdir()
    selected = tables.named("public.contacts", "public.deals", "public.notes", "more.Odd, name")
    found = find_files(tmp_path, selected, tables.named("public.apart"))
    assert {table: file.name for table, file in found.by_table.items()} == {
        "public.contacts": "contacts.csv",
        "more.Odd, name": "more.Odd, name.CSV",
    }
    assert found.warnings == (
        "apart.csv is left alone: public.apart is not selected",
        "crm_sales.xlsx is left alone: save each of its sheets as CSV to import it",
        "notse.csv is left alone: it has no table's name; did you mean notes.csv?",
        "unlike.csv is left alone: it has no table's name",
        "nothing is imported into tables without a file: there is no deals.csv, notes.csv",
    )
    assert len(find_files(tmp_path, selected, say_missing=False).warnings) == 4


def test_a_template_is_found_with_its_descriptions_beside(
    server: EmbeddedServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """As it was made, with nothing said of what is beside the files."""
    database = make_database(server)
    database.run(SCHEMA)
    everything = Selection(modules=("all",))
    make_template(
        whole_system(), database.reader_url, everything, tmp_path, xlsx=False, report=ignore
    )
    tables = tables_of(database.owner_url)
    found = find_files(tmp_path, list(tables.by_name.values()))
    assert found.warnings == ()
    result = laid(tmp_path, tables)
    assert result.problems == []
    assert [one.table.rows for one in result.files] == [0] * 5
    assert all(len(one.table.parts) == 1 for one in result.files)


@pytest.mark.parametrize("inside", ["", "export/", "a/b/"])
def test_an_archive_is_read_wherever_its_files_lie(
    tables: Tables, tmp_path: Path, inside: str
) -> None:
    """In one folder as people pack them, with what macOS and a template have beside."""
    source = tmp_path / "all.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(f"{inside or 'x/'}")
        archive.writestr(f"{inside}contacts.csv", CONTACTS)
        archive.writestr(f"{inside}columns/contacts.csv", b"column,type\n")
        archive.writestr(f"{inside}old/notes.csv", b"note\n")
        archive.writestr(f"{inside}export.json", b"{}")
        archive.writestr(f"__MACOSX/{inside}._contacts.csv", b"\0")
    found = find_files(source, tables.named("public.contacts"))
    assert found.warnings == ("old/notes.csv is left alone: it is in a folder below",)
    rows = laid(source, tables, "public.contacts").rows
    assert rows == {"contacts.csv": [{LINE: 2, "id": "1", "email": "a@b.c", "first_name": "Ann"}]}


def _member(source: Path, data: bytes, name: str = "contacts.csv", **more: int) -> None:
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        for field, value in more.items():
            setattr(info, field, value)
        archive.writestr(info, data)


def _refused(source: Path, tables: Tables, *names: str) -> str:
    with pytest.raises(Refused) as refused:
        laid(source, tables, *names)
    return str(refused.value)


def test_odd_archives_are_refused(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links, ciphers, twins, cut and damaged ones, and one that would never end."""
    source = tmp_path / "x.zip"
    _member(source, b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert "no plain file" in _refused(source, tables)
    monkeypatch.setattr("backup_pipelines.csv.places._LARGE_BYTES", 1 << 20)
    _member(source, b"0\n" * (1 << 20))
    assert "unpacks from" in _refused(source, tables)
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("contacts.csv", CONTACTS)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("contacts.csv", CONTACTS)
    assert "twice" in _refused(source, tables)
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("contacts.csv", CONTACTS)
        archive.writestr("contacts.CSV", CONTACTS)
    assert "both for public.contacts" in _refused(source, tables)
    _member(source, CONTACTS * 1000)
    whole = source.read_bytes()
    source.write_bytes(whole[:-30])
    assert "cannot be read" in _refused(source, tables)
    source.write_bytes(whole[:60] + b"\0\1\2\3" + whole[64:])
    assert "contacts.csv in" in _refused(source, tables)
    # The flag of a cipher, in both headers.
    locked = bytearray(whole)
    locked[6] |= 1
    locked[whole.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(locked)
    assert "is encrypted" in _refused(source, tables)


def test_one_file_is_for_the_one_table(tables: Tables, tmp_path: Path) -> None:
    """Whatever its name; for one of several tables its name must be that table's."""
    source = contacts(tmp_path, CONTACTS, "from excel.txt")
    assert laid(source, tables, "public.contacts").only.table.qualified == "public.contacts"
    with pytest.raises(NotFound, match="none of the selected tables: name it as one of"):
        laid(source, tables)
    source = contacts(tmp_path, CONTACTS, "Contacts.csv")
    with pytest.raises(NotFound, match=r"did you mean contacts\.csv\?"):
        laid(source, tables)
    source = contacts(tmp_path, CONTACTS)
    assert laid(source, tables).only.table.qualified == "public.contacts"
    found = find_files(source, tables.named("public.notes"), tables.named("public.contacts"))
    assert found.warnings == (
        "contacts.csv is read for public.notes, the selected table, although its name is that of "
        "public.contacts",
    )


def test_what_is_no_source_is_refused(tables: Tables, tmp_path: Path) -> None:
    """Saying what to do about it."""
    assert "cannot be read (No such file" in _refused(tmp_path / "none", tables)
    (tmp_path / "notse.csv").write_bytes(b"note\n")
    told = _refused(tmp_path, tables)
    assert "looked for apart.csv, contacts.csv, deals.csv, more.Odd, name.csv, notes.csv" in told
    assert "did you mean notes.csv?" in told
    assert "save each of its sheets as CSV" in _refused(contacts(tmp_path, b"", "a.xlsx"), tables)
    gz = contacts(tmp_path, b"\x1f\x8b\x08", "contacts.csv.gz")
    assert "unpack it first" in _refused(gz, tables)
    os.mkfifo(tmp_path / "contacts.csv")
    assert "neither a file nor a folder" in _refused(tmp_path / "contacts.csv", tables)


def test_a_file_that_changes_while_it_is_read_is_refused(tables: Tables, tmp_path: Path) -> None:
    """It is read several times, and must say the same each time."""
    source = contacts(tmp_path, CONTACTS)
    found = find_files(source, tables.named("public.contacts"))
    contacts(tmp_path, CONTACTS + b"2,b@b.c,Bob\n")
    with (
        pytest.raises(Refused, match="was changed while it was read"),
        found.by_table["public.contacts"].open(),
    ):
        pass


ROWS = "id,first_name,email\r\n1,Zoë,a@b.c\r\n2,Jürgen,\\N\r\n"


@pytest.mark.parametrize(
    ("encoding", "mark", "words"),
    [
        ("utf-8", b"", "UTF-8"),
        ("utf-8", b"\xef\xbb\xbf", "UTF-8 by its mark"),
        ("utf-16-le", b"\xff\xfe", "UTF-16 by its mark"),
        ("utf-16-be", b"\xfe\xff", "UTF-16 by its mark"),
        ("utf-16-le", b"", "UTF-16 by its NUL bytes"),
        ("utf-16-be", b"", "UTF-16 by its NUL bytes"),
        ("utf-32-le", b"\xff\xfe\0\0", "UTF-32 by its mark"),
        ("cp1252", b"", "windows-1252, since it is not UTF-8"),
    ],
)
@pytest.mark.parametrize(
    ("delimiter", "called"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "pipes")]
)
def test_encoding_and_delimiter_are_found_out_and_said(
    tables: Tables,
    tmp_path: Path,
    encoding: str,
    mark: bytes,
    words: str,
    delimiter: str,
    called: str,
) -> None:
    """Each with what it was found by."""
    text = ROWS.replace(",", delimiter)
    source = contacts(tmp_path, mark + text.encode(encoding))
    result = laid(source, tables, "public.contacts")
    assert result.rows["contacts.csv"] == [
        {LINE: 2, "id": "1", "first_name": "Zoë", "email": "a@b.c"},
        {LINE: 3, "id": "2", "first_name": "Jürgen", "email": None},
    ]
    form = result.only.form
    assert (form.encoding, form.delimiter, form.has_bom) == (encoding, delimiter, bool(mark))
    told = f"{words}, separated by {called} (by the header, where 3 of 3 names are known)"
    assert form.in_words == told
    assert ("Zoë (line 2), Jürgen (line 3)" in "".join(result.only.warnings)) == (
        encoding == "cp1252"
    )


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("cp1250", "Łukasz"),
        ("cp1250", "Małgorzata"),
        ("cp1250", "Kateřina Dvořáková z Plzně, Škoda"),
        ("cp1251", "Иван"),
        ("cp1253", "Γιώργος"),
        ("cp1254", "Şükrü"),
        ("cp850", "Müller"),
        ("cp932", "山田太郎"),
        ("gb18030", "张伟"),
    ],
)
def test_an_encoding_that_cannot_be_known_must_be_said(
    tables: Tables, tmp_path: Path, encoding: str, word: str
) -> None:
    """The problem shows how others would read the first word that tells; said, it is read."""
    source = contacts(tmp_path, f"id;first_name\n1;Ann\n2;{word}\n".encode(encoding))
    result = laid(source, tables, "public.contacts")
    assert (result.files, result.said) == ([], [(3, "encoding", "")])
    reading = Reading(encoding=encoding)
    result = laid(source, tables, "public.contacts", reading=reading, mode="upsert")
    assert [row["first_name"] for row in result.rows["contacts.csv"]] == ["Ann", word]
    assert "as said" in result.only.form.in_words


@pytest.mark.parametrize(
    "text",
    [
        "Müller, Weiß, ÄRZTE, Ölöfen",
        "Hélène, Œuvre, François, l\u2019été, cœur, “bon” \u2013 «oui»",
        "¿Qué?, ¡Hola!, Muñoz, nº 5, 1ª",
        "São João, ação, Åsa, Ærø, col·lecció",
        "£5.00, 5 €, 5½ m², 20°C, ©Acme, it\u2019s, wait…and",
    ],
)
def test_windows_1252_is_told_by_its_words(tables: Tables, tmp_path: Path, text: str) -> None:
    """Of any language of Western Europe, and with its usual signs; some are shown to look at."""
    source = contacts(tmp_path, f'id,email,first_name\n1,x,"{text}"\n'.encode("cp1252"))
    result = laid(source, tables, "public.contacts")
    assert result.problems == []
    assert result.rows["contacts.csv"][0]["first_name"] == text
    assert "look whether this is right" in result.only.warnings[0]


def test_a_wrong_encoding_that_is_said_is_told_line_by_line(tables: Tables, tmp_path: Path) -> None:
    """With the bytes; and at once where the file's mark says another."""
    text = "id,email,first_name\n1,a,Zoë\n2,b,Ann\n3,c,Jürgen\n"
    source = contacts(tmp_path, text.encode("cp1252"))
    result = laid(source, tables, "public.contacts", reading=Reading(encoding="utf-8"))
    assert result.said == [(2, "encoding", "first_name"), (4, "encoding", "first_name")]
    assert [one.reason[-9:] for one in result.problems] == ["EB in hex", "FC in hex"]
    assert [row["id"] for row in result.rows["contacts.csv"]] == ["2"]
    source = contacts(tmp_path, text.encode("utf-8-sig"))
    result = laid(source, tables, "public.contacts", reading=Reading(encoding="cp1252"))
    assert "begins with the mark of UTF-8" in result.problems[0].reason
    assert laid(source, tables, "public.contacts", reading=Reading("utf-8")).problems == []


@pytest.mark.parametrize("delimiter", ["pipe", "|", "PIPE"])
def test_a_delimiter_can_be_said(tables: Tables, tmp_path: Path, delimiter: str) -> None:
    """By its name or as it is; what can be none is refused."""
    source = contacts(tmp_path, b"id|email|a,b\n1|x|y\n")
    reading = Reading(delimiter=delimiter)
    result = laid(source, tables, "public.contacts", reading=reading, ignored=frozenset({"a,b"}))
    assert result.rows["contacts.csv"] == [{LINE: 2, "id": "1", "email": "x"}]
    assert result.only.ignored == ("a,b",)
    for wrong in ('"', "ab", "\n", "e"):
        with pytest.raises(Refused, match="separates no values"):
            laid(source, tables, "public.contacts", reading=Reading(delimiter=wrong))


@pytest.mark.parametrize("null", ['"', '"NULL"', "a,b", "\n"])
def test_what_no_value_can_read_like_stands_not_for_null(
    tables: Tables, tmp_path: Path, null: str
) -> None:
    """It would be a typo that passes unnoticed."""
    source = contacts(tmp_path, CONTACTS)
    with pytest.raises(Refused, match="cannot stand for NULL"):
        laid(source, tables, "public.contacts", reading=Reading(null=null))


def test_names_are_columns_when_they_are_exactly_that(tables: Tables, tmp_path: Path) -> None:
    """What is nearly a column's name is suggested, never taken; all of it is told at once."""
    source = contacts(
        tmp_path, b"ID,e-mail,First Name,email,shout,,email,colour\n1,2,3,4,5,6,7,8\n"
    )
    result = laid(source, tables, "public.contacts")
    told = {(one.column, one.kind): one.reason for one in result.problems}
    assert set(told) == {
        ("ID", "unknown column"),
        ("e-mail", "unknown column"),
        ("First Name", "unknown column"),
        ("shout", "unknown column"),
        ("", "unknown column"),
        ("email", "repeated column"),
        ("colour", "unknown column"),
        ("id", "missing column"),
    }
    assert (
        "did you mean email? then say that it is (--map e-mail=email)"
        in told["e-mail", "unknown column"]
    )
    assert "did you mean first_name?" in told["First Name", "unknown column"]
    assert "is computed by the database" in told["shout", "unknown column"]
    assert "column 6 has no name" in told["", "unknown column"]
    assert "its columns are active, email, first_name, id" in told["colour", "unknown column"]
    assert result.rows["contacts.csv"] == [{LINE: 2, "email": "4"}]


def test_names_can_be_said_to_be_columns(tables: Tables, tmp_path: Path) -> None:
    """Of all files, or of one, which goes before."""
    (tmp_path / "contacts.csv").write_bytes(b"Key,Mail,x,note\n1,a@b.c,y,z\n")
    (tmp_path / "notes.csv").write_bytes(b"x,note,Key\nfirst,second,third\n")
    result = laid(
        tmp_path,
        tables,
        renamed={"Key": "id", "Mail": "email", "notes.csv:Key": "note"},
        ignored=frozenset({"x", "note"}),
    )
    assert result.problems == []
    assert result.rows == {
        "contacts.csv": [{LINE: 2, "id": "1", "email": "a@b.c"}],
        "notes.csv": [{LINE: 2, "note": "third"}],
    }
    assert result.files[0].headers == {"id": "Key", "email": "Mail"}
    assert [one.ignored for one in result.files] == [("x", "note"), ("x", "note")]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"renamed": {"e_mail": "email"}}, "--map 'e_mail': no file has .* did you mean email"),
        ({"renamed": {"notes.csv:email": "email"}}, "--map 'notes.csv:email'"),
        ({"ignored": frozenset({"nmae"})}, "--ignore 'nmae'"),
        ({"renamed": {"email": "id"}, "ignored": frozenset({"email"})}, "both mapped and ignored"),
        ({"accepted": frozenset({"contacts.nmae"})}, "--accept 'contacts.nmae'"),
        ({"keys": {"public.contacts": ("email",)}}, "in mode upsert only"),
        ({"keys": {"public.deals": ("name",)}, "mode": "upsert"}, "public.deals, which has no"),
        (
            {"keys": {"public.contacts": ("e_mail",)}, "mode": "upsert"},
            "no column 'e_mail' to match rows by; did you mean email",
        ),
    ],
)
def test_what_is_said_and_fits_nothing_is_refused(
    tables: Tables, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    """A typo must not pass for something that was done."""
    source = contacts(tmp_path, CONTACTS)
    with pytest.raises(Refused, match=told):
        laid(source, tables, "public.contacts", **asked)


def test_accepted_columns_are_named_with_or_without_the_schema(
    tables: Tables, tmp_path: Path
) -> None:
    """As tables are elsewhere."""
    source = contacts(tmp_path, CONTACTS)
    both = frozenset({"contacts.email", "public.contacts.id"})
    assert laid(source, tables, "public.contacts", accepted=both).problems == []


def test_columns_that_rows_need_must_be_there(tables: Tables, tmp_path: Path) -> None:
    """For an insert those without a default, for an upsert those that rows are matched by."""
    source = contacts(tmp_path, b"first_name\nAnn\n")
    told = laid(source, tables, "public.contacts").said
    assert told == [(1, "missing column", "email"), (1, "missing column", "id")]
    told = laid(source, tables, "public.contacts", mode="upsert").said
    assert told == [(1, "missing column", "id")]
    keys = {"public.contacts": ("email",)}
    told = laid(source, tables, "public.contacts", mode="upsert", keys=keys).said
    assert told == [(1, "missing column", "email")]
    # Its numbers are the database's own.
    assert laid(contacts(tmp_path, b"name\nx\n"), tables, "public.deals").problems == []
    source = contacts(tmp_path, b"note\nx\n")
    with pytest.raises(Refused, match=r"public\.notes has no primary key"):
        laid(source, tables, "public.notes", mode="upsert")
    told = laid(source, tables, "public.notes", ignored=frozenset({"note"})).said
    assert told == [(1, "missing column", "")]


def test_excels_mark_of_the_delimiter_is_explained(tables: Tables, tmp_path: Path) -> None:
    """It is no header, and nothing below can be read by it."""
    result = laid(contacts(tmp_path, b"sep=;\nid;email\n1;x\n"), tables, "public.contacts")
    assert any("Excel's mark" in one.reason for one in result.problems)


def test_a_workbook_that_is_called_csv_is_told(tables: Tables, tmp_path: Path) -> None:
    """Also by one who says what its encoding is."""
    (tmp_path / "contacts.csv").write_bytes(b"PK\x03\x04 and so on")
    for encoding in ("", "utf-8"):
        result = laid(tmp_path, tables, "public.contacts", reading=Reading(encoding))
        assert result.files == []
        assert "it is a workbook" in result.problems[0].reason


def test_empty_lines_are_said(tables: Tables, tmp_path: Path) -> None:
    """They are no rows, and somebody may have meant one."""
    result = laid(contacts(tmp_path, b"note\nx\n\n\ny\n"), tables, "public.notes")
    assert result.only.warnings == ("2 empty lines passed over",)
    assert [row[LINE] for row in result.rows["contacts.csv"]] == [2, 5]


def test_a_file_without_anything_is_a_problem(tables: Tables, tmp_path: Path) -> None:
    """It names no columns, so that nothing else can be said of it."""
    result = laid(contacts(tmp_path, b""), tables, "public.contacts")
    assert (result.files, result.said) == ([], [(1, "missing column", "")])


def test_the_rows_of_large_files_are_several_parts(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them much larger than a part of a backup."""
    monkeypatch.setattr("backup_pipelines.csv.intake._PART_BYTES", 100_000)
    rows = b"".join(b"%s\n" % secrets.token_hex(50).encode() for _ in range(60_000))
    result = laid(contacts(tmp_path, b"note\n" + rows), tables, "public.notes")
    assert len(result.only.table.parts) > 2
    assert b"".join(row["note"].encode() + b"\n" for row in result.rows["contacts.csv"]) == rows
    assert [row[LINE] for row in result.rows["contacts.csv"]] == list(range(2, 60_002))
