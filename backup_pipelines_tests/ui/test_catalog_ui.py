"""The pages that answer at a glance: what do I have, is it good, can I restore it, when is next."""

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from backup_pipelines_tests.ui.screens import Screens

pytestmark = pytest.mark.ui

CATALOG = "/assets/crm/backups"


@pytest.fixture(scope="module")
def backup_id(open_screens: Callable[[], Screens]) -> str:
    """A full backup, made by a click."""
    screens = open_screens()
    screens.open_job("crm_backup")
    screens.launch()
    screens.wait_for_success()
    made = screens.backup_id()
    screens.page.close()
    return made


def launch(screens: Screens, job: str) -> None:
    """Launch a job by its launchpad as it is filled in, and wait for its success."""
    screens.open_job(job, "Launchpad")
    screens.launch_from_launchpad()
    screens.wait_for_success()


def test_the_overview_says_what_there_is(screens: Screens, backup_id: str) -> None:
    """The table is shown at once, without a click, and leads to the backup's own page."""
    screens.open(CATALOG)
    glance = screens.value("at_a_glance", 2)
    expect(glance).to_contain_text("newest good full backup")
    expect(glance).to_contain_text("next scheduled backup")
    expect(glance).to_contain_text(re.compile(r"\d+ backups?; [\d.]+ [KMG]B in the store"))
    expect(screens.value("good", 2)).to_contain_text("yes: sealed, and read back whole on")
    # Backups of the tests before this one may have parts that the newest names again.
    size = r"[\d,]+ rows, [\d.]+ [KM]B(, [\d.]+ [KM]?B of it new,)? in"
    expect(screens.value("summary", 2)).to_contain_text(re.compile(size))
    screens.save("catalog-overview")
    glance.get_by_role("link", name=backup_id).click()
    expect(screens.value("id")).to_have_text(backup_id)


def test_a_drill_shows_on_the_backups_page(screens: Screens, backup_id: str) -> None:
    """It says by then how long the restore took, and that this was measured."""
    screens.open(f"{CATALOG}?view=partitions&partition={backup_id}")
    expect(screens.value("restore_time")).to_have_text(re.compile("not known|estimated"))
    launch(screens, "crm_drill")
    screens.open(f"{CATALOG}?view=partitions&partition={backup_id}")
    expect(screens.value("restore_time")).to_contain_text("measured by the drill of")
    expect(screens.value("good")).to_contain_text("every row compared")
    screens.save("backup-page")


def test_the_health_is_the_same_as_of_now(screens: Screens, backup_id: str) -> None:
    """Its page begins with a sentence and the table, and draws numbers that say their unit."""
    screens.look_at_health("crm")
    screens.open("/assets/crm/health")
    glance = screens.value("at_a_glance", 2)
    expect(glance).to_contain_text("yes: a drill has restored")
    expect(glance.get_by_role("link", name=backup_id).first).to_be_visible()
    expect(screens.value("summary", 2)).to_contain_text("healthy")
    screens.save("health")
    screens.page.get_by_role("button", name="Plots").click()
    expect(screens.page.get_by_text("recovery_time_seconds", exact=True)).to_be_visible()


def test_runs_of_a_backup_are_found_by_its_tag(screens: Screens, backup_id: str) -> None:
    """The filter of the Runs page finds what made it and what proved it, and nothing else."""
    asked = quote(f"tag:backup_pipelines/backup={backup_id}", safe="")
    screens.open(f"/runs?q%5B0%5D={asked}")
    for job in ("crm_backup", "crm_drill"):
        expect(screens.page.get_by_role("link", name=job).first).to_be_visible()
    expect(screens.page.get_by_role("link", name="crm_health")).to_have_count(0)
