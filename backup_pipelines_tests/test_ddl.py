"""Taking pg_dump's SQL apart: exactly the announced entries, whatever their texts contain."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_pipelines.errors import Damaged
from backup_pipelines.postgres.ddl import Entry, scan, split

_FAKE = (
    "\n--\n-- Name: fake; Type: TABLE; Schema: public; Owner: nobody\n--\n\nCREATE TABLE fake ();\n"
)
_SOAK = (pytest.mark.soak, pytest.mark.timeout(3600))

# On a busy machine slow is no failure.
_CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)

_PREAMBLE = "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n\n"

# What generated texts are made of: everything that means something to the scanner.
_NASTY = st.lists(
    st.sampled_from(
        [*"'\"$;\\()/*- \n", "--", "/*", "*/", "$$", "$_$", "E'", "e'", "''", "\\'", "CASE", "END",
         "BEGIN ATOMIC", "BEGIN", "é", "a", "_", "1", _FAKE,
         "-- Name: x; Type: VIEW; Schema: s; Owner: o\n"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


def written(entries: list[Entry]) -> str:
    """The entries as pg_dump writes them."""
    return _PREAMBLE + "".join(
        f"--\n-- Name: {e.name}; Type: {e.type}; Schema: {e.schema}; Owner: {e.owner}\n--\n\n"
        + "\n".join(e.statements)
        + "\n\n\n"
        for e in entries
    )


def entry(*statements: str, kind: str = "FUNCTION") -> Entry:
    """An entry with these statements."""
    return Entry(kind, "public", "f()", "me", statements)


def _dollar(body: str, tag: str) -> str:
    # A body may contain anything but its own end; one that ends in `$` could begin it.
    body = body.replace(f"${tag}$", "").replace(f"${tag}$", "").rstrip("$")
    return f"${tag}${body}${tag}$" if f"${tag}$" not in body else f"${tag}$${tag}$"


def _block(body: str) -> str:
    return "/*" + body.replace("/", "").replace("*", "") + "/* nested ; ' */ $$ \" */"


_PIECES = st.one_of(
    _NASTY.map(lambda text: "'" + text.replace("'", "''") + "'"),
    _NASTY.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    _NASTY.map(lambda text: " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"),
    _NASTY.map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.builds(_dollar, _NASTY, st.sampled_from(["", "_", "_X", "body", "é"])),
    _NASTY.map(_block),
    _NASTY.map(lambda text: "-- " + text.replace("\n", " ") + "\n"),
    st.sampled_from(
        [
            "a$b$c", "é$$ü$$", "$1", "x", "(a; b)", "CASE WHEN x THEN 1 END", "begin atomic",
            "BEGIN ATOMIC SELECT CASE WHEN a THEN ';' ELSE CASE 1 END END; SELECT 1; END",
            "BEGIN ATOMIC\n SELECT (CASE 1 WHEN 2 THEN (3) END); END", "((;);)",
            "weekend", "caseless",
        ]
    ),
)  # fmt: skip
_STATEMENTS = st.lists(_PIECES, max_size=6).map(lambda pieces: f"CREATE {' '.join(pieces)};")
_NAMES = st.text(string.ascii_letters + "é;:-'\"$ ,()", min_size=1, max_size=12).map(
    lambda name: f"n{name}n"
)
_ENTRIES = st.lists(
    st.builds(
        Entry,
        st.sampled_from(["TABLE", "FK CONSTRAINT", "MATERIALIZED VIEW", "FUNCTION"]),
        st.sampled_from(["public", "-", "a.b"]),
        _NAMES,
        st.sampled_from(["me", "", "o'neil"]),
        st.lists(_STATEMENTS, min_size=1, max_size=3).map(tuple),
    ),
    max_size=5,
)


@pytest.mark.parametrize("count", [100, pytest.param(5_000, marks=_SOAK)])
def test_split_finds_exactly_the_announced_entries(count: int) -> None:
    """What was announced is found, statement for statement, whatever quoted texts contain."""

    @settings(_CALM, max_examples=count)
    @given(_ENTRIES)
    def found(entries: list[Entry]) -> None:
        assert split(written(entries)) == entries

    found()


@settings(_CALM)
@given(_NASTY)
def test_scan_loses_nothing(text: str) -> None:
    """Whatever the text, its pieces are all of it in order, or it is refused as damaged."""
    try:
        pieces = [piece for _, piece in scan(text)]
    except Damaged:
        return
    assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $_$ BEGIN {_FAKE} END $_$;",
        f"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS '{_FAKE}';",
        f"COMMENT ON FUNCTION f() IS '{_FAKE}it''s;';",
        f"COMMENT ON FUNCTION f() IS E'{_FAKE}it\\'s \\\\';",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1"
        " ELSE CASE 2 WHEN 3 THEN 4 END END;\n SELECT 2;\nEND;",
        "CREATE RULE r AS ON INSERT TO t DO ALSO ( INSERT INTO a VALUES (1);\n DELETE FROM b;\n);",
        'CREATE TABLE "a;b" ("c\'d" text DEFAULT \';\'::text, "--" int, "/*" int, "$$" int);',
        "CREATE TABLE t (a text DEFAULT 'it\\'::text, b text DEFAULT U&'\\0061;'::text);",
        "CREATE VIEW v AS SELECT a$b$c FROM x$y$z /* ; /* ' */ \" */ WHERE 1 = 1;",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $é—$ ; $é $ $$ ' -- $é—$;",
        "CREATE VIEW v AS\n SELECT CASE WHEN (a = 1) THEN 'END;'::text ELSE 'x' END AS \"end\";",
    ],
)
def test_statement_is_not_cut(statement: str) -> None:
    """A semicolon or an announcement inside a statement does not end it."""
    assert split(written([entry(statement), entry("SELECT 2;", kind="VIEW")])) == [
        entry(statement),
        entry("SELECT 2;", kind="VIEW"),
    ]


def test_entries_carry_their_names() -> None:
    """Names may contain what separates the fields of an announcement."""
    named = Entry(
        "TABLE", "a; b", "x; Type: VIEW; Schema: s; Owner: o", "me", ("CREATE TABLE x ();",)
    )
    (found,) = split(written([named]))
    assert (found.name, found.type, found.owner) == (named.name, "TABLE", "me")


def test_preamble_and_closing_words_are_no_entries() -> None:
    """The settings before the first announcement and the comments after the last belong to none."""
    text = written([entry("SELECT 1;")]) + "--\n-- PostgreSQL database dump complete\n--\n\n"
    assert split(text) == [entry("SELECT 1;")]
    assert split(_PREAMBLE) == []


def test_setting_belongs_to_the_entry_after_it() -> None:
    """What pg_dump sets before it announces an object goes with that object."""
    setting = "SET default_table_access_method = heap;"
    text = written([entry("CREATE TYPE t;"), entry("CREATE TABLE a ();")])
    text = text.replace("--\n-- Name", f"{setting}\n\n--\n-- Name")
    assert [e.statements for e in split(text)] == [
        (setting, "CREATE TYPE t;"),
        (setting, "CREATE TABLE a ();"),
    ]


@settings(_CALM)
@given(_STATEMENTS, _STATEMENTS)
def test_hash_is_that_of_the_statements(one: str, other: str) -> None:
    """Two entries have the same hash when their statements are the same, whatever their names."""
    renamed = Entry("VIEW", "s", "n", "o", (one,))
    assert entry(one).sha256 == renamed.sha256
    assert (entry(one).sha256 == entry(other).sha256) == (one == other)


@pytest.mark.parametrize(
    "text",
    ["SELECT 'open;", "SELECT E'open\\';", 'SELECT "open;', "SELECT $$open;", "SELECT 1",
     "/* /* */", "SELECT $x$ $y$;", "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", "SELECT (1;"],
)  # fmt: skip
def test_text_that_does_not_end_is_damaged(text: str) -> None:
    """DDL that was cut off is refused, not run as far as it goes."""
    with pytest.raises(Damaged):
        list(scan(text))
