"""The pages of the log-in as HTML: no script, nothing from elsewhere, texts escaped here."""

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import NEEDS, Role
from backup_pipelines.webserver.people import Standing

NAME, PASSWORD, TOKEN, NEXT = "name", "password", "token", "next"
"""The fields of the forms."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)

_VIEWERS = "look at everything that Dagster shows"
_DAGSTER = {Role.OPERATOR: ("stop runs",), Role.ADMIN: ("switch schedules and sensors",)}


def sign_in(
    *, nonce: str, wanted: str, name: str = "", problem: str = "", passwords: bool, tokens: bool
) -> str:
    """The page where people sign in, with what was wrong the last time."""
    body = [
        "<h1>Sign in</h1>",
        '<p class="soft">Backups of your databases, on Dagster</p>',
        f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else "",
    ]
    hidden = f'<input type="hidden" name="{NEXT}" value="{escape(wanted)}">'
    if passwords:
        # The cursor stands where something is still to be typed.
        at_name, at_password = ("", " autofocus") if name else (" autofocus", "")
        body += [
            '<form class="wide" method="post" action="/sign-in">',
            f'<label for="name">Name</label><input id="name" name="{NAME}" required '
            f'autocomplete="username" autocapitalize="none" spellcheck="false" '
            f'maxlength="200" value="{escape(name)}"{at_name}>',
            f'<label for="password">Password</label><input id="password" name="{PASSWORD}" '
            f'type="password" required autocomplete="current-password" '
            f'maxlength="1000"{at_password}>',
            f'{hidden}<button type="submit">Sign in</button></form>',
        ]
    if tokens:
        is_open = "" if passwords else " open"
        body += [
            f"<details{is_open}><summary>Sign in with the application's token</summary>",
            '<form class="wide" method="post" action="/sign-in/token">',
            '<label for="token">Token</label>',
            f'<textarea id="token" name="{TOKEN}" rows="4" required autocomplete="off" '
            'spellcheck="false" aria-describedby="about-token"></textarea>',
            '<p class="soft" id="about-token">The access token (JWT) that the application gives '
            "to whoever is signed in there.</p>",
            f'{hidden}<button type="submit">Sign in with the token</button></form></details>',
        ]
    return page("Sign in", "\n".join(body), nonce, width="440px")


def who_am_i(identity: Identity, standing: Standing, nonce: str) -> str:
    """The page that says who somebody is, and what they may do."""
    how = "by password" if identity.via == "password" else "by the application's token"
    body = [f"<h1>{escape(identity.name)}</h1>", f'<p class="soft">signed in {how}</p>']
    if standing.highest is Role.NOBODY:
        body.append(f'<p class="problem" role="alert">{escape(no_role(identity))}</p>')
    body += [f'<p class="problem">{escape(problem)}</p>' for problem in standing.problems]
    rows = [(name, _access(standing, name), _role(role)) for name, role in standing.roles.items()]
    body += ["<h2>Your roles</h2>", _table(("system", "access", "your role"), rows)]
    may = [(_cell(str(role)), ", ".join(what)) for role, what in may_do().items()]
    body += [
        "<h2>What each role may do</h2>",
        '<p class="soft">Each may do what those above it may.</p>',
        _table(("role", "may"), may),
        '<div class="bar"><form method="post" action="/sign-out"><button>Sign out</button></form>',
        '<a href="/">Dagster</a></div>' if standing.highest > Role.NOBODY else "</div>",
    ]
    return page(f"{identity.name}: roles", "\n".join(body), nonce, width="760px")


def refused(sentence: str, nonce: str) -> str:
    """A page with nothing but the reason, and the way back."""
    body = (
        f'<h1>Not signed in</h1><p class="problem" role="alert">{escape(sentence)}</p>'
        '<p></p><p><a href="/sign-in">Sign in</a></p>'
    )
    return page("Not signed in", body, nonce, width="440px")


def badge(identity: Identity, standing: Standing) -> str:
    """What stands in Dagster's own pages: who is signed in, and what that makes them."""
    by_role: dict[str, list[str]] = {}
    for name, role in sorted(standing.roles.items()):
        if name in standing.enforced:
            by_role.setdefault(str(role), []).append(name)
    each = [f"{role} of {', '.join(names)}" for role, names in by_role.items()]
    opened = sorted(set(standing.roles) - standing.enforced)
    each += [f"access to {', '.join(opened)} is open"] if opened else []
    return _template("badge.html").substitute(
        name=escape(identity.name), roles=escape("; ".join(each))
    )


def no_role(identity: Identity) -> str:
    """The sentence for somebody who is nobody here."""
    return (
        f"{identity.name} has no role in any system: an admin names people under viewers, "
        "operators or admins in the YAML of a system"
    )


def may_do() -> Mapping[Role, Sequence[str]]:
    """What each role may do beyond those below it, in words."""
    found: dict[Role, Sequence[str]] = {Role.VIEWER: (_VIEWERS,)}
    for role in _ROLES[1:]:
        named = (operation.replace("_", " ") for operation, least in NEEDS.items() if least == role)
        found[role] = (*(name for name in named if name != "schedule"), *_DAGSTER[role])
    return found


def page(title: str, body: str, nonce: str, *, width: str) -> str:
    """A whole page."""
    return _template("page.html").substitute(
        title=escape(title), body=body, nonce=nonce, width=width
    )


def _access(standing: Standing, name: str) -> str:
    if name in standing.enforced:
        return "enforced"
    return "open: everybody may do everything"


def _role(role: Role) -> str:
    return _cell(str(role)) if role > Role.NOBODY else "none"


def _cell(text: str) -> str:
    return f'<span class="yes">{escape(text)}</span>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    # Cells with markup are made here, of our own words; names of systems are plain by their form.
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


@cache
def _template(name: str) -> Template:
    return Template((files(__package__ or "") / "html" / name).read_text(encoding="utf-8"))
