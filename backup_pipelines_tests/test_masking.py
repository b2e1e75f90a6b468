"""Masked copies of the sample CRM: nothing of the people is left, everything still fits."""

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from pyrage import x25519

from backup_pipelines.csv.export import Asked, export_backup, export_live
from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Failed, NotEqual, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.masking.facts import facts_of_backup
from backup_pipelines.masking.masked_copy import MaskedCopy, copy_masked
from backup_pipelines.masking.policy import make_policy
from backup_pipelines.restoring import load
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.exactness import connect, contents
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_masking import KEY, OTHER_KEY, crm_rules
from backup_pipelines_tests.fix_postgres import Database, Server

Make = Callable[[Server], Database]

CRM = whole_system("crm").model_copy(update={"masking": MaskingSpec(tables=crm_rules())})

ALL = Selection(modules=("all",))

# What nobody else has by chance: wherever one of these is found, it is that person's.
TELLING = (
    *("users.id", "users.username", "users.email", "users.last_login_ip"),
    *("contacts.email", "contacts.phone", "contacts.mobile", "contacts.social"),
    *("contact_emails.address", "leads.email", "leads.phone", "leads.signup_ip"),
    *("leads.message", "accounts.website", "accounts.description", "accounts.name"),
    *("account_addresses.street", "account_addresses.id", "meeting_notes.body"),
    *("meetings.subject", "deals.name", "task_comments.body", "tasks.description"),
)


@dataclass(frozen=True)
class Crm:
    """The sample CRM and a backup of it."""

    url: str
    entry: Manifest
    folder: Path

    @property
    def store(self) -> Store:
        """Where the backup is."""
        return Store(self.folder.as_uri())


@pytest.fixture(scope="module")
def crm(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Crm, None, None]:
    """One CRM for all tests, which only read it."""
    name, folder = f"t_{secrets.token_hex(6)}", tmp_path_factory.mktemp("crm")
    create_database(server.url, "crm", scale=0.05, database=name)
    try:
        yield Crm(server.url(name), back_up(server.url(name), Store(folder.as_uri()), CRM), folder)
    finally:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the tests."""
    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)


def made(crm: Crm, target: Database, system: System = CRM) -> MaskedCopy:
    """A masked copy of the CRM."""
    return copy_masked(system, crm.store, crm.entry, target.admin_url, report=ignore)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with connect(url) as connection:
        connection.execute("SET search_path = public")
        return connection.execute(query.encode()).fetchall()


def bytes_of(folder: Path) -> dict[str, str]:
    """The sha256 of every object of a store."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


JOINS = (
    "SELECT count(*) FROM contacts c JOIN contact_emails e ON e.contact_id = c.id",
    "SELECT count(*) FROM contacts c JOIN contact_emails e ON e.address = c.email",
    "SELECT count(*) FROM users u JOIN tasks t ON t.assignee_id = u.id",
    "SELECT count(*) FROM users u JOIN users m ON m.id = u.manager_id",
    "SELECT count(*) FROM users u JOIN lead_imports_log l ON l.imported_by = u.id",
    "SELECT count(*) FROM deals d JOIN contacts c ON c.id = d.contact_id"
    " JOIN accounts a ON a.primary_contact_id = c.id",
    "SELECT count(*), count(DISTINCT email), count(DISTINCT id) FROM contacts",
    "SELECT count(*), count(DISTINCT username), count(DISTINCT lower(email)) FROM users",
    "SELECT count(*) FROM (SELECT FROM leads GROUP BY company) AS x",
    "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated",
    "SELECT count(*) FROM pg_index WHERE indisunique AND indisvalid",
    "SELECT count(*), sum(amount) FROM pipeline_by_stage_month",
)


