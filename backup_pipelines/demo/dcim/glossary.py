"""The device glossary: every model and its specifications."""

import json
import random
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from backup_pipelines.demo.dcim.devices import CONTROLLERS, DEVICES, Device
from backup_pipelines.demo.dcim.world import World, before

Rows = Iterator[tuple[object, ...]]

RATINGS = ("Gold", "Platinum", "Platinum", "Titanium")

DEVICE_COLUMNS = (
    *("id", "brand", "model", "device_type", "height_u", "weight_kg", "release_date"),
    *("end_of_life", "datasheet_url", "description", "tags", "is_verified"),
    *("created_at", "updated_at"),
)
CPU_COLUMNS = (
    *("id", "device_id", "cpu_model", "sockets", "cores_per_socket", "base_ghz", "tdp_watts"),
)
MEMORY_COLUMNS = (
    *("id", "device_id", "memory_type", "max_capacity_gb", "dimm_slots", "speed_mts", "ecc"),
)
STORAGE_COLUMNS = (
    *("id", "device_id", "drive_bays", "form_factor", "interfaces", "max_capacity_tb"),
    *("raid_levels", "hot_swap"),
)
NETWORK_COLUMNS = ("id", "device_id", "port_kind", "port_count", "speed_gbps", "is_management")
POWER_COLUMNS = (
    *("id", "device_id", "psu_count", "psu_watts", "psu_rating", "idle_watts", "typical_watts"),
    *("max_watts", "input_voltage", "redundancy"),
)
BMC_COLUMNS = ("id", "device_id", "controller", "protocols", "dedicated_port", "firmware")
COMPATIBILITY_COLUMNS = (
    *("device_id", "compatible_with_id", "compatibility_type", "notes", "created_at"),
)


def devices(world: World) -> Rows:
    """Yield device_glossary."""
    rng = world.random("device_glossary")
    for device in DEVICES:
        slug = device.model.lower().replace("//", "-").replace(" ", "-")
        released = date(device.released, rng.randrange(1, 13), 1)
        made = before(rng, 1200, least=100)
        tags = [device.kind.lower(), *(["legacy"] if device.released < 2018 else [])]
        yield (
            *(world.uuid("device", device.model), device.brand, device.model, device.kind),
            *(device.height, Decimal(rng.randrange(80, 120) * device.height * 15) / 100, released),
            released.replace(year=device.released + 9) if device.released < 2020 else None,
            f"https://assetdex.example.com/datasheets/{slug}.pdf",
            f"{device.brand} {device.model}, {device.height}U {device.kind.lower()}",
            *(tags, rng.random() < 0.8, made, max(made, before(rng, 300))),
        )


def cpu_specs(world: World) -> Rows:
    """Yield device_cpu_specs of the models that have processors worth listing."""
    for device in DEVICES:
        if cpu := device.platform:
            yield (
                *_key(world, "cpu", device),
                *(cpu.cpu, cpu.sockets, cpu.cores, cpu.ghz, cpu.tdp),
            )


def memory_specs(world: World) -> Rows:
    """Yield device_memory_specs."""
    for device in DEVICES:
        if memory := device.platform:
            yield (
                *_key(world, "memory", device),
                *(memory.memory_type, memory.memory_gb, memory.dimms, memory.memory_speed, True),
            )


def storage_specs(world: World) -> Rows:
    """Yield device_storage_specs; a nested list of RAID levels is null where a model has none."""
    for device in DEVICES:
        if device.bays is None:
            continue
        bays, form, capacity = device.bays
        large = form == '3.5"'
        interfaces = ["SAS", "SATA"] if large else ["NVMe"] if form == "E1.S" else ["SAS", "NVMe"]
        yield (
            *_key(world, "storage", device),
            *(bays, form, interfaces, Decimal(capacity)),
            None if device.brand == "NVIDIA" else [0, 1, 5, 6, 10][: 2 if bays < 8 else 5],
            device.model != "PowerEdge R260",
        )


def network_specs(world: World) -> Rows:
    """Yield device_network_specs: each kind of port, and the management port."""
    for device in DEVICES:
        for kind, count, gbps in device.ports:
            port = f"{device.model}/{kind}/{gbps}"
            yield (
                *(world.uuid("network", port), world.uuid("device", device.model)),
                *(kind, count, Decimal(str(gbps)), False),
            )
        if device.brand in CONTROLLERS:
            yield (
                *_key(world, "network", device),
                *(CONTROLLERS[device.brand], 1, Decimal("1.0"), True),
            )


def power_specs(world: World) -> Rows:
    """Yield device_power_specs, one row for every model."""
    rng = world.random("device_power_specs")
    for device in DEVICES:
        typical = device.max_watts * rng.randrange(50, 70) // 100
        yield (
            *_key(world, "power", device),
            *(device.psus, device.psu_watts, rng.choice(RATINGS), typical // 2, typical),
            *(device.max_watts, "[200,241)" if device.psu_watts > 1000 else "[100,241)"),
            "none" if device.psus == 1 else f"{device.psus // 2}+{device.psus - device.psus // 2}",
        )


def management_specs(world: World) -> Rows:
    """Yield device_management_specs of the models with a management controller."""
    rng = world.random("device_management_specs")
    for device in DEVICES:
        controller = CONTROLLERS.get(device.brand)
        if controller is None:
            continue
        protocols = ["Redfish", "IPMI"] if device.platform else ["SSH", "SNMPv3", "NETCONF"]
        yield (
            *_key(world, "management", device),
            *(controller, protocols, device.kind != "Network", _firmware(rng)),
        )


def compatibility(world: World) -> Rows:
    """Yield device_compatibility: successors, uplinks of servers, and their power feeds."""
    rng = world.random("device_compatibility")
    switches = [device for device in DEVICES if device.kind == "Network" and "48" in device.model]
    feeds = [device for device in DEVICES if device.kind == "PDU"]
    for device in DEVICES:
        pairs = [(other, "successor") for other in DEVICES if _succeeds(other, device)]
        if device.platform:
            pairs += [(rng.choice(switches), "uplink"), (rng.choice(feeds), "power_feed")]
        for other, kind in pairs:
            yield (
                *(world.uuid("device", device.model), world.uuid("device", other.model), kind),
                *(rng.choice((None, "Checked with the vendor")), before(rng, 700)),
            )


def _key(world: World, kind: str, device: Device) -> tuple[object, object]:
    return world.uuid(kind, device.model), world.uuid("device", device.model)


def _succeeds(other: Device, device: Device) -> bool:
    same = (other.brand, other.kind, other.height) == (device.brand, device.kind, device.height)
    return same and 0 < other.released - device.released <= 4


def _firmware(rng: random.Random) -> str:
    version = f"{rng.randrange(1, 8)}.{rng.randrange(100):02d}.{rng.randrange(100):02d}"
    return json.dumps({"version": version, "released": before(rng, 900).date().isoformat()})
