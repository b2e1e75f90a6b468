"""The rows of the dcim demo database, the same for the same seed and scale."""

from collections.abc import Iterator

from backup_pipelines.demo.dcim import activity, dashboards, glossary, infrastructure, users
from backup_pipelines.demo.dcim.world import build
from backup_pipelines.demo.rows import TableRows


def tables(seed: int, scale: float) -> Iterator[TableRows]:
    """Yield every table with its rows; rows are made as they are read.

    Servers (never fewer than 276), what belongs to them, and the activity log grow with `scale`.
    """
    world = build(seed, scale)
    i, g, u, d = infrastructure, glossary, users, dashboards
    yield TableRows("auth.users", u.USER_COLUMNS, u.users(world))
    yield TableRows("auth.sessions", u.SESSION_COLUMNS, u.sessions(world))
    yield TableRows("auth.refresh_tokens", u.TOKEN_COLUMNS, u.refresh_tokens(world))
    yield TableRows("public.profiles", u.PROFILE_COLUMNS, u.profiles(world))
    yield TableRows("public.user_roles", u.ROLE_COLUMNS, u.user_roles(world))
    yield TableRows("public.device_glossary", g.DEVICE_COLUMNS, g.devices(world))
    yield TableRows("public.device_cpu_specs", g.CPU_COLUMNS, g.cpu_specs(world))
    yield TableRows("public.device_memory_specs", g.MEMORY_COLUMNS, g.memory_specs(world))
    yield TableRows("public.device_storage_specs", g.STORAGE_COLUMNS, g.storage_specs(world))
    yield TableRows("public.device_network_specs", g.NETWORK_COLUMNS, g.network_specs(world))
    yield TableRows("public.device_power_specs", g.POWER_COLUMNS, g.power_specs(world))
    yield TableRows("public.device_management_specs", g.BMC_COLUMNS, g.management_specs(world))
    yield TableRows("public.device_compatibility", g.COMPATIBILITY_COLUMNS, g.compatibility(world))
    yield TableRows("public.rack_metadata", i.RACK_COLUMNS, i.racks(world))
    yield TableRows("public.servers", i.SERVER_COLUMNS, i.servers(world))
    yield TableRows("public.power_specs", i.POWER_COLUMNS, i.power_specs(world))
    yield TableRows("public.psu_specs", i.PSU_COLUMNS, i.psu_specs(world))
    yield TableRows("public.property_definitions", d.PROPERTY_COLUMNS, d.properties(world))
    yield TableRows("public.enum_colors", d.COLOR_COLUMNS, d.colors(world))
    yield TableRows("public.filter_defaults", d.FILTER_COLUMNS, d.filters(world))
    yield TableRows("public.user_filter_preferences", d.PREFERENCE_COLUMNS, d.preferences(world))
    yield TableRows("public.dashboard_widget_configs", d.WIDGET_COLUMNS, d.widgets(world))
    yield TableRows("public.list_widget_configs", d.LIST_COLUMNS, d.list_widgets(world))
    yield TableRows("public.activity_logs", activity.COLUMNS, activity.entries(world))