def test_a_copy_joins_as_the_original_and_has_nothing_of_its_people(
    crm: Crm, server: EmbeddedServer, make_database: Make
) -> None:
    """Every key and join finds as many rows, no telling value is anywhere, what is not masked is
    the same, and neither the backup nor the live database has changed."""
    before, target = bytes_of(crm.folder), make_database(server)
    done = made(crm, target)
    for query in JOINS:
        [found], [meant] = rows(target.admin_url, query), rows(crm.url, query)
        assert found == meant, query
        assert any(meant), query

    copied = contents(target.admin_url)
    everything = b"\n".join(line for lines in copied.values() for line in lines)
    cells = set(everything.replace(b"\n", b"\t").split(b"\t"))
    for place in TELLING:
        table, column = place.split(".")
        values = {
            text.encode()
            for (text,) in rows(crm.url, f"SELECT DISTINCT {column}::text FROM {table}")
            if text
        }
        assert len(values) > 10, place
        assert not values & cells, place
        if column in ("email", "address", "username", "street") or table == "meeting_notes":
            # Not within other texts either.
            assert not [value for value in values if value in everything], place

    ids = "SELECT id FROM contacts"
    assert not {*rows(target.admin_url, ids)} & {*rows(crm.url, ids)}
    masked = {one.column.rpartition(".")[0] for one in done.columns}
    original = contents(crm.url)
    same = {name for name, lines in copied.items() if lines == original[name]}
    assert {"public.lead_sources", "public.deal_stages", "public.products"} <= same
    assert not same & masked
    assert set(done.by_digest) == {t.qualified for t in crm.entry.tables} - masked
    assert bytes_of(crm.folder) == before


def test_what_is_told_of_a_copy(crm: Crm, server: EmbeddedServer, make_database: Make) -> None:
    """Each masked column with its mask and how many values it had; how many nobody decided on."""
    done = made(crm, make_database(server))
    told = {one.column: (one.how, one.values) for one in done.columns}
    [(phones, socials)] = rows(crm.url, "SELECT count(phone), count(social) FROM contacts")
    assert told["public.contacts.phone"] == ("fake phone", phones)
    assert told["public.contacts.social"] == ("fake empty", socials)
    assert told["public.leads.owner_id"][0] == "hash"
    assert told["public.accounts.description"][0] == "null"
    columns = sum(len([c for c in t.columns if not c.generated]) for t in crm.entry.tables)
    assert done.undecided == columns - len(done.columns)
    assert done.restored.rows == crm.entry.records_count
    assert json.loads(json.dumps(done.document()))["undecided"] == done.undecided


