"""Servers, racks and power."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from uuid import UUID

from backup_pipelines.demo.dcim.devices import CONTROLLERS
from backup_pipelines.demo.dcim.glossary import RATINGS
from backup_pipelines.demo.dcim.world import RACK_UNITS, Server, World, before

Rows = Iterator[tuple[object, ...]]

SERVER_COLUMNS = (
    *("id", "hostname", "serial_number", "brand", "model", "device_type", "glossary_id"),
    *("operating_system", "environment", "allocation", "status", "dc_site", "dc_building"),
    *("dc_floor", "dc_room", "rack", "unit", "unit_height", "ip_address", "management_ip"),
    *("mac_address", "memory_gb", "storage_tb", "primary_server_id", "warranty", "tags", "notes"),
    *("created_by", "created_at", "updated_at", "custom_warranty_expiry", "custom_asset_owner"),
    "custom_monitored",
)
RACK_COLUMNS = (
    *("id", "rack_name", "dc_site", "dc_building", "dc_floor", "dc_room", "total_units"),
    *("reserved_units", "power_capacity_kw", "subnet", "position_xy", "description"),
    *("created_at", "updated_at"),
)
POWER_COLUMNS = (
    *("id", "server_id", "idle_watts", "typical_watts", "max_watts", "power_factor", "voltage"),
    *("is_auto_estimated", "measured_at", "created_at", "updated_at"),
)
PSU_COLUMNS = (
    *("server_id", "slot", "watts", "rating", "serial_number", "feed", "is_healthy", "updated_at"),
)

_SYSTEMS = (
    *("Ubuntu 22.04 LTS", "Ubuntu 22.04 LTS", "Ubuntu 24.04 LTS", "RHEL 8", "RHEL 9", "RHEL 9"),
    *("Rocky Linux 9", "Debian 12", "Windows Server 2019", "Windows Server 2022"),
    "Oracle Linux 9",
)
_STATUSES = ("Active",) * 16 + ("Maintenance", "Ready", "Inactive", "Decommissioned")
_TAGS = ("pci", "gdpr", "critical", "leased", "eol-soon", "dmz")
_OWNERS = ("Platform", "Payments", "Data & Analytics", "Customer Portal", "Corporate IT", None)
# Text a backup has to carry as it is: quotes, line breaks, tabs, other scripts, and SQL.
_NOTES = (
    *(None,) * 9,
    "Replaced DIMM A3; memtest clean",
    "Front bezel missing.\nAsked the vendor on 12 November; no answer yet.",
    'Labelled "do not power off" since the 2024 move',
    "Lüfter laut, Austausch geplant — siehe Ticket №4711",
    "冷却ファン交換済み",
    "Path on the old console: C:\\ilo\\backup\tport 2",
    "'); DROP TABLE servers; --",
)
_BASE_ADDRESS, _BASE_MANAGEMENT = IPv4Address("10.20.0.1"), IPv4Address("10.120.0.1")
_DIGITS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def serial(prefix: str, number: int) -> str:
    """Return a serial number that looks random and is different for every number."""
    # An odd multiplier not divisible by 17 is a bijection modulo 34^6.
    code = (number + 1) * 914_562_913 % 34**6
    letters = ""
    for _ in range(6):
        code, digit = divmod(code, 34)
        letters = _DIGITS[digit] + letters
    return prefix + letters


def racks(world: World) -> Rows:
    """Yield rack_metadata, the first few without a creation time."""
    rng = world.random("rack_metadata")
    for index, rack in enumerate(world.racks):
        reserved = f"[{RACK_UNITS - 1},{RACK_UNITS + 1})" if rng.random() < 0.15 else None
        made = None if index < 5 else before(rng, 1500, least=900)
        yield (
            *(world.uuid("rack", rack.name), rack.name, rack.site, rack.building, rack.floor),
            *(rack.room, RACK_UNITS, reserved, Decimal(rng.choice((8, 12, 17, 22, 40)))),
            f"10.{20 + index // 256}.{index % 256}.0/24",
            f"({index % 6 * 0.6:.1f},{index // 6})",
            *(rng.choice((None, "Cold aisle", "Hot aisle", "Caged: customer equipment")), made),
            before(rng, 800),
        )


def servers(world: World) -> Rows:
    """Yield servers, one at a time."""
    rng = world.random("servers")
    authors = [user.id for user in world.users if user.role != "viewer"]
    primaries = {s.hostname: s.id for s in world.servers if s.role.prefix == "db-primary"}
    for server in world.servers:
        role, device, rack = server.role, server.device, server.rack
        bought = before(rng, 1500, least=30)
        years = rng.choice((3, 3, 5, 5, 7))
        status = rng.choice(_STATUSES) if rack else rng.choice(("Ordered", "In Transit", "Ready"))
        site = rack or world.racks[0]
        room = (rack.building, rack.floor, rack.room) if rack else (None, None, None)
        platform, bays = device.platform, device.bays
        yield (
            *(server.id, server.hostname, serial(device.brand[:2].upper(), server.number)),
            *(device.brand, device.model, role.kind, world.uuid("device", device.model)),
            *(_system(server, rng.choice(_SYSTEMS)), role.environment, role.allocation, status),
            *(site.site, *room, rack.name if rack else None, server.unit, device.height),
            str(_BASE_ADDRESS + server.number) if rack else None,
            str(_BASE_MANAGEMENT + server.number) if device.brand in CONTROLLERS else None,
            _mac(server.number * 2 + rng.randrange(2)),
            min(platform.memory_gb, 64 << rng.randrange(5)) if platform else None,
            Decimal(bays[2] * rng.randrange(10, 100)) / 100 if bays else None,
            _primary(server, primaries),
            timedelta(days=365 * years),
            sorted(rng.sample(_TAGS, k=rng.choice((0, 0, 1, 1, 2, 3)))),
            *(rng.choice(_NOTES), rng.choice(authors), bought, before(rng, 30)),
            bought.date() + timedelta(days=365 * years) if rng.random() < 0.8 else None,
            *(rng.choice(_OWNERS), rng.choice((True, True, True, False, None))),
        )


def power_specs(world: World) -> Rows:
    """Yield exactly one row for every server."""
    rng = world.random("power_specs")
    for server in world.servers:
        most = Decimal(server.device.max_watts)
        typical = (most * rng.randrange(40, 70) / 100).quantize(Decimal("0.01"))
        idle = (typical * rng.randrange(30, 60) / 100).quantize(Decimal("0.01"))
        estimated = rng.random() < 0.4
        made = before(rng, 900, least=31)
        yield (
            *(world.uuid("power", server.number), server.id, idle, typical, most),
            *(rng.uniform(0.9, 0.995), rng.choice((208, 230, 230)), estimated),
            *(None if estimated else before(rng, 30), made, max(made, before(rng, 400))),
        )


def psu_specs(world: World) -> Rows:
    """Yield every power supply of every server, fed from A and B in turn."""
    rng = world.random("psu_specs")
    for server in world.servers:
        device = server.device
        for slot in range(1, device.psus + 1):
            yield (
                *(server.id, slot, device.psu_watts, rng.choice(RATINGS)),
                serial("PS", server.number * 8 + slot),
                *("AB"[(slot - 1) % 2], rng.random() > 0.02, before(rng, 300)),
            )


def _system(server: Server, choice: str) -> str:
    if server.role.prefix == "esx-host":
        return "VMware ESXi 8"
    if server.device.platform is None or server.role.kind == "Storage":
        return "Appliance firmware"
    return choice


def _primary(server: Server, primaries: dict[str, UUID]) -> UUID | None:
    # By number, so that db-replica-01, and it alone, follows db-primary-01.
    if server.role.prefix != "db-replica":
        return None
    number = server.hostname.rpartition("-")[2]
    return primaries.get(f"db-primary-{number}", primaries["db-primary-02"])


def _mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x02_42_00_00_00_00 + number).to_bytes(6, "big"))
