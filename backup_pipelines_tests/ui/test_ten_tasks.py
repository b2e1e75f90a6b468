"""The ten tasks, each walked from the first page as a new user does, and counted."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import expect

from backup_pipelines import catalog
from backup_pipelines.demo.databases import Demo
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines.trail.audit import Happened
from backup_pipelines_tests.fix_s3 import S3Server
from backup_pipelines_tests.ui.conftest import Dev
from backup_pipelines_tests.ui.screens import Screens
from backup_pipelines_tests.ui.walking import Walk

# On a machine that is busy with something else a walk with four runs takes minutes.
pytestmark = [pytest.mark.ui, pytest.mark.timeout(900)]

CATALOG, HEALTH = "dcim/backups", "dcim/health"
POWER_SUPPLIES = 589
LOST = 5

SCHEDULE = """
    { scheduleOrError(scheduleSelector: {
        repositoryName: "__repository__", repositoryLocationName: "backup_pipelines",
        scheduleName: "dcim_backup_schedule"
    }) { ... on Schedule { scheduleState { status } } } }
"""


@pytest.fixture(scope="module")
def store(trusting_server: S3Server) -> Iterator[Store]:
    """The store is a bucket, so that a browser can fetch what is in it."""
    url = f"s3://{trusting_server.bucket()}/backups"
    with pytest.MonkeyPatch.context() as patch:
        trusting_server.use(patch)
        patch.setenv("BACKUP_STORE_URL", url)
        yield Store(url)


@pytest.fixture(scope="module")
def dev_environment(store: Store) -> Mapping[str, str]:
    """The UI finds that store in the environment that it inherits."""
    return {}


@pytest.fixture(scope="module")
def full_backup(open_screens: Callable[[], Screens], store: Store) -> str:
    """The id of a backup of everything, made as a new user makes it."""
    screens, before = open_screens(), stored(store).keys()
    person = Walk(screens, "2")
    person.menu("Jobs")
    person.click(screens.job_link("dcim_backup"))
    person.click(person.page.get_by_role("button", name="Materialize all"))
    # The page stays; whoever wants to watch follows the link.
    person.page.get_by_role("link", name="View", exact=True).click()
    screens.wait_for_success()
    [made] = [entry for name, entry in stored(store).items() if name not in before]
    assert (made.type, made.scope) == ("manual", "full")
    person.is_as_documented()
    screens.page.close()
    return made.id


@pytest.fixture
def power_supplies_lost(full_backup: str, demo: Demo) -> Iterator[list[tuple[str, int]]]:
    """Somebody deletes five of them; gives their keys, and in the end all are back."""
    with psycopg.connect(demo.owner_url("dcim")) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY psu_specs TO STDOUT") as rows:
            kept = b"".join(rows)
        lost = cursor.execute(
            "DELETE FROM psu_specs WHERE ctid IN (SELECT ctid FROM psu_specs LIMIT 5)"
            "RETURNING server_id::text, slot"
        ).fetchall()
    assert power_supplies(demo) == POWER_SUPPLIES - LOST
    yield lost
    with psycopg.connect(demo.owner_url("dcim")) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM psu_specs")
        with cursor.copy("COPY psu_specs FROM STDIN") as rows:
            rows.write(kept)
    assert power_supplies(demo) == POWER_SUPPLIES


def power_supplies(demo: Demo) -> int:
    """How many there are in the live database."""
    with psycopg.connect(demo.owner_url("dcim")) as connection:
        [[number]] = connection.execute("SELECT count(*) FROM psu_specs").fetchall()
    return number


def stored(store: Store) -> dict[str, Manifest]:
    """Every backup of the store by its id."""
    return {entry.id: entry for entry in catalog.backups(store, "dcim")}


def test_see_which_backups_exist(screens: Screens, full_backup: str) -> None:
    """Which there are, whether they are good, and how old the newest is."""
    person = Walk(screens, "1")
    person.asset(CATALOG)
    glance = person.page.get_by_role("row").filter(has_text="newest good full backup").last
    expect(glance).to_contain_text(full_backup)
    expect(glance).to_contain_text(re.compile("ago|just now"))
    person.tab("Partitions")
    shown = re.compile(f"^{full_backup[:12]}.*{full_backup[-6:]}$")
    expect(person.page.get_by_text(shown).first).to_be_visible()
    person.is_as_documented()


def test_back_up_one_module_and_delete_that(
    screens: Screens, full_backup: str, store: Store
) -> None:
    """The store has a backup of the module's tables alone; then it is chosen, and gone."""
    before = stored(store).keys()
    person = Walk(screens, "3")
    person.asset("dcim/modules/users")
    person.follow_beside("back up", "open")
    person.launch()
    [made] = [entry for name, entry in stored(store).items() if name not in before]
    assert (made.module, made.tables_count) == ("users", 3)
    person.is_as_documented()

    person = Walk(screens, "8b")
    person.asset(CATALOG)
    person.tab("Partitions")
    person.choose(made.id)
    person.follow_beside("to_keep_or_not", "delete")
    person.write("confirm: CONFIRM")
    person.launch()
    assert stored(store).keys() == before
    person.is_as_documented()