def test_the_same_key_gives_the_same_copy_another_one_another(
    crm: Crm, server: EmbeddedServer, make_database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies with one key are equal in every row, so that later copies join with earlier ones;
    with another key no masked id or address is the same."""
    first, second, third = (make_database(server) for _ in range(3))
    made(crm, first)
    made(crm, second)
    monkeypatch.setenv("BACKUP_MASKING_KEY", OTHER_KEY)
    made(crm, third)
    assert contents(first.admin_url) == contents(second.admin_url)
    for query in ("SELECT id FROM users", "SELECT id FROM contacts", "SELECT email FROM contacts"):
        ours, theirs = rows(first.admin_url, query), rows(third.admin_url, query)
        assert len(ours) == len(theirs) > 0
        assert not set(ours) & set(theirs)


def test_masked_files_are_the_same_from_live_and_from_a_backup(
    crm: Crm, server: EmbeddedServer, make_database: Make, tmp_path: Path
) -> None:
    """Byte for byte, with what was masked in the note beside them; the values are those that a
    masked restore has."""
    names = ("live", "kept", "plain")
    live, kept, plain = (tmp_path / name for name in names)
    masking = CRM.masking
    done = export_live(CRM, crm.url, Asked(ALL, live, masking=masking), report=ignore)
    export_backup(crm.store, crm.entry, Asked(ALL, kept, masking=masking), report=ignore)
    export_backup(crm.store, crm.entry, Asked(ALL, plain), report=ignore)
    found, backed, raw = (
        {path.name: path.read_bytes() for path in folder.glob("*.csv")}
        for folder in (live, kept, plain)
    )
    assert found == backed and len(found) == len(crm.entry.tables)
    assert found["products.csv"] == raw["products.csv"]
    assert found["contacts.csv"] != raw["contacts.csv"]

    [note] = [json.loads(path.read_bytes()) for path in live.glob("export-*.json")]
    assert note["masked"] is True and done.in_words.endswith(", masked")
    of_file = {one["file"]: one["columns"] for one in note["files"]}
    said = {c["name"]: c["masked"] for c in of_file["contacts.csv"]}
    assert (said["id"], said["email"], said["language"]) == ("hash", "fake email", "")
    [unmasked] = [json.loads(path.read_bytes()) for path in plain.glob("export-*.json")]
    assert unmasked["masked"] is False
    assert not any(c["masked"] for one in unmasked["files"] for c in one["columns"])

    target, loaded = make_database(server), tmp_path / "loaded"
    made(crm, target)
    export_live(CRM, target.admin_url, Asked(ALL, loaded), report=ignore)
    assert {
        path.name: sorted(path.read_bytes().split(b"\r\n")) for path in loaded.glob("*.csv")
    } == {name: sorted(data.split(b"\r\n")) for name, data in found.items()}


def test_an_export_of_some_tables_has_the_same_masks(crm: Crm, tmp_path: Path) -> None:
    """The files of one table alone are those of an export of everything."""
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    export_backup(crm.store, crm.entry, Asked(ALL, whole, masking=CRM.masking), report=ignore)
    one = Asked(Selection(tables=("tasks",)), alone, masking=CRM.masking)
    export_live(CRM, crm.url, one, report=ignore)
    assert (alone / "tasks.csv").read_bytes() == (whole / "tasks.csv").read_bytes()


def with_rules(rules: dict[str, Any], **more: Any) -> System:
    """The CRM's system with other rules."""
    return CRM.model_copy(update={"masking": MaskingSpec(tables=rules, **more)})


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"contacts": {"email": "hash"}}, "email_address violates check constraint"),
        ({"products": {"sku": {"fake": "text"}}}, 'check constraint "products_sku_format"'),
        ({"deals": {"closed_at": None}}, 'check constraint "deals_closed_has_date"'),
    ],
)  # fmt: skip
def test_what_the_database_refuses_changes_nothing(
    crm: Crm, server: EmbeddedServer, make_database: Make, rules: dict[str, Any], said: str
) -> None:
    """Masks that a CHECK or a domain does not take: PostgreSQL's reason, and an empty database."""
    target = make_database(server)
    with pytest.raises(Failed, match=f"cannot be loaded with its masks: .*{said}"):
        made(crm, target, with_rules(rules))
    assert contents(target.admin_url) == {}


