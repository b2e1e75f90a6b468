"""A module's page, in a browser: what it says, and its launchpads that only want launching."""

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import expect

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.ui.screens import Screens

pytestmark = pytest.mark.ui

PAGE = "/assets/crm/modules/contacts"


def contacts(demo: Demo) -> int:
    """How many live records the module has."""
    with psycopg.connect(demo.owner_url("crm")) as connection:
        [[rows]] = connection.execute(
            "SELECT (SELECT count(*) FROM contacts) + (SELECT count(*) FROM contact_emails)"
        ).fetchall()
    return rows


def test_observe_counts_the_live_records(screens: Screens, demo: Demo) -> None:
    """The page has the number in its head, and tells how it is known."""
    screens.open(PAGE)
    screens.page.get_by_role("button", name="Observe").click()
    screens.page.get_by_role("link", name="View", exact=True).click()
    screens.run_id()
    screens.wait_for_success()
    screens.open(PAGE)
    expect(screens.page.get_by_text("Row count", exact=True)).to_be_visible()
    expect(screens.value("live_records", 2)).to_have_text(str(contacts(demo)))
    expect(screens.value("live_records_are", 2)).to_have_text("counted")
    expect(screens.page.get_by_text(f"{contacts(demo):,}", exact=True).first).to_be_visible()


def test_export_is_a_click_and_a_launch(screens: Screens, home: Path) -> None:
    """The page's link opens the launchpad with the module filled in; the files are there then."""
    screens.open(PAGE)
    screens.follow("export as CSV", "open")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    folder = home / "csv" / "crm-contacts-export"
    assert {"contacts.csv", "contact_emails.csv"} <= {path.name for path in folder.iterdir()}


def test_backup_and_restore_are_a_click_away(screens: Screens) -> None:
    """The backup is of the module alone and shows on its page; a restore wants its CONFIRM typed.

    It then restores the module from exactly that backup.
    """
    screens.open(PAGE)
    screens.follow("back up", "open")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    backup_id = screens.backup_id()
    screens.open(PAGE)
    expect(screens.value("last_backup", 2)).to_have_text(backup_id)
    expect(screens.value("last_backup_type", 2)).to_have_text("module")
    screens.save("module")

    screens.value("restore_last_backup", 2).get_by_role("link", name="restore", exact=True).click()
    launch = screens.page.get_by_role("button", name="Launch Run")
    expect(screens.page.get_by_text("Missing required config entry")).to_contain_text("confirm")
    expect(launch).to_be_disabled()
    screens.type_config("confirm: CONFIRM")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    expect(screens.page.get_by_text(f"{backup_id} is restored, ")).to_be_attached()
    screens.open(PAGE)
    expect(screens.value("restored_from", 2)).to_have_text(backup_id)
