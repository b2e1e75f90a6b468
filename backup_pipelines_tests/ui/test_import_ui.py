"""Importing CSV files in a browser: everything that is wrong is told, and nothing is changed."""

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import expect

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests import twenty_problems
from backup_pipelines_tests.csv_importing import write
from backup_pipelines_tests.ui.screens import Screens

pytestmark = pytest.mark.ui


def deals(demo: Demo) -> list[tuple[object, ...]]:
    """All deals of the live database."""
    with psycopg.connect(demo.owner_url("crm")) as connection:
        return connection.execute("SELECT d::text FROM deals d ORDER BY id").fetchall()


def test_all_of_twenty_kinds_of_errors_are_shown(
    screens: Screens, demo: Demo, tmp_path: Path
) -> None:
    """The plan's run says how many of which kind, and shows lines, values and reasons."""
    wanted = twenty_problems.make(tmp_path / "in")
    before = deals(demo)
    screens.open_job("crm_csv_plan", "Launchpad")
    screens.type_config(f"source: {tmp_path / 'in'}")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    expect(screens.value("problems")).to_have_text(str(len(wanted)))
    kinds = screens.value("problems_by_kind").inner_text().strip()
    assert set(wanted.values()) == {one.rpartition(" (")[0] for one in kinds.split(", ")}
    told = Path(screens.value("problems_file").inner_text().strip())
    assert len(told.read_text().splitlines()) == len(wanted) + 1
    screens.open_message()
    shown = screens.page.get_by_role("dialog").get_by_role("row")
    for line, column in wanted:
        cells = shown.filter(has=screens.page.get_by_role("cell", name=str(line), exact=True))
        told_of = cells.filter(has_text=column).filter(has_text=wanted[line, column])
        expect(told_of.first).to_be_attached()
    expect(shown.filter(has_text="propsecting").last).to_contain_text("did you mean prospecting?")
    screens.save("import-problems")
    assert deals(demo) == before


def test_an_import_with_problems_is_refused(screens: Screens, demo: Demo, tmp_path: Path) -> None:
    """The run fails, and its error names the first problems and where all of them are."""
    wanted = twenty_problems.make(tmp_path / "in")
    before = deals(demo)
    screens.open_job("crm_csv_import", "Launchpad")
    expect(screens.page.get_by_text("Missing required config entr")).to_be_visible()
    screens.type_config(f"source: {tmp_path / 'in'}", "confirm: CONFIRM")
    screens.launch_from_launchpad()
    expect(screens.page.get_by_text("Failure", exact=True).first).to_be_visible(timeout=120_000)
    said = f"{len(wanted)} problems in 1 file"
    expect(screens.page.get_by_text(said).first).to_be_attached()
    assert (tmp_path / "in-problems.csv").is_file()
    assert deals(demo) == before


def test_a_file_is_imported_and_taken_back(screens: Screens, demo: Demo, tmp_path: Path) -> None:
    """From the launchpad, with the typed word; the run says how to take it back."""
    folder = write(tmp_path / "in", lead_sources="name,is_paid\r\nfrom a browser,t\r\n")
    screens.open_job("crm_csv_import", "Launchpad")
    screens.type_config(f"source: {folder}", "confirm: CONFIRM")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    expect(screens.value("undo")).to_have_text("backup-pipelines undo crm --confirm CONFIRM")
    query = "SELECT count(*) FROM lead_sources WHERE name = 'from a browser'"
    with psycopg.connect(demo.owner_url("crm")) as connection:
        assert connection.execute(query).fetchall() == [(1,)]
    screens.open_job("crm_undo", "Launchpad")
    screens.type_config("confirm: CONFIRM")
    screens.launch_from_launchpad()
    screens.wait_for_success()
    with psycopg.connect(demo.owner_url("crm")) as connection:
        assert connection.execute(query).fetchall() == [(0,)]
