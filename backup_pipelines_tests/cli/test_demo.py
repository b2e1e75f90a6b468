"""`demo`: a real server with real rows, up until it is told to stop."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.cli.conftest import Cli


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """A home where nothing was ever started."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    made = Demo(tmp_path)
    yield made
    made.server.remove()


def test_the_demo_stays_up_until_it_is_stopped(cli: Cli, fresh: Demo) -> None:
    started = cli("demo")
    assert started.code == 0, started.err
    assert fresh.owner_url("crm") in started.out
    assert fresh.server.is_running()

    printed = cli("demo", "--print-url", "dcim")
    assert printed.out == fresh.owner_url("dcim") + "\n"
    with psycopg.connect(printed.out.strip()) as connection:
        found = connection.execute("SELECT count(*), current_user FROM servers").fetchone()
    assert found == (276, "dcim_owner")

    urls = {system: fresh.owner_url(system) for system in ("crm", "dcim")}
    assert cli("demo", "--json").document == {"running": True, "urls": urls}
    only = cli("demo", "--print-url", "crm", "--json").document
    assert only == {"running": True, "urls": {"crm": urls["crm"]}}

    assert cli("demo", "--stop").code == 0
    assert not fresh.server.is_running()
    assert "was not up" in cli("demo", "--stop").out
    stopped = cli("demo", "--stop", "--json").document
    assert stopped == {"running": False, "was_running": False, "urls": {}}


def test_a_url_of_no_demo_system_is_refused_and_starts_nothing(cli: Cli, fresh: Demo) -> None:
    result = cli("demo", "--print-url", "shop")
    assert (result.code, result.out) == (2, "")
    assert "it has crm, dcim" in result.err
    assert not fresh.server.is_running()


def test_a_stopped_demo_has_no_url(cli: Cli, fresh: Demo) -> None:
    assert cli("demo", "--stop", "--print-url", "crm").code == 2
