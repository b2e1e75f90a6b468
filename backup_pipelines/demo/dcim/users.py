"""Users, as Supabase keeps them, with their profiles, roles, sessions and tokens."""

import json
import random
import string
from collections.abc import Iterator

from backup_pipelines.demo.dcim.world import TODAY, World, before

Rows = Iterator[tuple[object, ...]]

USER_COLUMNS = (
    *("id", "aud", "role", "email", "encrypted_password", "email_confirmed_at", "phone"),
    *("phone_confirmed_at", "last_sign_in_at", "raw_app_meta_data", "raw_user_meta_data"),
    *("is_super_admin", "banned_until", "created_at", "updated_at"),
)
PROFILE_COLUMNS = (
    *("id", "email", "full_name", "department", "avatar_url", "timezone", "preferences"),
    *("last_login_at", "created_at", "updated_at"),
)
ROLE_COLUMNS = ("id", "user_id", "role", "assigned_by", "created_at")
SESSION_COLUMNS = (
    *("id", "user_id", "aal", "not_after", "refreshed_at", "user_agent", "ip"),
    *("created_at", "updated_at"),
)
TOKEN_COLUMNS = (
    *("id", "token", "user_id", "parent", "session_id", "revoked", "created_at", "updated_at"),
)

USER_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
)
_SESSIONS_PER_USER = 2
_TOKENS_PER_SESSION = 3
_DEPARTMENTS = ("Infrastructure", "Network", "Storage", "Security", "Facilities", None)
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata")


def users(world: World) -> Rows:
    """Yield auth.users: passwords have the shape of bcrypt's and open nothing."""
    rng = world.random("auth.users")
    for index, user in enumerate(world.users):
        signed_in = before(rng, 45) if index % 8 else None
        # A few also confirmed a telephone; the last has confirmed nothing.
        phone = f"4930555{index:04d}" if index % 6 == 1 else None
        yield (
            *(user.id, "authenticated", "authenticated", user.email, _password(rng)),
            None if index == len(world.users) - 1 else user.joined,
            *(phone, user.joined if phone else None, signed_in),
            json.dumps({"provider": "email", "providers": ["email"]}),
            json.dumps({"full_name": user.full_name, "email_verified": True}),
            *(None, TODAY if index == 20 else None, user.joined, signed_in or user.joined),
        )


def profiles(world: World) -> Rows:
    """Yield profiles, one for every user."""
    rng = world.random("profiles")
    for user in world.users:
        theme = {"theme": rng.choice(("light", "dark")), "rows_per_page": rng.choice((25, 50))}
        yield (
            *(user.id, user.email, user.full_name, rng.choice(_DEPARTMENTS), None),
            *(rng.choice(_ZONES), json.dumps(theme), before(rng, 45), user.joined),
            before(rng, 45),
        )


def user_roles(world: World) -> Rows:
    """Yield user_roles: everyone but the first super admin was given theirs by that one."""
    for index, user in enumerate(world.users):
        by = world.users[0].id if index else None
        yield world.uuid("role", index), user.id, user.role, by, user.joined


def sessions(world: World) -> Rows:
    """Yield auth.sessions."""
    rng = world.random("auth.sessions")
    for index, user in enumerate(world.users):
        for number in range(_SESSIONS_PER_USER):
            made = before(rng, 30)
            yield (
                *(world.uuid("session", f"{index}/{number}"), user.id),
                *("aal2" if user.role == "super_admin" else "aal1", None),
                made.replace(tzinfo=None),
                *(rng.choice(USER_AGENTS), f"203.0.113.{rng.randrange(1, 255)}", made, made),
            )


def refresh_tokens(world: World) -> Rows:
    """Yield auth.refresh_tokens: a chain for every session, only the last of it still good."""
    rng = world.random("auth.refresh_tokens")
    number = 0
    for index, user in enumerate(world.users):
        for session in range(_SESSIONS_PER_USER):
            parent: str | None = None
            for link in range(_TOKENS_PER_SESSION):
                number += 1
                token = "".join(rng.choices(string.ascii_lowercase + string.digits, k=12))
                made = before(rng, 30)
                yield (
                    *(number, f"{token}{number}", user.id, parent),
                    world.uuid("session", f"{index}/{session}"),
                    *(link < _TOKENS_PER_SESSION - 1, made, made),
                )
                parent = f"{token}{number}"


def _password(rng: random.Random) -> str:
    digits = "./" + string.ascii_letters + string.digits
    return "$2a$10$" + "".join(rng.choices(digits, k=53))
