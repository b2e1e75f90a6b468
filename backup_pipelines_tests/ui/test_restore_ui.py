"""Planning a restore, doing it and taking it back, in a browser."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from playwright.sync_api import expect

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.ui.conftest import Dev
from backup_pipelines_tests.ui.screens import Screens

pytestmark = pytest.mark.ui

SERVERS = 276
LOST = 5

CATALOG = "/assets/dcim/backups"
RUNS = '{ runsOrError(filter: {pipelineName: "dcim_restore"}) { ... on Runs { count } } }'
LAUNCH = """
    mutation { launchRun(executionParams: {
        selector: {repositoryName: "__repository__", repositoryLocationName: "backup_pipelines",
            jobName: "dcim_restore"},
        runConfigData: %s
    }) { __typename } }
"""


def servers(demo: Demo) -> int:
    """How many servers the live database has."""
    with psycopg.connect(demo.owner_url("dcim")) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM servers").fetchall()
    return count


@pytest.fixture(scope="module")
def backup_id(open_screens: Callable[[], Screens], demo: Demo) -> str:
    """The id of a backup of the whole dcim, made in the UI."""
    assert servers(demo) == SERVERS
    screens = open_screens()
    screens.open_job("dcim_backup")
    screens.launch()
    screens.wait_for_success()
    made = screens.backup_id()
    screens.page.close()
    return made


@pytest.fixture(scope="module")
def five_servers_lost(backup_id: str, demo: Demo) -> Iterator[None]:
    """Somebody deletes five servers, and their power specs with them; all are back in the end."""
    with psycopg.connect(demo.owner_url("dcim")) as connection:
        lost = connection.execute("DELETE FROM servers WHERE hostname ~ '^app-preprod-0[1-5]$'")
        assert lost.rowcount == LOST
    yield
    command = ("-m", "backup_pipelines.cli", "restore", "dcim", backup_id, "--confirm", "CONFIRM")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert servers(demo) == SERVERS


def test_restore_offers_the_backups_of_the_catalog(screens: Screens, backup_id: str) -> None:
    """The launchpad of a restore lists the backups, and takes the one that is clicked."""
    screens.open_job("dcim_restore", "Launchpad")
    screens.select_backup(backup_id)
    expect(screens.page.get_by_placeholder("Partition", exact=True)).to_have_value(backup_id)


def test_launchpad_refuses_a_missing_or_wrong_confirmation(
    screens: Screens, backup_id: str, dev: Dev
) -> None:
    """Only the word CONFIRM makes the button a button; without it no run exists."""
    before = dev.ask(RUNS)
    screens.open_job("dcim_restore", "Launchpad")
    screens.select_backup(backup_id)
    launch = screens.page.get_by_role("button", name="Launch Run")
    expect(screens.page.get_by_text("Missing required config entry")).to_contain_text("confirm")
    expect(launch).to_be_disabled()
    screens.type_config("confirm: confirm")
    expect(screens.page.get_by_text("not in enum type TypeCONFIRM")).to_be_visible()
    expect(launch).to_be_disabled()
    for config in ({}, {"confirm": "confirm"}):
        # Whoever goes round the page is told the same.
        asked = json.dumps({"ops": {"dcim_restore_op": {"config": config}}})
        answer = dev.ask(LAUNCH % json.dumps(asked))
        assert answer == {"launchRun": {"__typename": "RunConfigValidationInvalid"}}
    assert dev.ask(RUNS) == before


@pytest.mark.usefixtures("five_servers_lost")
def test_plan_shows_what_a_restore_would_do(screens: Screens, backup_id: str, demo: Demo) -> None:
    """The run and the backup's page of the catalog count the rows, table by table."""
    screens.open_job("dcim_plan", "Launchpad")
    screens.select_backup(backup_id)
    screens.launch_from_launchpad()
    screens.wait_for_success()
    screens.page.get_by_text("[Show Markdown]").first.click()
    plan = screens.page.get_by_role("dialog").get_by_role("row").filter(has_text="public.servers")
    expect(plan.get_by_role("cell")).to_have_text(["public.servers", "5", "0", "0", "271", ""])
    screens.open(f"{CATALOG}?view=events")
    said = re.compile(r"Plan [0-9a-f]{16}: 20 rows to insert, [\d,]+ unchanged\.")
    screens.open_event(said)
    expect(screens.value("backup")).to_have_text(backup_id)
    row = screens.page.get_by_role("row", name="public.servers 5 0 0 271", exact=True)
    expect(row.first).to_be_visible()
    screens.save("plan")
    assert servers(demo) == SERVERS - LOST


@pytest.mark.usefixtures("five_servers_lost")
def test_restore_and_undo(screens: Screens, backup_id: str, demo: Demo) -> None:
    """A confirmed restore brings the rows back and shows how; an undo takes them away again."""
    screens.open_job("dcim_restore", "Launchpad")
    screens.select_backup(backup_id)
    screens.type_config("confirm: CONFIRM")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    expect(screens.page.get_by_text(f"{backup_id} is restored, ")).to_be_attached()
    assert servers(demo) == SERVERS

    screens.open(f"{CATALOG}?view=events")
    screens.open_event("Restored into live: 20 rows inserted")
    expect(screens.value("undo")).to_have_text("backup-pipelines undo dcim --confirm CONFIRM")
    safety_id = screens.value("safety_backup").inner_text().strip()
    screens.save("restore")
    screens.open("/assets/dcim/public/servers?view=events")
    screens.open_event(f"Restored from {backup_id}.")
    expect(screens.value("rows_inserted")).to_have_text("5")

    screens.open(f"{CATALOG}?view=partitions")
    screens.select_partition(safety_id)
    expect(screens.value("backup_type")).to_have_text("safety")
    expect(screens.value("label")).to_have_text(f"before restore of {backup_id}")

    screens.open_job("dcim_undo", "Launchpad")
    expect(screens.page.get_by_text("Missing required config entry")).to_contain_text("confirm")
    screens.type_config("confirm: CONFIRM")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    assert servers(demo) == SERVERS - LOST