def test_download(screens: Screens, full_backup: str) -> None:
    """The browser fetches an object of the newest backup from the store."""
    person = Walk(screens, "4")
    person.asset(CATALOG)
    person.follow("links to download the newest")
    person.launch()
    links = person.show("links")
    with person.page.expect_download() as found:
        person.click(links.get_by_role("link", name=re.compile(r"servers.*parquet")).first)
    assert Path(found.value.path()).read_bytes()[:4] == b"PAR1"
    person.is_as_documented()


@pytest.mark.usefixtures("power_supplies_lost")
def test_plan_restore_and_take_it_back(screens: Screens, demo: Demo) -> None:
    """The plan shows what is lost and changes nothing; its link restores it; undo loses it."""
    person = Walk(screens, "5")
    person.asset(CATALOG)
    person.follow("see what a restore of the newest would change")
    person.launch()
    rows = person.show("plan").get_by_role("row")
    lost = rows.filter(has_text="public.psu_specs").get_by_role("cell")
    expect(lost).to_have_text(["public.psu_specs", "5", "0", "0", "584", ""])
    assert power_supplies(demo) == POWER_SUPPLIES - LOST
    person.is_as_documented()

    person.way = "6a"
    person.follow("restore as planned")
    person.write("confirm: CONFIRM")
    screens.save("launchpad")
    person.launch()
    assert power_supplies(demo) == POWER_SUPPLIES
    person.is_as_documented()

    person = Walk(screens, "7")
    person.asset(CATALOG)
    person.follow("take the last restore back")
    person.write("confirm: CONFIRM")
    person.launch()
    assert power_supplies(demo) == POWER_SUPPLIES - LOST
    person.is_as_documented()


@pytest.mark.usefixtures("power_supplies_lost")
def test_restore_one_module(screens: Screens, demo: Demo) -> None:
    """By the module's page, from the newest backup that has it."""
    person = Walk(screens, "6b")
    person.asset("dcim/modules/infrastructure")
    person.follow_beside("restore", "restore")
    person.write("confirm: CONFIRM")
    person.launch()
    assert power_supplies(demo) == POWER_SUPPLIES
    person.is_as_documented()


def test_restore_one_record(
    screens: Screens, demo: Demo, power_supplies_lost: list[tuple[str, int]]
) -> None:
    """One row by its key; the others stay away."""
    server, slot = power_supplies_lost[0]
    person = Walk(screens, "6c")
    person.asset(CATALOG)
    person.follow("restore one record of the newest")
    person.write("tables: [psu_specs]", f"key: {server},{slot}", "confirm: CONFIRM")
    person.launch()
    assert power_supplies(demo) == POWER_SUPPLIES - LOST + 1
    person.is_as_documented()


