"""What a person does on the pages of Dagster's UI, by the words on them."""

import itertools
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as NotThere

LOCATION = "/locations/backup_pipelines"

# The first backup of a new database, on a machine that is busy with something else.
_RUN_SECONDS = 120

# A page is drawn anew when what it asked the server has come: what was opened or typed before is
# gone. Whoever sees nothing for so long tries again, until it has been too long.
_LOOK_SECONDS = 5
_TRY_SECONDS = 90

# How many events the sensors may have added to the catalog since.
_NEWEST = 5

# A point of the page below its headings, and how far the mouse's wheel turns there.
_MIDDLE = 500
_SOME_ROWS = 300
_ALL_THE_WAY = 100_000
_SCREENS = 10
_ROWS_DRAWN_SECONDS = 1

_ANY_JOB = re.compile(r"^(crm|dcim)_[a-z_]+$")

_ENDED = re.compile(r"^(Success|Failure|Canceled)$")
_MOMENT = re.compile(r"^\d{1,2} [A-Z][a-z]{2,3}, \d{2}:\d{2}$")
_WHOLE = re.compile(r"backup (\S+) is whole")


class Screens:
    """One tab of the browser."""

    def __init__(self, page: Page, url: str, folder: Path) -> None:
        """Name the tab, the address of the UI and the folder for pictures."""
        self.page = page
        self._url = url
        self._folder = folder

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(self._url + path)

    def open_job(self, job: str, tab: str = "") -> None:
        """Go to a job by the list of all jobs, as a person who knows its name."""
        self.open("/jobs")
        self.job_link(job).click()
        if tab:
            self.page.get_by_role("tab", name=tab, exact=True).click()

    def job_link(self, job: str) -> Locator:
        """A job in the list of jobs, which is scrolled to it: the page draws only what is seen."""
        # The icons in a link are part of its name.
        link = self.page.get_by_role("link").filter(has_text=re.compile(f"^{job}$")).first
        expect(self.page.get_by_role("link").filter(has_text=_ANY_JOB).first).to_be_visible()
        return self.scrolled_to(link)

    def asset_link(self, key: str) -> Locator:
        """An asset in the list of all assets, which is scrolled to it."""
        # What is too long is shown without its middle.
        expect(self.page.locator('a[href^="/assets/"]').first).to_be_visible()
        return self.scrolled_to(self.page.locator(f'a[href="/assets/{key}"]').first)

    def scrolled_to(self, link: Locator) -> Locator:
        """A link in a long list, which the mouse's wheel is turned for until it is drawn."""
        self.page.mouse.move(_MIDDLE, _MIDDLE)
        # Back to the top now and then: on a slow page the wheel can be ahead of what is drawn.
        turns = itertools.cycle([-_ALL_THE_WAY, *[_SOME_ROWS] * _SCREENS])

        def seen() -> None:
            if not link.is_visible():
                self.page.mouse.wheel(0, next(turns))
            expect(link).to_be_visible(timeout=_ROWS_DRAWN_SECONDS * 1000)

        _persist(seen)
        return link

    def save(self, name: str) -> None:
        """Take a picture of the page as it is now, without what the mouse is over."""
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=self._folder / f"{name}.png", animations="disabled")

    def filter_assets(self, selection: str) -> None:
        """Type a selection above the lineage."""

        def typed() -> None:
            self._editor.click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(selection)
            expect(self._editor).to_contain_text(selection, timeout=_LOOK_SECONDS * 1000)

        _persist(typed)
        self.page.keyboard.press("Enter")

    def launch(self) -> str:
        """Materialize everything that the page shows; ends on the page of the run, whose id it is.

        The button waits until the UI has asked the code location what the assets need.
        """
        self.page.get_by_role("button", name="Materialize all").click()
        self.page.get_by_role("link", name="View", exact=True).click()
        return self.run_id()

    def look_at_health(self, system: str) -> None:
        """Have the health looked at now, as the sensor does after each run."""
        self.open(f"/assets/{system}/health")
        self.page.get_by_role("button", name=re.compile("Materialize$")).click()
        self.page.get_by_role("link", name="View", exact=True).click()
        self.run_id()
        self.wait_for_success()

    def launch_from_launchpad(self) -> str:
        """Launch what the launchpad holds; ends on the page of the run, whose id it is."""
        self.page.get_by_role("button", name="Launch Run").click()
        return self.run_id()

    def follow(self, what: str, name: str) -> None:
        """Click a link in the row of a description that begins with this."""
        first = self.page.locator("td:first-child", has_text=re.compile(rf"^\s*{what}\s*$"))
        row = self.page.get_by_role("row").filter(has=first)
        row.first.get_by_role("link", name=name, exact=True).click()

    def select_backup(self, backup_id: str) -> None:
        """Choose the partition that the launchpad's run is to be of."""
        field = self.page.get_by_placeholder("Partition", exact=True)

        def chosen() -> None:
            field.click()
            # The list shows but a part of many.
            field.fill(backup_id, timeout=_LOOK_SECONDS * 1000)
            offered = self.page.get_by_role("menuitem", name=backup_id)
            offered.click(timeout=_LOOK_SECONDS * 1000)

        _persist(chosen)
        # The launchpad writes the config anew, together with the tags.
        expect(self.page.get_by_text(f"partition: {backup_id}")).to_be_visible()

    def type_config(self, *lines: str) -> None:
        """Add lines to the config of the op, whose fields the launchpad has written already."""

        def typed() -> None:
            if lines[-1] not in self._editor.inner_text():
                self._editor.click()
                self.page.keyboard.press("Control+End")
                self.page.keyboard.type(f"      {lines[0]}")
                for line in lines[1:]:
                    # The editor indents it as the line above.
                    self.page.keyboard.press("Enter")
                    self.page.keyboard.type(line)
            expect(self._editor).to_contain_text(lines[-1], timeout=_LOOK_SECONDS * 1000)

        _persist(typed)

    def run_id(self) -> str:
        """The id of the run whose page this is about to be."""
        self.page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
        return self.page.url.rpartition("/runs/")[2][:36]

    def wait_for_success(self) -> None:
        """Watch the run on its page until it has ended, well."""
        ended = self.page.get_by_text(_ENDED).first
        expect(ended).to_be_visible(timeout=_RUN_SECONDS * 1000)
        expect(ended).to_have_text("Success")

    def backup_id(self) -> str:
        """The id of the backup that a run made, from the last lines of its log."""
        found = _WHOLE.search(self.page.get_by_text(_WHOLE).inner_text())
        assert found is not None
        return found[1]

    def value(self, name: str, column: int = 1) -> Locator:
        """The cell beside a name in the page's table of metadata."""
        first = self.page.locator("td:first-child", has_text=re.compile(rf"^\s*{name}\s*$"))
        row = self.page.get_by_role("row").filter(has=first)
        return row.first.get_by_role("cell").nth(column)

    def open_message(self) -> None:
        """Open the long message of a run's last event that is cut short."""
        button = self.page.get_by_text("View full message").last

        def opened() -> None:
            button.hover(timeout=_LOOK_SECONDS * 1000)
            button.click(timeout=_LOOK_SECONDS * 1000)
            dialog = self.page.get_by_role("dialog")
            expect(dialog).to_be_visible(timeout=_LOOK_SECONDS * 1000)

        _persist(opened)

    def open_event(self, said: str | re.Pattern[str]) -> None:
        """Open the one of the newest events of an asset's page that says this."""
        moments = self.page.get_by_text(_MOMENT)
        shown = self.page.get_by_text(said)

        def opened() -> None:
            expect(moments.first).to_be_visible(timeout=_LOOK_SECONDS * 1000)
            for moment in moments.all()[:_NEWEST]:
                moment.click(timeout=_LOOK_SECONDS * 1000)
                with suppress(AssertionError):
                    return expect(shown).to_be_visible(timeout=_LOOK_SECONDS * 1000)
            raise AssertionError(f"none of the {_NEWEST} newest events says {said}")

        _persist(opened)

    def select_partition(self, backup_id: str) -> None:
        """Find a backup in the catalog's list of partitions, and open it."""
        names = self.page.get_by_placeholder("Filter by name")
        # The list shortens the id in its middle.
        shown = self.page.get_by_text(re.compile(f"^{backup_id[:12]}.*{backup_id[-6:]}$")).first

        def opened() -> None:
            names.fill(backup_id)
            shown.click(timeout=_LOOK_SECONDS * 1000)
            address = re.compile(f"partition={backup_id}")
            self.page.wait_for_url(address, timeout=_LOOK_SECONDS * 1000)

        _persist(opened)
        names.fill("")

    @property
    def _editor(self) -> Locator:
        # It has neither a role nor a name.
        return self.page.locator(".CodeMirror").first


def _persist(attempt: Callable[[], None]) -> None:
    """Try until it works, as people do on a page that is not quite there; raises the last miss."""
    deadline = time.monotonic() + _TRY_SECONDS
    while time.monotonic() < deadline:
        with suppress(NotThere, AssertionError):
            return attempt()
    return attempt()
