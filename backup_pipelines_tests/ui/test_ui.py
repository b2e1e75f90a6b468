"""The product as its users see it: Dagster's UI, in a browser."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

from backup_pipelines_tests.ui.conftest import Dev
from backup_pipelines_tests.ui.screens import LOCATION, Screens

pytestmark = pytest.mark.ui

RUNS = """
    { runsOrError(filter: {pipelineName: "crm_restore_into"}) { ... on Runs { count } } }
"""
LAUNCH = """
    mutation { launchRun(executionParams: {
        selector: {repositoryName: "__repository__", repositoryLocationName: "backup_pipelines",
            jobName: "crm_restore_into"},
        runConfigData: "{ops: {crm_restore_into_op: {config: {into_env: TARGET_URL}}}}"
    }) { __typename } }
"""


@dataclass(frozen=True)
class FullBackup:
    """A backup of the whole crm, made by a click."""

    id: str
    run_id: str


@pytest.fixture(scope="module")
def full_backup(open_screens: Callable[[], Screens]) -> FullBackup:
    """Materialize all assets of the job crm_backup and wait for its success, all in the UI."""
    screens = open_screens()
    screens.open_job("crm_backup")
    run_id = screens.launch()
    screens.wait_for_success()
    backup = FullBackup(screens.backup_id(), run_id)
    screens.page.close()
    return backup


def test_assets_are_grouped_by_module(screens: Screens, full_backup: FullBackup) -> None:
    """The lineage has one group for each module, the catalog and what no module names."""
    screens.open("/asset-groups")
    screens.filter_assets('key:"crm/*"')
    expect(screens.page.get_by_text("Materialize all (24)")).to_be_visible()
    modules = ("leads", "contacts", "accounts", "deals", "meetings", "tasks")
    for module in (*modules, "crm_catalog", "crm_other"):
        expect(screens.page.get_by_text(module, exact=True).first).to_be_visible()
    expect(screens.page.get_by_text("infrastructure", exact=True)).to_have_count(0)
    screens.page.get_by_text("contacts", exact=True).last.click()
    for table in ("contacts", "contact_emails"):
        expect(screens.page.get_by_text(table, exact=True).last).to_be_visible()
    expect(screens.page.get_by_text("Postgres", exact=True)).to_have_count(2)
    expect(screens.page.get_by_text("fetching statuses")).to_have_count(0)
    screens.save("assets")


def test_run_page_shows_progress_and_success(screens: Screens, full_backup: FullBackup) -> None:
    """The run's log tells what it is about and ends with the backup's totals."""
    screens.open(f"/runs/{full_backup.run_id}")
    screens.wait_for_success()
    last = screens.page.get_by_text(f"backup {full_backup.id} is whole")
    expect(last).to_contain_text(re.compile(r"\d+ tables, .* rows"))
    expect(screens.page.get_by_text("Succeeded (1)")).to_be_attached()
    # Which lines of progress there are depends on how fast it was: at most one a second.
    screens.page.get_by_placeholder("Filter…").fill("is whole")
    expect(last).to_be_visible()


def test_catalog_lists_the_backup_with_its_metadata(
    screens: Screens, full_backup: FullBackup
) -> None:
    """The partition of a backup is materialized and shows who made it, how big it is, and what."""
    screens.open("/assets/crm/backups?view=partitions")
    screens.select_partition(full_backup.id)
    expect(screens.page.get_by_text("Materialized", exact=True)).to_be_visible()
    expect(screens.value("id")).to_have_text(full_backup.id)
    expect(screens.value("tables_count")).to_have_text("21")
    expect(screens.value("backup_type")).to_have_text("manual")
    expect(screens.value("status")).to_have_text("completed")
    expect(screens.value("created_by")).to_contain_text("UI without log-in")
    for number in ("records_count", "size_bytes"):
        expect(screens.value(number)).to_have_text(re.compile(r"^[1-9]\d{4,}$"))
    screens.page.get_by_text("[Show Markdown]").click()
    shown = screens.page.get_by_role("dialog")
    expect(shown.get_by_role("cell", name="public.contacts", exact=True)).to_be_visible()


def test_table_shows_rows_size_digest_columns_and_plots(
    screens: Screens, full_backup: FullBackup
) -> None:
    """A table's asset has its row count, bytes, digest and columns, and draws the numbers."""
    screens.open("/assets/crm/public/contacts")
    page = screens.page
    expect(page.get_by_text("Row count", exact=True)).to_be_visible()
    expect(screens.value("size_bytes", 2)).to_have_text(re.compile(r"^[1-9]\d+$"))
    expect(screens.value("digest", 2)).to_have_text(re.compile(r"^[0-9a-f]{16}$"))
    expect(screens.value("birthday")).to_be_visible()
    screens.save("table")
    page.get_by_role("button", name="Plots").click()
    expect(page.get_by_text("rows_per_second", exact=True)).to_be_visible()


def test_every_job_is_listed(screens: Screens) -> None:
    """Both systems have a job for each verb."""
    screens.open("/jobs")
    for system in ("crm", "dcim"):
        for verb in ("backup", "drill", "verify", "restore_into"):
            expect(screens.job_link(f"{system}_{verb}")).to_be_visible()


def test_drill_from_the_launchpad_proves_the_backup(
    screens: Screens, full_backup: FullBackup
) -> None:
    """A drill launched without any config turns the catalog's check `restorable` green."""
    screens.open_job("crm_drill", "Launchpad")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    screens.open("/assets/crm/backups?view=checks&checkDetail=restorable")
    expect(screens.page.get_by_text("Passed", exact=True).first).to_be_visible()
    expect(screens.page.get_by_text("are equal after a restore").first).to_be_visible()


def test_materializing_a_group_makes_a_module_backup(
    screens: Screens, full_backup: FullBackup
) -> None:
    """Materialize all on a group's page backs up that module alone, and the catalog says so."""
    screens.open(f"{LOCATION}/asset-groups/contacts/lineage")
    screens.launch()
    screens.wait_for_success()
    backup_id = screens.backup_id()
    screens.open("/assets/crm/backups?view=partitions")
    screens.select_partition(backup_id)
    expect(screens.value("backup_type")).to_have_text("module")
    expect(screens.value("module")).to_have_text("contacts")
    expect(screens.value("tables_count")).to_have_text("2")
    screens.select_partition(full_backup.id)
    expect(screens.value("backup_type")).to_have_text("manual")
    screens.save("catalog")


def test_launchpad_refuses_a_restore_without_the_typed_confirmation(
    screens: Screens, dev: Dev
) -> None:
    """Without CONFIRM the launchpad names the missing field, and nothing starts a run."""
    before = dev.ask(RUNS)
    screens.open_job("crm_restore_into", "Launchpad")
    expect(screens.page.get_by_text("Missing required config entries")).to_contain_text("confirm")
    expect(screens.page.get_by_role("button", name="Launch Run")).to_be_disabled()
    assert dev.ask(LAUNCH) == {"launchRun": {"__typename": "RunConfigValidationInvalid"}}
    assert dev.ask(RUNS) == before
