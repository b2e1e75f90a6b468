"""Histories of a system made by hand: manifests, audit records and drills of any age and size."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_pipelines import layout, state_log
from backup_pipelines.drill_record import DrillResult
from backup_pipelines.health import health
from backup_pipelines.health.finding import Finding
from backup_pipelines.health.health import Health
from backup_pipelines.manifest import Column, Manifest, Table
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail import audit
from backup_pipelines.trail.audit import Happened, Outcome
from backup_pipelines_tests.bare_manifest import bare_manifest

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)

# Rows and bytes of each table.
Sizes = Mapping[str, tuple[int, int]]

DEALS: Sizes = {"public.deals": (1000, 50_000)}


def crm(**settings: Any) -> System:
    """The system crm with one table in a module, and these settings."""
    return System.model_validate(
        {
            "system": "crm",
            "database_url_env": "CRM_DATABASE_URL",
            "modules": {"sales": {"tables": ["deals"]}},
            **settings,
        }
    )


def put_backup(
    store: Store,
    hours_ago: float,
    sizes: Sizes = DEALS,
    *,
    seconds: float = 60,
    columns: Sequence[tuple[str, str, str]] = (),
    now: datetime = NOW,
    **fields: Any,
) -> Manifest:
    """A full scheduled backup; columns are names, types and encodings of every table."""
    at = now - timedelta(hours=hours_ago)
    entry = bare_manifest(
        at,
        **{
            "type": "scheduled",
            "created_by": "schedule",
            "created_at": at + timedelta(seconds=seconds),
            "tables": tuple(_table(name, *size, columns) for name, size in sizes.items()),
            **fields,
        },
    )
    store.put_new(layout.manifest_key("crm", entry.id), entry.to_json())
    return entry


def put_record(
    store: Store, operation: str, outcome: Outcome, hours_ago: float, message: str = ""
) -> None:
    """What the audit trail has of an operation."""
    at = NOW - timedelta(hours=hours_ago)
    happened = Happened(
        operation=operation, outcome=outcome, operator="ada", at=at, message=message
    )
    audit.append(store, "crm", happened)


def put_drill(store: Store, hours_ago: float, seconds: float = 30) -> None:
    """A drill that has passed."""
    at = NOW - timedelta(hours=hours_ago)
    key = layout.drill_key("crm", "20260101T000000Z-manual-aaaaaa", state_log.stamp(at))
    passed = DrillResult(
        system="crm",
        backup_id="20260101T000000Z-manual-aaaaaa",
        at=at,
        tables=1,
        rows=1000,
        seconds=seconds,
        seconds_by_module={},
        seconds_by_step={},
        skipped=(),
        server_version=180006,
        key=key,
    )
    store.put_new(key, passed.model_dump_json().encode())


def found(health: Health, guard: str) -> Finding:
    """What a guard found."""
    [finding] = [finding for finding in health.findings if finding.guard == guard]
    return finding


def look(store: Store, guard: str, system: System | None = None, now: datetime = NOW) -> Finding:
    """What a guard finds in the store."""
    return found(health.assess(store, system or crm(), now), guard)


def _table(name: str, rows: int, size: int, columns: Sequence[tuple[str, str, str]]) -> Table:
    schema, _, bare = name.partition(".")
    return Table(
        schema=schema,
        name=bare,
        module="sales",
        columns=tuple(
            Column(
                name=column,
                type=kind,
                base_type=f"pg_catalog.{kind}",
                encoding=encoding,  # type: ignore[arg-type]
                arrow_type="string",
            )
            for column, kind, encoding in columns
        ),
        rows=rows,
        digest="0" * 16,
        size_bytes=size,
        source_bytes=size,
        seconds=1,
    )
