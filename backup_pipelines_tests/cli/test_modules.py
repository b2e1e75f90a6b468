"""`modules`: each module's live records and last backup, without Dagster."""

import re

import pytest

from backup_pipelines_tests.cli.conftest import Cli, Live
from backup_pipelines_tests.fix_receivers import free_port

MODULES = ["leads", "contacts", "accounts", "deals", "meetings", "tasks", "other"]


def test_live_records_and_last_backups(cli: Cli, live: Live) -> None:
    """The rows are those of now beside those of the backup; the audit trail knows who looked."""
    [(contacts, emails)] = live.rows(
        "SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM contact_emails)"
    )
    live.run("DELETE FROM contact_emails WHERE ctid = (SELECT max(ctid) FROM contact_emails)")
    alone = cli("backup", "crm", "--module", "tasks", "--json").document["id"]
    found = cli("modules", "crm", "--as", "ada", "--json")
    assert (found.code, found.document["problem"]) == (0, None)
    by_name = {one["module"]: one for one in found.document["modules"]}
    assert list(by_name) == MODULES
    shown = by_name["contacts"]
    assert (shown["live_rows"], shown["live_rows_are"]) == (contacts + emails - 1, "counted")
    assert shown["live"] == {"public.contacts": contacts, "public.contact_emails": emails - 1}
    assert (shown["backup"]["id"], shown["backup"]["rows"]) == (live.backup_id, contacts + emails)
    assert by_name["tasks"]["backup"]["id"] == alone
    printed = cli("modules", "crm")
    assert printed.code == 0
    row = next(line for line in printed.out.splitlines() if line.startswith("contacts "))
    assert re.split(r"  +", row)[1:4] == ["2", f"{contacts + emails - 1:,}", live.backup_id]
    records = cli("audit", "crm", "--operation", "modules", "--json").document
    assert {record["operator"] for record in records} >= {"ada"}


def test_a_database_that_is_down_hides_only_the_live_records(
    cli: Cli, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backups are shown all the same, with the reason on stderr and exit code 1."""
    url = f"postgresql://nobody:hunter22@127.0.0.1:{free_port()}/crm"
    monkeypatch.setenv("CRM_DATABASE_URL", url)
    found = cli("modules", "crm", "--json")
    assert found.code == 1 and "live records are not counted" in found.err
    assert "hunter22" not in found.out + found.err
    contacts = found.document["modules"][1]
    assert (contacts["live_rows"], contacts["backup"]["id"]) == (None, live.backup_id)
    assert contacts["tables"] == ["public.contacts", "public.contact_emails"]
    assert found.document["problem"]


def test_an_unknown_system_is_refused(cli: Cli) -> None:
    """Exit code 2, and the systems that there are."""
    refused = cli("modules", "nosuch")
    assert (refused.code, refused.out) == (2, "") and "crm" in refused.err