def test_a_key_that_does_not_do_is_refused(
    crm: Crm,
    server: EmbeddedServer,
    make_database: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Unset, or short enough to be guessed; neither database nor folder is touched."""
    target, asked = make_database(server), Asked(ALL, tmp_path / "out", masking=CRM.masking)
    for value, said in ((None, "is not set"), (" ", "is not set"), ("short", "has 5 characters")):
        if value is None:
            monkeypatch.delenv("BACKUP_MASKING_KEY")
        else:
            monkeypatch.setenv("BACKUP_MASKING_KEY", value)
        for attempt in (
            lambda: made(crm, target),
            lambda: export_live(CRM, crm.url, asked, report=ignore),
            lambda: export_backup(crm.store, crm.entry, asked, report=ignore),
        ):
            with pytest.raises(Refused, match=f"BACKUP_MASKING_KEY {said}"):
                attempt()
    assert contents(target.admin_url) == {} and not asked.to.exists()


def test_nothing_but_an_empty_database(
    crm: Crm, server: EmbeddedServer, make_database: Make
) -> None:
    """A database with a table is refused, and stays as it is."""
    target = make_database(server)
    target.run("CREATE TABLE mine AS SELECT 1 AS id")
    with pytest.raises(Refused, match="is not empty"):
        made(crm, target)
    assert list(contents(target.admin_url)) == ["public.mine"]


def test_a_system_without_rules(crm: Crm, server: EmbeddedServer, make_database: Make) -> None:
    """It is refused: a copy that nobody masks is not one."""
    with pytest.raises(Refused, match=r"write them under masking in defs/crm/defs\.yaml"):
        made(crm, make_database(server), whole_system("crm"))
    with pytest.raises(Refused, match="the rules mask nothing of backup"):
        made(crm, make_database(server), with_rules({"users": "keep"}))


def test_a_damaged_backup(
    crm: Crm, server: EmbeddedServer, make_database: Make, tmp_path: Path
) -> None:
    """It is found before anything is written."""
    folder = tmp_path / "damaged"
    shutil.copytree(crm.folder, folder)
    [part] = [t.parts[0] for t in crm.entry.tables if t.qualified == "public.contacts"]
    (folder / part.key).write_bytes(b"rubbish")
    target = make_database(server)
    with pytest.raises(Damaged):
        made(Crm(crm.url, crm.entry, folder), target)
    assert contents(target.admin_url) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE public.users SET team = team || ' ' WHERE manager_id IS NULL",
         r"^what was read back is not what was sent: public\.users$"),
        ("DELETE FROM public.meeting_notes WHERE id = (SELECT min(id) FROM public.meeting_notes)",
         r"^what was read back is not what was sent: public\.meeting_notes$"),
        ("UPDATE public.products SET name = upper(name)",
         r"\n- public\.products has other content"),
    ],
)  # fmt: skip
def test_rows_that_arrive_otherwise_are_found(
    crm: Crm,
    server: EmbeddedServer,
    make_database: Make,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    said: str,
) -> None:
    """A table that is not what was sent, or one without masks that is not the backup's, fails the
    copy before its commit: one other value, one row less."""
    target, real = make_database(server), load.set_sequences

    def set_sequences(connection: Any, entry: Manifest) -> None:
        real(connection, entry)
        assert connection.execute(change).rowcount > 0

    monkeypatch.setattr(load, "set_sequences", set_sequences)
    with pytest.raises(NotEqual, match=said):
        made(crm, target)
    assert contents(target.admin_url) == {}


def test_an_encrypted_backup(
    crm: Crm,
    server: EmbeddedServer,
    make_database: Make,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is copied with its identity only, into the very same rows."""
    identity = x25519.Identity.generate()
    recipients = EncryptionSpec(recipients=[str(identity.to_public())])
    system = CRM.model_copy(update={"encryption": recipients})
    entry = back_up(crm.url, store, system)
    plain, target = make_database(server), make_database(server)
    with pytest.raises(Refused):
        copy_masked(system, store, entry, target.admin_url, report=ignore)
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(identity))
    copy_masked(system, store, entry, target.admin_url, report=ignore)
    made(crm, plain)
    assert contents(target.admin_url) == contents(plain.admin_url)


def test_a_backup_in_json_lines(
    crm: Crm, server: EmbeddedServer, make_database: Make, store: Store, tmp_path: Path
) -> None:
    """Its files and its copy are those of the backup in Parquet."""
    entry = back_up(crm.url, store, CRM.model_copy(update={"format": "jsonl"}))
    lines, parquet = tmp_path / "lines", tmp_path / "parquet"
    export_backup(store, entry, Asked(ALL, lines, masking=CRM.masking), report=ignore)
    export_backup(crm.store, crm.entry, Asked(ALL, parquet, masking=CRM.masking), report=ignore)
    found = {path.name: path.read_bytes() for path in parquet.glob("*.csv")}
    assert {path.name: path.read_bytes() for path in lines.glob("*.csv")} == found
    target, plain = make_database(server), make_database(server)
    copy_masked(CRM, store, entry, target.admin_url, report=ignore)
    made(crm, plain)
    assert contents(target.admin_url) == contents(plain.admin_url)


def test_the_example_in_the_docs(crm: Crm) -> None:
    """The rules that operations.md shows are rules for the sample CRM."""
    page = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
    text = page.read_text().partition("\n## Masked copies")[2].partition("\n## ")[0]
    [example] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    spec = MaskingSpec.model_validate(yaml.safe_load(example)["masking"])
    said = make_policy(spec, facts_of_backup(crm.store, crm.entry)).in_words
    assert said["public.contacts.first_name"] == "fake first_name"
    assert said["public.contacts.social"] == "null"
    assert said["public.contact_emails.id"] == "hash"
