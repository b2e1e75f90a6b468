"""What people configured: properties, colours, filters and dashboard widgets."""

import json
from collections.abc import Iterator
from datetime import timedelta

from backup_pipelines.demo.dcim.world import World, before

Rows = Iterator[tuple[object, ...]]

PROPERTY_COLUMNS = (
    *("id", "table_name", "key", "display_name", "property_type", "enum_name", "is_required"),
    *("is_custom", "default_value", "options", "sort_order", "created_by"),
    *("created_at", "updated_at"),
)
COLOR_COLUMNS = ("id", "enum_type", "enum_value", "color", "created_at", "updated_at")
FILTER_COLUMNS = (
    *("id", "filter_key", "display_name", "enum_type", "is_enabled", "sort_order"),
    *("created_at", "updated_at"),
)
PREFERENCE_COLUMNS = ("user_id", "filter_key", "is_enabled", "sort_order", "updated_at")
WIDGET_COLUMNS = (
    *("id", "user_id", "dashboard", "title", "widget_type", "data_source", "config"),
    *("grid_position", "is_visible", "created_at", "updated_at"),
)
LIST_COLUMNS = (
    *("id", "widget_id", "columns", "filters", "environments", "sort_column"),
    *("sort_descending", "page_size", "refresh_every", "updated_at"),
)

# Column of servers, its title, its type, its enum.
_PROPERTIES: tuple[tuple[str, str, str, str | None], ...] = (
    ("hostname", "Hostname", "text", None),
    ("serial_number", "Serial number", "text", None),
    ("brand", "Brand", "enum", "brand_type"),
    ("model", "Model", "enum", "model_type"),
    ("device_type", "Device type", "enum", "device_type"),
    ("operating_system", "Operating system", "enum", "operating_system"),
    ("environment", "Environment", "enum", "environment_type"),
    ("allocation", "Allocation", "enum", "allocation_type"),
    ("status", "Status", "enum", "lifecycle_status"),
    ("dc_site", "Site", "enum", "dc_site"),
    ("rack", "Rack", "text", None),
    ("unit", "Unit", "number", None),
    ("memory_gb", "Memory (GB)", "number", None),
    ("storage_tb", "Storage (TB)", "number", None),
    ("tags", "Tags", "multi_select", None),
    ("notes", "Notes", "text", None),
    ("custom_warranty_expiry", "Warranty expiry", "date", None),
    ("custom_asset_owner", "Asset owner", "text", None),
    ("custom_monitored", "Monitored", "boolean", None),
)
_COLORS = {
    "lifecycle_status": (
        *("Ordered", "In Transit", "Ready", "Active", "Maintenance", "Inactive"),
        *("Decommissioned", "Retired"),
    ),
    "environment_type": (
        *("Production", "Pre-Production", "Testing", "Development", "Disaster Recovery"),
    ),
    "device_type": (
        *("Server", "GPU Server", "Storage", "Network", "Firewall", "Load Balancer", "PDU", "KVM"),
    ),
    "allocation_type": (
        *("IAAS", "PAAS", "SAAS", "Database", "Load Balancer", "Network", "Storage"),
    ),
    "activity_severity": ("debug", "info", "warning", "error", "critical"),
    "dc_site": ("DC-East", "DC-West", "DC-Central"),
}
# device_type and operating_system are left for sync_enum_columns_to_filter_defaults() to find.
_FILTERS: tuple[tuple[str, str, str | None], ...] = (
    ("dc_site", "Site", "dc_site"),
    ("environment", "Environment", "environment_type"),
    ("status", "Status", "lifecycle_status"),
    ("allocation", "Allocation", "allocation_type"),
    ("brand", "Brand", "brand_type"),
    ("model", "Model", "model_type"),
    ("rack", "Rack", None),
    ("tags", "Tags", None),
    ("custom_asset_owner", "Asset owner", None),
)
_WIDGETS = (
    ("Devices", "metric", "servers.count"),
    ("Typical load (kW)", "gauge", "power.typical_kw"),
    ("Devices by environment", "chart", "servers.environment"),
    ("Fullest racks", "table", "rack_occupancy"),
    ("Recent activity", "timeline", "activity_logs"),
    ("Warranty ending", "list", "servers"),
    ("In maintenance", "list", "servers"),
)


