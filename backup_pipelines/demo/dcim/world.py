"""What the demo's tables agree on: who works there, which devices stand where.

Identifiers come from names rather than from a generator's state, so that tables can be produced in
any order, lazily, and still refer to each other.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

from mimesis import Person
from mimesis.locales import Locale

from backup_pipelines.demo.dcim.devices import DEVICES, Device

TODAY = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
SERVERS = 276
RACK_UNITS = 42
SITES = ("DC-East", "DC-West", "DC-Central")

_NAMESPACE = UUID("7f1d6a52-3c0e-4e7b-9b58-d0c1a55e7de0")
_USERS = 25
_RACKS_PER_ROOM = 6
_DEVICES_PER_RACK = 10


class Role(NamedTuple):
    """A group of devices doing one job: their names, kind, and how many there are in a hundred."""

    prefix: str
    kind: str
    environment: str
    allocation: str
    share: int


ROLES = (
    Role("web-prod", "Server", "Production", "PAAS", 9),
    Role("app-prod", "Server", "Production", "PAAS", 13),
    Role("k8s-worker", "Server", "Production", "IAAS", 17),
    Role("esx-host", "Server", "Production", "IAAS", 9),
    Role("db-primary", "Server", "Production", "Database", 3),
    Role("db-replica", "Server", "Production", "Database", 5),
    Role("cache-prod", "Server", "Production", "PAAS", 4),
    Role("mq-prod", "Server", "Production", "SAAS", 2),
    Role("app-preprod", "Server", "Pre-Production", "PAAS", 3),
    Role("app-test", "Server", "Testing", "PAAS", 5),
    Role("ci-runner", "Server", "Development", "IAAS", 4),
    Role("dr-standby", "Server", "Disaster Recovery", "IAAS", 5),
    Role("gpu-train", "GPU Server", "Production", "IAAS", 2),
    Role("storage", "Storage", "Production", "Storage", 6),
    Role("tor-switch", "Network", "Production", "Network", 6),
    Role("edge-fw", "Firewall", "Production", "Network", 2),
    Role("lb-prod", "Load Balancer", "Production", "Load Balancer", 2),
    Role("pdu", "PDU", "Production", "IAAS", 2),
    Role("kvm", "KVM", "Production", "IAAS", 1),
)


class User(NamedTuple):
    """A person with an account."""

    id: UUID
    email: str
    full_name: str
    role: str
    joined: datetime


class Rack(NamedTuple):
    """A rack and where it stands."""

    name: str
    site: str
    building: str
    floor: int
    room: str


class Server(NamedTuple):
    """A device and its place; rack and unit are None for what is still in its box."""

    number: int
    id: UUID
    hostname: str
    role: Role
    device: Device
    rack: Rack | None
    unit: int | None


class World(NamedTuple):
    """Everything more than one table needs."""

    seed: int
    scale: float
    users: tuple[User, ...]
    racks: tuple[Rack, ...]
    servers: tuple[Server, ...]

    def uuid(self, kind: str, key: object) -> UUID:
        """Return the identifier of one thing: the same for the same seed, kind and key."""
        return _uuid(self.seed, kind, key)

    def random(self, table: str) -> random.Random:
        """Return a generator of its own for each table, whatever the order they are made in."""
        return random.Random(f"{self.seed}/{table}")

    def person(self) -> User:
        """Return the first engineer: the author of what nobody in particular made."""
        return next(user for user in self.users if user.role == "engineer")


def build(seed: int, scale: float) -> World:
    """Make the world of one seed; there are never fewer servers than at scale 1."""
    servers = tuple(_servers(seed, max(SERVERS, round(SERVERS * scale))))
    filled = len({server.rack.name for server in servers if server.rack is not None})
    # Two empty racks at the end: rows nothing refers to.
    racks = tuple(_rack(index) for index in range(filled + 2))
    return World(seed, scale, tuple(_users(seed)), racks, servers)


def before(rng: random.Random, days: int, *, least: int = 0) -> datetime:
    """Return a moment between `least` and `days` days before the demo's today."""
    return TODAY - timedelta(seconds=rng.randrange(least * 86_400, days * 86_400))


def _uuid(seed: int, kind: str, key: object) -> UUID:
    return uuid5(_NAMESPACE, f"{seed}/{kind}/{key}")


def _users(seed: int) -> Iterator[User]:
    rng = random.Random(f"{seed}/users")
    person = Person(Locale.EN, seed=seed)
    taken: set[str] = set()
    for index in range(_USERS):
        first, last = person.first_name(), person.last_name()
        address = f"{first}.{last}".lower().replace(" ", "").replace("'", "")
        email = f"{address}@example.com"
        if email in taken:
            email = f"{address}{index}@example.com"
        taken.add(email)
        role = "super_admin" if index < 2 else "engineer" if index < 10 else "viewer"
        joined = before(rng, 1400 - 50 * index, least=60)
        yield User(_uuid(seed, "user", index), email, f"{first} {last}", role, joined)


def _rack(index: int) -> Rack:
    room, place = divmod(index, _RACKS_PER_ROOM)
    site = SITES[room % len(SITES)]
    number = room // len(SITES) + 1
    letter = site.removeprefix("DC-")[0]
    name = f"{letter}{number:02d}-R{place + 1:02d}"
    return Rack(name, site, f"Building {letter}", (number - 1) % 3 + 1, f"Room {number}")


def _servers(seed: int, count: int) -> Iterator[Server]:
    rng = random.Random(f"{seed}/servers")
    models = {role.kind: [d for d in DEVICES if d.kind == role.kind] for role in ROLES}
    numbers = dict.fromkeys(ROLES, 0)
    rack, top, in_rack = 0, 1, 0
    for index in range(count):
        # Always the group furthest behind its share, so that every length has every group.
        role = max(ROLES, key=lambda r: r.share * (index + 1) / 100 - numbers[r])
        numbers[role] += 1
        device = rng.choice(models[role.kind])
        place: tuple[Rack | None, int | None] = None, None
        # The last few of a test group wait in the store room.
        if not (role.environment == "Testing" and numbers[role] % 4 == 0):
            unit = top + (rng.random() < 0.2)
            if in_rack == _DEVICES_PER_RACK or unit + device.height - 1 > RACK_UNITS:
                rack, unit, in_rack = rack + 1, 1, 0
            place = _rack(rack), unit
            top, in_rack = unit + device.height, in_rack + 1
        yield Server(
            index,
            _uuid(seed, "server", index),
            f"{role.prefix}-{numbers[role]:02d}",
            role,
            device,
            *place,
        )
