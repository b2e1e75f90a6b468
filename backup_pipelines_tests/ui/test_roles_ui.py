"""The log-in in a browser, and what Dagster's pages let each role do."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backup_pipelines_tests.fix_serve import (
    ADMIN,
    OPERATOR,
    STRANGER,
    VIEWER,
    Serving,
    password_of,
)

pytestmark = pytest.mark.ui

_PICTURES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
_PAGE_MILLISECONDS = 30_000
_JOB = "/locations/backup_pipelines/jobs/"

SignIn = Callable[[str], Page]


@pytest.fixture
def tab(serving: Serving, browser: Browser) -> Iterator[Page]:
    """A tab with a profile of its own, where nobody is signed in."""
    expect.set_options(timeout=_PAGE_MILLISECONDS)
    context = browser.new_context(
        base_url=serving.url,
        viewport={"width": 1440, "height": 900},
        timezone_id="UTC",
        locale="en-GB",
    )
    context.set_default_timeout(_PAGE_MILLISECONDS)
    yield context.new_page()
    context.close()


@pytest.fixture
def sign_in(tab: Page) -> SignIn:
    """Signs somebody in by typing, and gives the tab."""

    def typed(name: str) -> Page:
        tab.goto("/sign-in")
        tab.get_by_label("Name").fill(name)
        tab.get_by_label("Password").fill(password_of(name))
        tab.get_by_role("button", name="Sign in", exact=True).click()
        return tab

    return typed


def test_one_signs_in_and_is_where_one_wanted_to_be(tab: Page) -> None:
    """The page says what was wrong; then the address that was asked for opens, with the name."""
    tab.goto("/runs?q=x")
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(tab.get_by_label("Name")).to_be_focused()
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        tab.screenshot(path=_PICTURES / "sign-in.png")
    tab.get_by_label("Name").fill(VIEWER)
    tab.get_by_label("Password").fill("not the password at all")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alert")).to_have_text("the name and the password do not fit")
    expect(tab.get_by_label("Password")).to_be_focused()
    tab.get_by_label("Password").fill(password_of(VIEWER))
    tab.keyboard.press("Enter")
    expect(who(tab)).to_have_text(re.compile("vera *viewer of crm; nobody of dcim"))
    assert "/runs" in tab.url


def who(tab: Page) -> object:
    """The line at the page's edge that says who is signed in."""
    return tab.locator("#backup-pipelines-who")


def test_somebody_without_a_role_stays_outside(sign_in: SignIn) -> None:
    """And reads why."""
    tab = sign_in(STRANGER)
    expect(tab.get_by_role("alert")).to_contain_text("nora has no role in any system")
    tab.goto("/jobs")
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_viewer_looks_and_can_press_nothing(sign_in: SignIn) -> None:
    """The launchpad, Materialize and the switches of schedules are there, and greyed out."""
    tab = sign_in(VIEWER)
    expect(who(tab)).to_be_visible()
    tab.goto(_JOB + "crm_plan")
    launchpad = tab.get_by_role("tab", name="Launchpad")
    expect(launchpad).to_have_attribute("aria-disabled", "true")
    tab.goto("/assets/crm/public/accounts")
    expect(tab.get_by_role("button", name=re.compile("Materialize")).first).to_be_disabled()
    tab.goto("/automation")
    expect(tab.get_by_role("checkbox").nth(1)).to_be_disabled()


def test_an_operator_launches_what_the_role_allows(sign_in: SignIn, serving: Serving) -> None:
    """What is of the own system is launched; of the other one the page says who could."""
    tab = sign_in(OPERATOR)
    expect(who(tab)).to_have_text(re.compile("operator of crm; viewer of dcim"))
    launch(tab, "crm_reconcile")
    expect(tab).to_have_url(re.compile("/runs/[0-9a-f-]{36}"))
    run_id = tab.url.split("/runs/")[1][:36]
    [run] = [run for run in serving.runs() if run["id"] == run_id]
    assert {"key": "backup_pipelines/operator", "value": OPERATOR} in run["tags"]
    launch(tab, "dcim_reconcile")
    refusal = f"{OPERATOR} is a viewer of dcim, and launching a run needs an operator: ask {ADMIN}"
    expect(tab.get_by_text(refusal).first).to_be_visible()
    # What needs an admin gets as far as its run, which says so.
    launch(tab, "crm_prune")
    expect(tab).to_have_url(re.compile("/runs/[0-9a-f-]{36}"))
    expect(tab.get_by_text("prune needs an admin").first).to_be_visible()


def launch(tab: Page, job: str) -> None:
    """Launch a job from its launchpad, with the config that is there."""
    tab.goto(_JOB + job + "/playground")
    button = tab.get_by_role("button", name=re.compile("Launch Run$"))
    expect(button).to_be_enabled()
    button.click()


def test_an_admin_has_the_switches_and_signs_out(sign_in: SignIn) -> None:
    """After that the same tab is nobody's, the pages that it has seen included."""
    tab = sign_in(ADMIN)
    expect(who(tab)).to_have_text(re.compile("admin of crm, dcim"))
    tab.goto("/automation")
    expect(tab.get_by_role("checkbox").nth(1)).to_be_enabled()
    who(tab).click()
    expect(tab.get_by_role("heading", name=ADMIN)).to_be_visible()
    expect(tab.get_by_role("cell", name=re.compile("restore into"))).to_be_visible()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    tab.goto("/automation")
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
