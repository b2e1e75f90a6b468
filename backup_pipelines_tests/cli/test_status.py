"""`status`: what it prints, its exit code, and that it needs neither Dagster nor the database."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from backup_pipelines import verify
from backup_pipelines.cli.__main__ import cli as commands
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.health import health
from backup_pipelines.storage.store import Store
from backup_pipelines.systems import load_system
from backup_pipelines_tests import histories
from backup_pipelines_tests.cli.conftest import Cli, put_backup
from backup_pipelines_tests.fix_receivers import free_port


def test_it_is_healthy_with_a_fresh_backup_and_tells_the_numbers(
    cli: Cli, own_store: Store
) -> None:
    """Exit code 0, every guard in a line, and what to do about the one that warns."""
    backup = put_backup(own_store, hours_old=3)
    done = cli("status", "crm")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("crm: healthy")
    facts = {line[:14].strip(): line[14:].strip() for line in lines[1:10]}
    assert facts["last backup"] == f"{backup.id}, 3 h ago; 1 backup in all"
    assert facts["recovery point"].startswith("3.0 h now; target 2.1 days")
    assert any(line.split()[:2] == ["freshness", "ok"] for line in lines)
    assert "warning: restorable: No drill has passed yet" in done.out
    assert "`backup-pipelines drill crm`" in done.out


def test_json_is_one_document_and_a_list_without_a_system(cli: Cli, own_store: Store) -> None:
    """One object for a system, one for each without; the alerts are in both."""
    put_backup(own_store)
    document = cli("status", "crm", "--json").document
    assert (document["system"], document["healthy"], document["backups"]) == ("crm", True, 1)
    assert {"guard": "freshness", "status": "ok"}.items() <= document["findings"][0].items()
    assert any("No drill has passed" in alert for alert in document["alerts"])
    everything = cli("status", "--json")
    assert [one["system"] for one in everything.document] == ["crm", "dcim"]
    # dcim has no backup.
    assert everything.code == 1


def test_metrics_are_openmetrics_text(cli: Cli, own_store: Store) -> None:
    """The text parses, and has all systems."""
    put_backup(own_store)
    done = cli("status", "--metrics")
    healthy = {
        sample.labels["system"]: sample.value
        for family in text_string_to_metric_families(done.out)
        for sample in family.samples
        if sample.name == "backup_pipelines_healthy"
    }
    assert healthy == {"crm": 1, "dcim": 0}
    assert cli("status", "--metrics", "--json").code == 2


def test_a_red_guard_is_exit_code_1_with_what_to_do(cli: Cli, own_store: Store) -> None:
    """No backup, an old one, a damaged one: each is told, with a command."""
    assert "backup-pipelines backup crm" in cli("status", "crm").out
    assert cli("status", "crm").code == 1
    old = put_backup(own_store, hours_old=24 * 7)
    late = cli("status", "crm")
    assert late.code == 1
    assert "error: freshness: The newest good full backup" in late.out
    put_backup(own_store)
    assert cli("status", "crm").code == 0
    verify.remember(own_store, old, "an object is missing")
    damaged = cli("status", "crm")
    assert damaged.code == 1
    assert damaged.out.startswith("crm: NOT healthy: 1 error")
    assert "backup-pipelines delete crm BACKUP" in damaged.out


def test_what_it_says_to_type_is_understood(own_store: Store) -> None:
    """Every command in the advice of findings that are not ok is one of the program."""
    system = load_system("crm")
    now = histories.NOW
    typed: set[str] = set()

    def collect(store: Store) -> None:
        for finding in health.assess(store, system, now).findings:
            if finding.status != "ok":
                typed.update(re.findall(r"`(backup-pipelines [^`]+)`", finding.advice))

    collect(own_store)
    histories.put_backup(own_store, 24 * 99)
    collect(own_store)
    fallen = histories.put_backup(own_store, 24 * 98, {"public.deals": (10, 10)})
    collect(own_store)
    histories.put_backup(own_store, 24 * 97, {"public.deals": (10, 10), "public.b": (500, 5)})
    histories.put_backup(own_store, 24 * 96, {"public.b": (5000, 5)})
    verify.remember(own_store, fallen, "an object is missing")
    for operation in ("backup", "drill", "prune"):
        histories.put_record(own_store, operation, "failed", 1)
    health.latch(own_store, system, now)
    collect(own_store)
    histories.put_record(own_store, "prune", "done", 0.5)
    collect(own_store)
    verbs = {line.split()[1] for line in typed}
    assert verbs >= {"backup", "drill", "prune", "plan", "show", "delete", "acknowledge"}
    for line in typed:
        _, verb, *arguments = line.split()
        commands.commands[verb].make_context(verb, arguments)


def test_a_store_that_cannot_be_reached_is_one_sentence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, nothing on stdout."""
    monkeypatch.setenv(BACKUP_STORE_URL, "s3://bucket/prefix")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "unused")
    done = cli("status", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("the store failed at s3://bucket/prefix")


def test_the_database_is_looked_at_where_its_url_is_known(
    cli: Cli, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is down is red at once; without the URL the last look of the job counts."""
    put_backup(own_store)
    url = f"postgresql://reader:hunter22@127.0.0.1:{free_port()}/crm"
    monkeypatch.setenv("CRM_DATABASE_URL", url)
    down = cli("status", "crm")
    assert down.code == 1
    assert "error: readable: cannot connect" in down.out
    assert "hunter22" not in down.out + down.err
    monkeypatch.delenv("CRM_DATABASE_URL")
    assert cli("status", "crm").code == 0
    red = next(
        f for f in health.assess(own_store, load_system("crm"), datetime.now(UTC)).findings
        if f.guard == "readable"
    ).model_copy(update={"status": "error", "message": "the password is wrong"})  # fmt: skip
    looked = health.assess(own_store, load_system("crm"), datetime.now(UTC), red)
    health.remember(own_store, looked)
    later = cli("status", "crm")
    assert later.code == 1
    assert "the password is wrong (as of just now)" in later.out


def test_it_runs_without_dagster(home: Path, own_store: Store) -> None:
    """Not even an import of Dagster, which may be what is broken."""
    put_backup(own_store)
    code = (
        "import sys; sys.modules['dagster'] = None\n"
        "from backup_pipelines.cli.__main__ import main\n"
        "sys.exit(main(['status', 'crm']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_system_is_refused(cli: Cli, own_store: Store) -> None:
    """Exit code 2 with the names that there are."""
    del own_store
    done = cli("status", "nosuch")
    assert done.code == 2
    assert "there are crm, dcim" in done.err
