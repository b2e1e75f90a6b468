"""Every type of PostgreSQL that a column can have, with the values at its edges.

`VARIANTS` is inserted, backed up and compared; `LOOKALIKES` are pairs of values that something on
the way could take for one another, and that a digest must tell apart.
"""

from dataclasses import dataclass


class Sql(str):
    """A value given as an SQL expression instead of as its text."""

    __slots__ = ()


@dataclass(frozen=True)
class Variant:
    """One column type, its values beside NULL, and what a server must have for it."""

    name: str
    type: str
    values: tuple[str, ...]
    needs: str = ""
    since: int = 0
    # The binary form of what a database defines itself holds oids, which a restore changes.
    own: bool = False


def v(type_: str, *values: str, name: str = "", needs: str = "", since: int = 0) -> Variant:
    """A built-in type."""
    return Variant(name or type_, type_, values, needs, since)


def own(type_: str, *values: str, name: str = "", needs: str = "") -> Variant:
    """A type that is made of `SETUP`'s or an extension's."""
    return Variant(name or type_, type_, values, needs, own=True)


# The types that the database defines itself, in the order that they need each other.
SETUP = r"""
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", really', 'a,b', '{curly}', 'back\slash', ' blank ',
    'Grüße', '日本', '(paren)', 'NULL');
CREATE TYPE pair AS (i int, t text);
CREATE TYPE nest AS (p pair, ps pair[], f float8, c char(4), m mood, n numeric, d date);
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
CREATE TYPE wordy AS ENUM ('x');
CREATE FUNCTION shouted(wordy) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'SHOUTED';
CREATE FUNCTION summed(pair) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'a pair';
CREATE CAST (wordy AS text) WITH FUNCTION shouted(wordy);
CREATE CAST (pair AS text) WITH FUNCTION summed(pair);
CREATE DOMAIN d_bool AS bool;
CREATE DOMAIN d_int2 AS int2;
CREATE DOMAIN d_int4 AS int4 CHECK (VALUE <> 13);
CREATE DOMAIN d_int8 AS int8;
CREATE DOMAIN d_float4 AS float4;
CREATE DOMAIN d_float8 AS float8;
CREATE DOMAIN d_numeric AS numeric;
CREATE DOMAIN d_money2 AS numeric(10,2);
CREATE DOMAIN d_text AS text;
CREATE DOMAIN d_varchar AS varchar(7);
CREATE DOMAIN d_bpchar AS char(6);
CREATE DOMAIN d_name AS name;
CREATE DOMAIN d_bytea AS bytea;
CREATE DOMAIN d_uuid AS uuid;
CREATE DOMAIN d_date AS date;
CREATE DOMAIN d_time AS time;
CREATE DOMAIN d_timestamp AS timestamp;
CREATE DOMAIN d_timestamptz AS timestamptz(3);
CREATE DOMAIN d_mood AS mood;
CREATE DOMAIN d_wordy AS wordy;
CREATE DOMAIN d_ints AS int[];
CREATE DOMAIN d_pair AS pair;
CREATE DOMAIN d_jsonb AS jsonb;
CREATE DOMAIN d_inet AS inet;
CREATE DOMAIN d_char AS "char";
CREATE DOMAIN dd_money2 AS d_money2 CHECK (VALUE < 1000000);
CREATE DOMAIN ddd_money2 AS dd_money2;
CREATE DOMAIN dd_bpchar AS d_bpchar NOT NULL DEFAULT 'x';
CREATE DOMAIN dd_mood AS d_mood;
"""

