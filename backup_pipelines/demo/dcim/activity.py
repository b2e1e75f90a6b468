"""The activity log, the one table that grows with use."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import accumulate

from backup_pipelines.demo.dcim.users import USER_AGENTS
from backup_pipelines.demo.dcim.world import TODAY, Server, World

Rows = Iterator[tuple[object, ...]]

COLUMNS = (
    *("id", "category", "action", "resource_type", "resource_id", "severity", "details"),
    *("user_id", "user_email", "ip_address", "user_agent", "created_at"),
)
ENTRIES = 3_000
_DAYS = 365

# Category, action, kind of resource, severity, and how often it happens.
_ACTIONS = (
    ("asset", "server_updated", "server", "info", 40),
    ("asset", "server_created", "server", "info", 8),
    ("asset", "server_deleted", "server", "warning", 2),
    ("rack", "server_moved", "server", "info", 6),
    ("rack", "rack_updated", "rack", "info", 4),
    ("power", "power_specs_updated", "server", "info", 8),
    ("power", "rack_power_exceeded", "rack", "critical", 1),
    ("glossary", "device_updated", "device", "info", 3),
    ("user", "role_changed", "user", "warning", 1),
    ("authentication", "login", "user", "info", 20),
    ("authentication", "login_failed", "user", "warning", 4),
    ("dashboard", "widget_updated", "widget", "debug", 6),
    ("properties", "column_added", "property", "info", 1),
    ("backup", "backup_created", "backup", "info", 2),
    ("backup", "backup_list_viewed", "backup", "debug", 2),
    ("backup", "backup_downloaded", "backup", "info", 1),
    ("backup", "backup_restored", "backup", "warning", 1),
    ("backup", "backup_deleted", "backup", "warning", 1),
    ("backup", "unauthorized_backup_access", "backup", "error", 1),
)
_WEIGHTS = tuple(accumulate(action[-1] for action in _ACTIONS))


def entries(world: World) -> Rows:
    """Yield activity_logs in the order of time, from a year ago until the demo's today."""
    rng = world.random("activity_logs")
    count = max(1, round(ENTRIES * world.scale))
    admins = [user for user in world.users if user.role == "super_admin"]
    viewers = [user for user in world.users if user.role == "viewer"]
    step = timedelta(days=_DAYS) / count
    start = TODAY - timedelta(days=_DAYS)
    for number in range(1, count + 1):
        category, action, kind, severity, _ = rng.choices(_ACTIONS, cum_weights=_WEIGHTS)[0]
        server = rng.choice(world.servers)
        who = rng.choice(world.users)
        if category == "backup":
            who = rng.choice(viewers if action == "unauthorized_backup_access" else admins)
        known = action not in ("login_failed", "rack_power_exceeded")
        resource = {
            "server": str(server.id),
            "rack": server.rack.name if server.rack else None,
            "device": str(world.uuid("device", server.device.model)),
            "user": str(who.id) if known else None,
        }.get(kind, f"{kind}-{rng.randrange(1, 200)}")
        yield (
            *(number, category, action, kind, resource, severity),
            json.dumps(_details(rng, action, server), ensure_ascii=False),
            *(who.id if known else None, None if action == "rack_power_exceeded" else who.email),
            *_client(rng, action),
            start + step * number - timedelta(microseconds=rng.randrange(1_000_000)),
        )


def _client(rng: random.Random, action: str) -> tuple[str | None, str | None]:
    if action == "rack_power_exceeded":
        return None, None
    last = rng.randrange(1, 255)
    # Some come over IPv6.
    address = f"2001:db8:20::{last:x}" if rng.random() < 0.1 else f"10.{rng.randrange(8)}.4.{last}"
    return address, rng.choice(USER_AGENTS)


def _details(rng: random.Random, action: str, server: Server) -> dict[str, object]:
    rack = server.rack.name if server.rack else None
    before, after = rng.sample(("Active", "Maintenance", "Ready", "Inactive"), k=2)
    backup = {"tables": 22, "records": rng.randrange(4_000, 6_000), "seconds": rng.random() * 5}
    described: dict[str, dict[str, object]] = {
        "server_created": {"hostname": server.hostname, "model": server.device.model},
        "server_updated": {
            "hostname": server.hostname,
            "changes": {"status": {"old": before, "new": after}},
            "comment": rng.choice((None, "planned", "größerer Umbau", 'as per "CHG-1042"')),
        },
        "server_deleted": {"hostname": server.hostname, "model": server.device.model},
        "server_moved": {"hostname": server.hostname, "to": {"rack": rack, "unit": server.unit}},
        "rack_power_exceeded": {"kw": round(rng.uniform(8, 20), 3), "limit_kw": 8},
        "backup_created": {**backup},
        "backup_downloaded": {**backup},
        "backup_restored": {**backup},
        "unauthorized_backup_access": {"attempted": rng.choice(("list", "download", "restore"))},
    }
    return described.get(action, {})
