"""The words about roles, on the pages and in the documentation."""

from pathlib import Path

from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.webserver import markup
from backup_pipelines.webserver.people import Standing

_PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md"


def test_the_table_of_roles_is_the_one_of_the_code() -> None:
    """What operations.md says of each role is what the code asks for."""
    rows = _PAGE.read_text().splitlines()
    for role, what in markup.may_do().items():
        before = "" if role is Role.VIEWER else "that, and: "
        assert f"| {role} | {before}{', '.join(what)} |" in rows


def test_names_are_text_wherever_they_are_shown() -> None:
    """Whatever an application calls its users."""
    odd = Identity('<b onclick="x">&', "token", "1")
    standing = Standing({"crm": Role.NOBODY}, frozenset({"crm"}), ("<i>problem",))
    for shown in (
        markup.who_am_i(odd, standing, "n"),
        markup.badge(odd, standing),
        markup.sign_in(
            nonce="n", wanted='/"><i>', name=odd.name, problem="<i>", passwords=True, tokens=True
        ),
        markup.refused("<i>", "n"),
    ):
        assert "<b onclick" not in shown
        assert "<i>" not in shown


def test_the_line_in_dagster_says_where_access_is_open() -> None:
    """Beside the roles in the systems that ask for them."""
    roles = {"a": Role.VIEWER, "b": Role.ADMIN, "c": Role.ADMIN, "d": Role.VIEWER}
    some = markup.badge(Identity("ada", "password"), Standing(roles, frozenset({"a", "b", "d"})))
    assert "<span>viewer of a, d; admin of b; access to c is open</span>" in some
    opened = markup.badge(Identity("ada", "password"), Standing({"c": Role.ADMIN}, frozenset()))
    assert "<span>access to c is open</span>" in opened


def test_the_form_offers_the_ways_that_there_are() -> None:
    """A password, a token, or both."""
    for passwords, tokens in ((True, False), (False, True), (True, True)):
        page = markup.sign_in(nonce="n", wanted="/", passwords=passwords, tokens=tokens)
        assert ('name="password"' in page) == passwords
        assert ('name="token"' in page) == tokens