_TEXTS = (
    "", " ", "  both  ", "NULL", "null", r"\N", r"\.", "a\n\\.\nb", "\\", "\\\\", r"\x41", "'",
    "''", '"', '""', '"quoted"', ",", ";", "\n", "\r", "\r\n", "a\r\nb\nc\rd", "\t",
    "\b\f\v", "\x01\x1f\x7f", "{}", "%s %", "$1", "NaN", "true", "\u00e9", "e\u0301", "Grüße",
    "日本語", "\U0001f600\u200d", "\u202e\ufeff\uffff", "\U0010ffff", "x" * 3000, "-- c", "/* c */",
    "1.10", "01", "+1",
)  # fmt: skip
_DATES = (
    "2000-01-01", "1970-01-01", "1969-12-31", "0001-01-01", "9999-12-31", "2024-02-29",
    "1582-10-10", "1900-02-28",
)  # fmt: skip
_FAR_DATES = (
    "infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "10000-01-01", "5874897-12-31",
)  # fmt: skip
_STAMPS = (
    "2000-01-01 00:00:00", "1970-01-01 00:00:00.000001", "1969-12-31 23:59:59.999999",
    "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2016-12-31 23:59:60",
    "2024-03-31 02:30:00", "1800-01-01 12:34:56.7",
)  # fmt: skip
_FAR_STAMPS = (
    "infinity", "-infinity", "4713-01-01 00:00:00 BC", "0001-12-31 23:59:59.999999 BC",
    "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999",
)  # fmt: skip
_TIMES = ("00:00:00", "23:59:59.999999", "12:00:00.000001", "00:00:00.1")
_FLOATS = ("0", "-0", "1", "-1", "0.1", "0.3", "NaN", "Infinity", "-Infinity")
_FLOAT8S = (
    *_FLOATS, "1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308",
    "5e-324", "-5e-324", "1e23", "9007199254740993", "0.30000000000000004",
)  # fmt: skip
_FLOAT4S = (
    *_FLOATS, "3.4028235e38", "-3.4028235e38", "1.17549435e-38", "1e-45", "16777217", "8388608.5",
)  # fmt: skip
_NUMERICS = (
    "0", "0.0", "0.00", "-0", "1", "1.0", "1.10", "-1.5", "1e10", "123456789012345678901234567890",
    "0.000000000000000000000000000001", "1e-16383", "1e1000", "9" * 200 + "." + "9" * 100, "NaN",
    "Infinity", "-Infinity", "10000", "9999.9999", "1" + "0" * 131071,
)  # fmt: skip
_INTERVALS = (
    "0", "1 mon", "30 days", "24:00:00", "1 day", "-1 mons +2 days -03:00:00", "1 year -1 day",
    "-00:00:00.000001", "178000000 years", "-178000000 years", "2147483647 days",
    "-2147483648 days", "2562047788:00:54.775807", "-2562047788:00:54.775807",
    "1 mon -1 day 00:00:01", "-2147483648 mons",
)  # fmt: skip
_JSONS = (
    "null", "true", '""', "[]", "{}", '{"a":1}', '{ "a" : 1 }', '{"a":1,"a":2}', '{"b":1,"a":2}',
    " [1, 2.0, 3e2, 1E400, -0, 0.10]\n", '"\\u00e9\\n\\\\\\""', '{"":{"":[{}]}}', '"日本"',
    "12345678901234567890.123456789012345678901234567890",
)  # fmt: skip

_NUMBERS = (
    v("bool", "t", "f"),
    v("int2", "-32768", "-1", "0", "1", "32767"),
    v("int4", "-2147483648", "-1", "0", "1", "2147483647"),
    v("int8", "-9223372036854775808", "-1", "0", "1", "4294967296", "9223372036854775807"),
    v("float4", *_FLOAT4S),
    v("float8", *_FLOAT8S),
    v("numeric", *_NUMERICS),
    v("numeric(10,2)", "0", "-0.01", "1", "1.1", "99999999.99", "-99999999.99"),
    v("numeric(10,2)", "1.10", "NaN", name="numeric(10,2) with NaN"),
    v("numeric(38,0)", "9" * 38, "-" + "9" * 38, "0"),
    v("numeric(38,10)", "9" * 28 + "." + "9" * 10, "0.0000000001", "-0.0000000001"),
    v("numeric(38,38)", "0." + "9" * 38, "-0." + "9" * 38, "0." + "0" * 37 + "1", "0"),
    v("numeric(39,2)", "9" * 37 + ".99", "-0.01"),
    v("numeric(1000,500)", "9" * 500 + "." + "9" * 500, "1"),
    v("numeric(5,-2)", "12345", "9999949", "-100", "0"),
    v("numeric(3,5)", "0.00999", "-0.00001", "0"),
    v("money", "0", "-0.01", "92233720368547758.07", "-92233720368547758.08", "1,234.50"),
)

