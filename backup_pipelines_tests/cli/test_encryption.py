"""Encrypted backups on the command line: list, show, status, verify, and encrypting anew."""

from collections.abc import Callable

import pytest

from backup_pipelines import catalog
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup
from backup_pipelines_tests.fix_backup import back_up, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_encrypted_objects import pair

_ANEW = ("reencrypt", "crm", "all", "--confirm", "CONFIRM")


def test_a_backup_s_encryption_is_shown_verified_and_taken_away(
    cli: Cli,
    own_store: Store,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a host without an identity to one with it, whose YAML names no recipients any more."""
    identity, public = pair()
    monkeypatch.delenv(BACKUP_AGE_IDENTITY, raising=False)
    database = make_database(server)
    database.run("CREATE TABLE people (id int PRIMARY KEY)", "INSERT INTO people VALUES (1)")
    encryption = EncryptionSpec(recipients=[public])
    system = whole_system("crm").model_copy(update={"encryption": encryption})
    entry = back_up(database.admin_url, own_store, system)

    [row] = cli("list", "crm", "--json").document
    assert (row["id"], row["encrypted"], row["copy_of"]) == (entry.id, True, "")
    shown = cli("show", "crm", entry.id)
    assert f"encrypted  to {public}; no identity on this machine" in shown.out
    verified = cli("verify", "crm", "latest")
    assert verified.code == 0, verified.err
    assert verified.out.endswith("; no identity here opens it: bytes only\n")
    assert "1 of 1 backup; no identity here that could open them" in cli("status", "crm").out
    refused = cli(*_ANEW)
    assert (refused.code, "BACKUP_AGE_IDENTITY is not set" in refused.err) == (2, True)

    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    document = cli("show", "crm", entry.id, "--json").document
    assert document["encryption"] == {"recipients": [public], "opens": True}
    status = cli("status", "crm", "--json").document
    assert (status["encrypted"], status["opened"]) == (1, 1)
    assert "the identity here opens all of them" in cli("status", "crm").out
    done = cli(*_ANEW, "--json")
    assert done.code == 0, done.err
    [backup] = done.document["backups"]
    assert (backup["old"], backup["kept"]) == (entry.id, "")
    [row] = cli("list", "crm", "--json").document
    assert (row["id"], row["encrypted"], row["copy_of"]) == (backup["new"], False, entry.id)
    # Its old id still finds it.
    assert f"copy of    {entry.id}" in cli("show", "crm", entry.id).out


def test_nothing_is_encrypted_anew_without_the_word(cli: Cli, own_store: Store) -> None:
    """Without CONFIRM, or of a backup that there is none of, nothing begins."""
    entry = put_backup(own_store)
    for arguments, said in (
        (("all",), "--confirm CONFIRM"),
        (("all", "--confirm", "yes"), "--confirm CONFIRM"),
        (("20200101T000000Z-manual-000000", "--confirm", "CONFIRM"), "has no backup"),
    ):
        result = cli("reencrypt", "crm", *arguments)
        assert (result.code, said in result.err) == (2, True)
    assert [found.id for found in catalog.backups(own_store, "crm")] == [entry.id]