def test_pin(screens: Screens, full_backup: str, store: Store) -> None:
    """The newest backup is pinned."""
    person = Walk(screens, "8a")
    person.asset(CATALOG)
    backup_id = screens.value("id", 2).inner_text().strip()
    person.follow_beside("to_keep_or_not", "pin")
    person.launch()
    assert backup_id in catalog.listing(store, "dcim").states.pinned
    person.is_as_documented()


def test_see_what_a_prune_would_remove(screens: Screens, full_backup: str, store: Store) -> None:
    """Each backup with the reason why it stays or goes; nothing is removed."""
    before = stored(store)
    person = Walk(screens, "8c")
    person.asset(CATALOG)
    person.follow("see what a prune would remove, and why")
    person.launch()
    verdict = person.show_all().get_by_role("row").filter(has_text=full_backup).last
    expect(verdict).to_contain_text("keep")
    assert stored(store) == before
    person.is_as_documented()


@pytest.mark.usefixtures("store")
def test_import_a_csv_made_from_a_template(screens: Screens, demo: Demo, home: Path) -> None:
    """The file's wrong value is explained; put right, its row is in the database."""
    page, folder = "crm/modules/leads", home / "csv"
    person = Walk(screens, "9a")
    person.asset(page)
    person.follow_beside("template for an import", "open")
    person.launch()
    person.is_as_documented()
    template = (folder / "crm-leads-template" / "lead_sources.csv").read_text()
    assert {"name", "is_paid"} <= set(next(csv.reader([template])))
    filled = folder / "crm-leads-import" / "lead_sources.csv"
    filled.parent.mkdir()
    filled.write_text("name,is_paid\r\nwalked,perhaps\r\n")

    person = Walk(screens, "9b")
    person.asset(page)
    person.follow_beside("import CSV", "plan")
    person.launch()
    problem = person.show_all().get_by_role("row").filter(has_text="perhaps").last
    expect(problem).to_contain_text("is_paid")
    person.is_as_documented()
    filled.write_text("name,is_paid\r\nwalked,t\r\n")

    person = Walk(screens, "9c")
    person.asset(page)
    person.follow_beside("import CSV", "import")
    person.write("confirm: CONFIRM")
    person.launch()
    with psycopg.connect(demo.owner_url("crm")) as connection:
        gone = connection.execute("DELETE FROM lead_sources WHERE name = 'walked'")
    assert gone.rowcount == 1
    person.is_as_documented()


def test_switch_the_schedule(screens: Screens, dev: Dev) -> None:
    """The switch is on the schedule's page, and so is when it is next."""

    def status() -> str:
        return dev.ask(SCHEDULE)["scheduleOrError"]["scheduleState"]["status"]

    before = status()
    person = Walk(screens, "10a")
    person.menu("Automation")
    person.follow("dcim_backup_schedule")
    person.click(person.page.get_by_role("row").filter(has_text="Running").locator("label").first)
    expect(person.page.get_by_role("row").filter(has_text="Next tick")).to_be_visible()
    person.page.wait_for_timeout(2000)
    assert status() != before
    person.is_as_documented()


def test_find_who_did_what(screens: Screens, full_backup: str, store: Store) -> None:
    """On the page of the health: when, what, how it ended, who."""
    for number in range(10):
        happened = Happened(
            operation="list",
            outcome="refused",
            operator="a guest",
            at=datetime.now(UTC),
            message=f"look {number}: only administrators may",
        )
        audit.append(store, "dcim", happened)
    # The schedules and sensors are off here; else there is a look after each run.
    screens.look_at_health("dcim")
    person = Walk(screens, "10b")
    person.asset(HEALTH)
    done = person.show("who_did_what")
    expect(done.get_by_role("row").filter(has_text=full_backup).first).to_contain_text("done")
    expect(done.get_by_role("row").filter(has_text="a guest").first).to_contain_text("refused")
    person.is_as_documented()
