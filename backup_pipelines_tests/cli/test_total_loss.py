"""The application's database is dropped and restored; what tells of its backups is not in it."""

from urllib.parse import urlsplit

import psycopg

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.cli.conftest import Cli, Live


def test_catalog_audit_and_health_outlive_the_database(cli: Cli, demo: Demo, live: Live) -> None:
    """All of it is as it was, says what happened meanwhile, and knows the database when back."""
    name, content = urlsplit(live.url).path.removeprefix("/"), live.content()
    shown, listed = (cli(verb, "crm", "--json").document for verb in ("audit", "list"))
    with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    failed = cli("backup", "crm")
    assert failed.code == 1
    assert f'database "{name}" does not exist' in failed.err
    assert guard(cli, "readable") == guard(cli, "success") == "error"

    with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER crm_owner TEMPLATE template0".encode())
    arguments = ("--into", "CRM_DATABASE_URL", "--confirm", "CONFIRM", "--json")
    restored = cli("restore", "crm", "latest", *arguments)
    assert restored.code == 0, restored.err
    assert restored.document["backup"] == live.backup_id
    assert live.content() == content

    assert cli("list", "crm", "--json").document == listed
    later = [r for r in cli("audit", "crm", "--json").document if r["operation"] != "list"]
    assert later[-len([r for r in shown if r["operation"] != "list"]) :] == [
        record for record in shown if record["operation"] != "list"
    ]
    assert [(r["operation"], r["outcome"]) for r in later[:2]] == [
        ("restore_into", "done"),
        ("backup", "failed"),
    ]
    assert cli("audit", "crm", "--verify").code == 0
    assert guard(cli, "readable") == "ok"


def guard(cli: Cli, name: str) -> str:
    """What `status` says of one guard."""
    result = cli("status", "crm", "--json")
    [status] = [f["status"] for f in result.document["findings"] if f["guard"] == name]
    return status
