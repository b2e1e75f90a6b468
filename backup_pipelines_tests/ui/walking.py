"""A person's way from the UI's first page to something done, and how long it is.

What is counted: clicks, and fields or lines that are typed. Looking, and turning the mouse's wheel,
costs nothing.
"""

import re
from pathlib import Path

from playwright.sync_api import Locator, expect

from backup_pipelines_tests.ui.screens import Screens

TASKS = Path(__file__).resolve().parent.parent.parent / "docs" / "tasks.md"

_ROW = re.compile(r"^\| (\d+[a-z]?) \|.*\| (\d+) \| (\d+) \|[^|]*\|$", re.MULTILINE)


def documented() -> dict[str, tuple[int, int]]:
    """Clicks and typed fields of each way, as docs/tasks.md has them."""
    found = _ROW.findall(TASKS.read_text())
    return {way: (int(clicks), int(typed)) for way, clicks, typed in found}


class Walk:
    """One way, walked by clicks on what is to be seen."""

    def __init__(self, screens: Screens, way: str) -> None:
        """Begin on the first page; `way` is its number in docs/tasks.md."""
        self.screens, self.page, self.way = screens, screens.page, way
        self.clicks = self.typed = 0
        screens.open("/")

    def click(self, target: Locator) -> None:
        """Click something."""
        target.click()
        self.clicks += 1

    def menu(self, name: str) -> None:
        """Click an entry of the menu that every page has."""
        # The icon in the link is a part of its name.
        self.click(self.page.get_by_role("link").filter(has_text=re.compile(f"^{name}$")).first)

    def asset(self, key: str) -> None:
        """Go to an asset by the list of all."""
        self.menu("Catalog")
        self.click(self.screens.asset_link(key))

    def follow(self, text: str) -> None:
        """Click a link with exactly this text."""
        self.click(self.page.get_by_role("link").filter(has_text=re.compile(f"^{text}$")).first)

    def follow_beside(self, label: str, text: str) -> None:
        """Click a link in the row that begins with this."""
        first = self.page.locator("td:first-child", has_text=re.compile(rf"^\s*{label}\s*$"))
        row = self.page.get_by_role("row").filter(has=first).first
        self.click(row.get_by_role("link", name=text, exact=True))

    def tab(self, name: str) -> None:
        """Click one of the page's tabs."""
        self.click(self.page.get_by_role("tab", name=name, exact=True))

    def show(self, label: str) -> Locator:
        """Open what is too long to be shown at once; gives the window that it opens in."""
        first = self.page.locator("td:first-child", has_text=re.compile(rf"^\s*{label}\s*$"))
        row = self.page.get_by_role("row").filter(has=first).last
        self.click(row.get_by_text(re.compile(r"\[Show (Markdown|Table)\]")))
        return self.page.get_by_role("dialog")

    def show_all(self) -> Locator:
        """Open the results of a run, which are too long to be shown at once."""
        self.screens.open_message()
        self.clicks += 1
        return self.page.get_by_role("dialog")

    def choose(self, backup_id: str) -> None:
        """Click a backup in the catalog's list."""
        self.screens.select_partition(backup_id)
        self.clicks += 1

    def write(self, *lines: str) -> None:
        """Click into the launchpad and add lines to the config."""
        self.screens.type_config(*lines)
        self.clicks += 1
        self.typed += len(lines)

    def launch(self) -> None:
        """Launch what the launchpad holds, and wait until it is done."""
        button = self.page.get_by_role("button", name="Launch Run")
        expect(button).to_be_enabled()
        self.click(button)
        self.screens.run_id()
        self.screens.wait_for_success()

    def is_as_documented(self) -> None:
        """Compare what was counted with the page."""
        assert (self.clicks, self.typed) == documented()[self.way], self.way