def properties(world: World) -> Rows:
    """Yield property_definitions of every column people may edit, custom ones included."""
    rng = world.random("property_definitions")
    author = world.person()
    for index, (key, title, kind, enum) in enumerate(_PROPERTIES):
        custom = key.startswith("custom_")
        options = json.dumps(["pci", "gdpr", "critical", "leased"]) if key == "tags" else None
        made = before(rng, 300) if custom else author.joined
        yield (
            *(world.uuid("property", key), "servers", key, title, kind, enum),
            *(key in ("hostname", "serial_number"), custom),
            *("true" if key == "custom_monitored" else None, options, index * 10),
            *(author.id if custom else None, made, made),
        )


def colors(world: World) -> Rows:
    """Yield enum_colors; the oldest have no creation time."""
    rng = world.random("enum_colors")
    number = 0
    for enum, labels in _COLORS.items():
        for label in labels:
            number += 1
            made = None if number <= 6 else before(rng, 900)
            yield number, enum, label, f"#{rng.randrange(0x1000000):06x}", made, made


def filters(world: World) -> Rows:
    """Yield filter_defaults."""
    rng = world.random("filter_defaults")
    for number, (key, title, enum) in enumerate(_FILTERS, start=1):
        made = before(rng, 900)
        yield number, key, title, enum, number <= 5, number * 10, made, made


def preferences(world: World) -> Rows:
    """Yield user_filter_preferences: what each user turned on or off, often nothing."""
    rng = world.random("user_filter_preferences")
    for user in world.users:
        for key, _, _ in _FILTERS:
            if rng.random() < 0.4:
                order = rng.choice((None, rng.randrange(1, 100)))
                yield user.id, key, rng.random() < 0.7, order, before(rng, 400)


def widgets(world: World) -> Rows:
    """Yield dashboard_widget_configs: the shared dashboard, and those of some users."""
    rng = world.random("dashboard_widget_configs")
    for owner in _owners(world):
        for place, (title, kind, source) in enumerate(_WIDGETS):
            # json, not jsonb: the application compares the text, spaces and all.
            grid = f'{{"x": {place % 3 * 4}, "y": {place // 3 * 3},  "w": 4, "h": 3}}'
            config = {"color": f"#{rng.randrange(0x1000000):06x}", "refresh": rng.choice((30, 60))}
            made = before(rng, 600, least=31)
            yield (
                *(world.uuid("widget", f"{owner}/{place}"), owner, "mine" if owner else "main"),
                *(title, kind, source, json.dumps(config), grid, rng.random() < 0.9),
                *(made, before(rng, 30)),
            )


def list_widgets(world: World) -> Rows:
    """Yield list_widget_configs, one for every widget that is a list."""
    rng = world.random("list_widget_configs")
    for owner in _owners(world):
        for place, (title, kind, _) in enumerate(_WIDGETS):
            if kind != "list":
                continue
            warranty = title == "Warranty ending"
            order = "custom_warranty_expiry" if warranty else "hostname"
            where = [{"column": "status", "operator": "=", "value": "Maintenance"}]
            yield (
                *(world.uuid("list", f"{owner}/{place}"),),
                world.uuid("widget", f"{owner}/{place}"),
                ["hostname", "rack", "unit", *([order] if warranty else ["status"])],
                json.dumps([] if warranty else where),
                rng.choice((None, [], ["Production"], ["Production", "Disaster Recovery"])),
                *(order, rng.random() < 0.3, rng.choice((10, 25, 50))),
                *(timedelta(minutes=rng.choice((5, 15))), before(rng, 200)),
            )


def _owners(world: World) -> list[object]:
    return [None, *(user.id for user in world.users[::3])]