_CHARACTERS = (
    v("text", *_TEXTS),
    v('text COLLATE "C"', *_TEXTS, name="text collate C"),
    v("varchar", *_TEXTS),
    v("varchar(5)", "", "abcde", "ab   ", "日本語日本", "a,\n\"'"),
    v("char(1)", "", "x", '"', "é", ","),
    v("char(5)", "", "ab", "ab   ", "   ab", "日本", "a\nb", "\\."),
    v("bpchar", "", "ab", "ab   ", "   ", "NULL"),
    v("name", "", "plain", "With \"quotes\" and 'more'", "x" * 63, "日本"),
    v('"char"', "", "a", " ", "\\", "'", '"', ",", "\n", "\x7f"),
    v('"char"', Sql("(-56)::\"char\""), name="char beyond ascii"),
    v("bytea", "", r"\x00", r"\xdeadbeef",
      Sql(r"'\xff00'::bytea || repeat(E'\\001', 5000)::bytea")),
    v("uuid", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    v("bit(1)", "0", "1"),
    v("bit(13)", "0" * 13, "1010101010101"),
    v("bit varying", "", "0", "1" * 100),
    v("varbit(9)", "", "000000000", "1"),
    v("xml", "<a>b</a>", "<a/><b/>", "text", "<?xml version=\"1.0\"?><a  b='c'/>", "&lt;", "",
      "<!DOCTYPE a><a/>", needs="xml"),
    v("json", *_JSONS),
    v("jsonb", *_JSONS),
    v("jsonpath", "$", "$.a[*] ? (@ > 1)", 'strict $."quoted key"[0 to last]', "$.a.size() + 1",
      r'$.a ? (@ like_regex "^\\d+$" flag "i")'),
    v("tsvector", "", "a:1A,2B fat:3 'it''s':4 'a b'", "x", "'\\\\'"),
    v("tsquery", "", "a & !b | (c <-> d)", "'it''s':*AB", "a <5> b", "!!a"),
)  # fmt: skip

_TIMES_AND_DATES = (
    v("date", *_DATES),
    v("date", *_DATES, *_FAR_DATES, name="date far"),
    v("time", *_TIMES),
    v("time", *_TIMES, "24:00:00", "23:59:60", name="time to 24"),
    v("time(3)", "12:34:56.789", "23:59:59.9999", name="time of 3"),
    v("timetz", "00:00:00+00", "24:00:00-15:59", "12:34:56.789012+15:59:59", "12:00:00-03:30"),
    v("timestamp", *_STAMPS),
    v("timestamp", *_STAMPS, *_FAR_STAMPS, name="timestamp far"),
    v("timestamp(0)", "2024-01-01 12:34:56.7", name="timestamp of 0"),
    v("timestamptz", *(f"{s}+00" for s in _STAMPS), "2024-06-01 12:00:00+15:59"),
    v("timestamptz", "infinity", "-infinity", "4713-01-01 00:00:00+00 BC",
      "294276-12-31 23:59:59.999999+00", name="timestamptz far"),
    v("interval", *_INTERVALS),
    v("interval", "infinity", "-infinity", "1 day", name="interval without end", since=17),
    v("interval year to month", "1 year 2 mons", name="interval fields"),
    v("interval(2)", "1.239 seconds", name="interval of 2"),
)  # fmt: skip

_OTHERS = (
    v("point", "(0,-0)", "(1.5,-2.5)", "(NaN,Infinity)", "(5e-324,1.7976931348623157e308)"),
    v("line", "{1,2,3}", "{0,-1,0.1}"),
    v("lseg", "[(0,0),(1,1)]", "[(1,1),(0,0)]"),
    v("box", "(1,1),(0,0)", "(2.5,3.5),(-1,-0)"),
    v("path", "[(0,0),(1,1)]", "((0,0),(1,1))", "[(0.1,0.2)]"),
    v("polygon", "((0,0),(1,1),(0,1))", "((0,0))"),
    v("circle", "<(0,0),0>", "<(1.5,-1),2.25>"),
    v("cidr", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "1.2.3.4/32"),
    v("inet", "1.2.3.4", "1.2.3.4/24", "::1", "::1/64", "::ffff:1.2.3.4", "1.2.3.4/32"),
    v("macaddr", "08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"),
    v("macaddr8", "08:00:2b:01:02:03:04:05", "00:00:00:ff:fe:00:00:00"),
    v("oid", "0", "1", "4294967295"),
    v("xid", "0", "4294967295"),
    v("xid8", "0", "18446744073709551615"),
    v("cid", "0", "4294967295"),
    v("tid", "(0,0)", "(4294967295,65535)"),
    v("pg_lsn", "0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848"),
    v("pg_snapshot", "10:20:10,14,15", "1:1:"),
    v("txid_snapshot", "10:20:10,14,15", "1:1:"),
    v("refcursor", "", "<unnamed portal 1>", '"x"'),
    v("int2vector", "", "1 2 3", "-1"),
    v("oidvector", "", "1 4294967295"),
    own("aclitem", "=r/postgres", "postgres=arwdDxt/postgres"),
    own("regclass", "pg_class", "public.pinned", "-", "4294967295"),
    own("regproc", "now", "-"),
    own("regprocedure", "sum(int8)", "public.shouted(public.wordy)", "-"),
    own("regoper", "pg_catalog.||/", "0"),
    own("regoperator", "+(int4,int4)", "!~~(text,text)"),
    own("regtype", "int4", "public.mood[]", "timestamp(3) with time zone", "-"),
    own("regrole", "postgres", "-"),
    own("regnamespace", "public", "pg_catalog", "-"),
    own("regconfig", "simple", "english"),
    own("regdictionary", "simple"),
    own("regcollation", '"C"', "default"),
)

_ARRAYS = (
    v("bool[]", "{}", "{t,f,NULL}"),
    v("int2[]", "{}", "{-32768,NULL,32767}"),
    v("int4[]", "{}", "{1}", "{NULL}", "{{1,2},{3,4}}", "[0:2]={1,2,3}", "[-3:-2][5:5]={{1},{2}}",
      "{{{1}},{{2}}}"),
    v("int4[3][3]", "{1,2,3,4}", name="int4 array of bounds"),
    v("int8[]", "{9223372036854775807,-9223372036854775808}"),
    v("float4[]", "{-0,NaN,Infinity,1e-45}"),
    v("float8[]", "{-0,0,NaN,-Infinity,5e-324,0.30000000000000004}"),
    v("numeric[]", "{1.0,1.00,NaN,Infinity}"),
    v("numeric(6,3)[]", "{1.5,NULL}"),
    v("money[]", "{1.5}"),
    v("text[]", "{}", '{""}', "{NULL}", '{"NULL"}', '{"a,b","c\\"d","e\\\\f","{}"," "}', '{"\n"}',
      "[2:3]={a,日本}", '{{a,b},{c,NULL}}'),
    v("varchar(3)[]", "{abc,a}"),
    v("char(4)[]", '{"a   ","",NULL}'),
    v('"char"[]', "{a,NULL}"),
    v("name[]", '{a,"b c"}'),
    v("bytea[]", r'{"\\x00","\\xff",NULL,""}'),
    v("uuid[]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
    v("date[]", "{2000-01-01,infinity,\"0044-03-15 BC\"}"),
    v("time[]", "{24:00:00,00:00:00.000001}"),
    v("timestamp[]", "{infinity,\"294276-12-31 23:59:59.999999\"}"),
    v("timestamptz[]", "{-infinity,\"2000-01-01 00:00:00.5+00\"}"),
    v("interval[]", '{"1 mon","30 days"}'),
    v("json[]", '{"{\\"a\\": 1}"}'),
    v("jsonb[]", '{"{\\"a\\": 1}",NULL}'),
    v("inet[]", "{1.2.3.4/24,::1}"),
    v("bit(3)[]", "{101,000}"),
    v("point[]", '{"(1,-0)"}'),
    v("box[]", "{(1,1),(0,0);(2,2),(1,1)}"),
    v("tsvector[]", '{"a:1"}'),
    v("int4range[]", '{"[1,5)",empty}'),
    own("mood[]", "{sad,NULL}", '{"a,b","NULL"," blank ","back\\\\slash"}'),
    own("pair[]", '{"(1,a)","(,)",NULL}', '{"(2,\\"x,y\\")"}'),
    own("d_money2[]", "{1.5,NULL}"),
    own("d_mood[]", "{sad}"),
)  # fmt: skip

_RANGES = (
    v("int4range", "empty", "[1,5)", "(,5)", "[1,)", "(,)"),
    v("int8range", "[-9223372036854775808,0)", "empty"),
    v("numrange", "[1.0,1.00]", "(NaN,)", "[-Infinity,1.10)", "[0,1]"),
    v("tsrange", '["2000-01-01 00:00:00",infinity)', "(,)", '[-infinity,"0044-03-15 00:00:00 BC"]'),
    v("tstzrange", '["2000-01-01 00:00:00+00","2000-01-01 00:00:00.000001+00"]'),
    v("daterange", "[2000-01-01,2000-01-02)", "[,infinity]", "(-infinity,)"),
    v("int4multirange", "{}", "{[1,2),[5,6)}", "{(,)}"),
    v("int8multirange", "{[1,9223372036854775807)}"),
    v("nummultirange", "{[1.0,1.00],(2,NaN]}"),
    v("tsmultirange", "{[2000-01-01,2000-01-02)}", "{}"),
    v("tstzmultirange", "{[2000-01-01,infinity)}"),
    v("datemultirange", "{[2000-01-01,2000-01-02),[2001-01-01,)}"),
    own("floatrange", "[-0,0]", "[5e-324,Infinity)", "(,NaN]"),
    own("floatmultirange", "{[-1,0),(0,1]}"),
    own("textrange", '["a,b","c)d"]', '["",a)', '["x\\"y",)'),
)

_DEFINED = (
    own("mood", "sad", "it's \"ok\", really", "a,b", "{curly}", "back\\slash", " blank ", "Grüße",
        "日本", "(paren)", "NULL"),
    own("wordy", "x", name="enum with a cast function"),
    own("pair", "(1,a)", "(,)", '(,"")', '(1,"it\'s ""q"", \\\\ and )")', '(2," ")', "(3,NULL)"),
    own("nest", "(,,,,,,)", '("(1,x)","{""(2,y)""}",-0,"a   ",sad,1.00,infinity)'),
    own("d_bool", "t"), own("d_int2", "-32768"), own("d_int4", "2147483647"),
    own("d_int8", "-9223372036854775808", "4294967296"),
    own("d_float4", *_FLOAT4S), own("d_float8", *_FLOAT8S),
    own("d_numeric", "1.0", "1.00", "NaN", "Infinity"),
    own("d_money2", "1", "1.10", "-99999999.99"), own("d_money2", "NaN", name="d_money2 with NaN"),
    own("dd_money2", "1.10", "2"), own("ddd_money2", "999999.99"),
    own("d_text", *_TEXTS), own("d_varchar", "", "abcdefg", "a      "),
    own("d_bpchar", "", "ab", "日本"), own("d_name", "", "x" * 63),
    own("d_bytea", "", r"\x00ff"), own("d_uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    own("d_date", *_DATES), own("d_date", *_FAR_DATES, name="d_date far"),
    own("d_time", *_TIMES), own("d_time", "24:00:00", name="d_time to 24"),
    own("d_timestamp", *_STAMPS), own("d_timestamp", *_FAR_STAMPS, name="d_timestamp far"),
    own("d_timestamptz", "2000-01-01 00:00:00.1239+00", "0001-01-01 00:00:00+00"),
    own("d_mood", "sad", "日本"), own("dd_mood", "NULL"), own("d_wordy", "x"),
    own("d_ints", "{}", "[0:1]={1,NULL}"), own("d_pair", "(1,a)", "(,)"),
    own("d_jsonb", '{"a": 1}'), own("d_inet", "1.2.3.4", "1.2.3.4/24"), own("d_char", "a", ""),
)  # fmt: skip

_EXTENSIONS = (
    own("hstore", "", "a=>1,b=>NULL", '"a b"=>"x, \\"y\\" => z",""=>""', needs="hstore"),
    own("citext", "", "MixedCase", "ÉCOLE", needs="citext"),
    own("citext[]", "{A,a,NULL}", needs="citext"),
    own("ltree", "", "Top.Science.Astronomy", needs="ltree"),
    own("lquery", "*.Astronomy{1,2}.!a|b*@", needs="ltree"),
    own("ltxtquery", "Europe & Russia*@ & !Transportation", needs="ltree"),
    own("cube", "(1,2),(3,4)", "(0.30000000000000004)", "(-0)", needs="cube"),
    own("seg", "1.5 .. 2.50", "~1.0", "0 ..", needs="seg"),
    own("isbn13", "978-0-393-04002-9", needs="isn"),
    own("issn", "1436-4522", needs="isn"),
    own("ean13", "978-0-11-000533-1", needs="isn"),
    own("lo", "4294967295", needs="lo"),
    own("vector(3)", "[1,-0.5,1e-30]", needs="vector"),
)

VARIANTS = (
    *_NUMBERS, *_CHARACTERS, *_TIMES_AND_DATES, *_OTHERS, *_ARRAYS, *_RANGES, *_DEFINED,
    *_EXTENSIONS,
)  # fmt: skip

# Extensions that hold a type of VARIANTS, created where the server has them.
EXTENSIONS = tuple(dict.fromkeys(x.needs for x in VARIANTS if x.needs not in {"", "xml"}))

# Type, one value, and another that looks or counts as the same somewhere on the way.
LOOKALIKES = (
    ("float4", "0", "-0"),
    ("float8", "0", "-0"),
    ("float8", "0.3", "0.30000000000000004"),
    ("float8[]", "{0}", "{-0}"),
    ("point", "(0,0)", "(0,-0)"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "NaN", "0"),
    ("numeric[]", "{1.0}", "{1.00}"),
    ("numeric(10,2)", "1.10", "1.11"),
    ("numrange", "[1.0,2]", "[1.00,2]"),
    ("int8", "1", "4294967296"),
    ("int8", "-1", "-4294967298"),
    ("time", "00:00:00.000001", "01:11:34.967296"),
    ("timestamp", "2000-01-01 00:00:00.000001", "2000-01-01 01:11:34.967296"),
    ("timestamptz", "2000-01-01 00:00:00.000001+00", "2000-01-01 01:11:34.967296+00"),
    ("bpchar", "a", "a "),
    ("bpchar[]", "{a}", '{"a "}'),
    ("text", "a", "a "),
    ("text", "", "NULL"),
    ("text", "\u00e9", "e\u0301"),
    ("text", "a", "A"),
    ("varchar", "1", "01"),
    ("citext", "a", "A"),
    ("bytea", r"\x", r"\x00"),
    ("time", "00:00:00", "24:00:00"),
    ("timetz", "12:00:00+00", "13:00:00+01"),
    ("timestamp", "infinity", "-infinity"),
    ("date", "0001-01-01", "0001-01-01 BC"),
    ("interval", "1 mon", "30 days"),
    ("interval", "1 day", "24:00:00"),
    ("json", '{"a":1}', '{"a": 1}'),
    ("json", '{"a":1,"a":2}', '{"a":2}'),
    ("jsonb", "1.0", "1.00"),
    ("inet", "1.2.3.4/24", "1.2.3.0/24"),
    ("bit varying", "0", "00"),
    ("int4[]", "{1,2}", "{{1,2}}"),
    ("int4[]", "{1,2}", "[0:1]={1,2}"),
    ("int4[]", "{}", "{NULL}"),
    ("text[]", "{NULL}", '{"NULL"}'),
    ("pair", "(,)", '(,"")'),
    ("path", "[(0,0),(1,1)]", "((0,0),(1,1))"),
    ("circle", "<(0,0),1>", "<(0,0),2>"),
    ("hstore", "a=>NULL", 'a=>"NULL"'),
    ("tsvector", "a:1", "a:1A"),
    ("int4range", "empty", "(,)"),
    ("pg_lsn", "0/1", "1/0"),
    ("xid8", "1", "4294967296"),
    ("mood", "NULL", " blank "),
    ("d_bpchar", "a", "b"),
    ("d_float8", "0", "-0"),
)
