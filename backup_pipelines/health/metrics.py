"""The health as OpenMetrics text, for Prometheus.

Gauges only, without timestamps: node exporter's textfile collector, which wants Prometheus' own
older text, reads it as well, since it takes the last line, `# EOF`, for a comment.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from backup_pipelines.errors import Failed
from backup_pipelines.health.finding import Status
from backup_pipelines.health.health import Health

BACKUP_METRICS_FILE = "BACKUP_METRICS_FILE"

_STATUSES: dict[Status, int] = {"ok": 0, "warning": 1, "error": 2, "unknown": -1}

# Node exporter runs as a user of its own.
_MODE = 0o644


def render(found: Sequence[Health], now: datetime) -> str:
    """The metrics of some systems as text; ages are those of `now`."""
    registry = CollectorRegistry()
    registry.register(_Collector(found, now))
    return generate_latest(registry).decode()


def write(path: Path, found: Sequence[Health], now: datetime) -> None:
    """Write the metrics of some systems to a file, whole or not at all; raises Failed."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        unfinished.write_text(render(found, now))
        unfinished.chmod(_MODE)
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise Failed(f"{path} of {BACKUP_METRICS_FILE} cannot be written: {error}") from error


def metrics_file() -> Path | None:
    """The file that BACKUP_METRICS_FILE names, if any."""
    named = os.environ.get(BACKUP_METRICS_FILE)
    return Path(named) if named else None


_Value = Callable[[Health, datetime], float | None]

_GAUGES: dict[str, tuple[str, _Value]] = {
    "healthy": ("1 if no guard is an error, else 0.", lambda h, _: float(h.healthy)),
    "looked_timestamp_seconds": (
        "When the health was looked at; old if the daemon is dead.",
        lambda h, _: h.at.timestamp(),
    ),
    "backups": ("Backups in the store.", lambda h, _: float(h.backups)),
    "last_backup_timestamp_seconds": (
        "Snapshot of the newest good full backup.",
        lambda h, _: _timestamp(h.last_backup_at),
    ),
    "last_backup_age_seconds": (
        "Age of the newest good full backup.",
        lambda h, now: _age(h.last_backup_at, now),
    ),
    "recovery_point_target_seconds": (
        "How old it may get.",
        lambda h, _: h.recovery_point_target_seconds,
    ),
    "storage_bytes": ("Bytes in the store.", lambda h, _: float(h.storage_bytes)),
    "storage_limit_bytes": ("Bytes it may take.", lambda h, _: float(h.storage_limit_bytes)),
    "success_ratio": (
        "Share of the last 30 attempts to back up that were done.",
        lambda h, _: h.success_rate,
    ),
    "last_drill_timestamp_seconds": (
        "The last drill that passed.",
        lambda h, _: _timestamp(h.last_drill.at if h.last_drill else None),
    ),
    "recovery_time_seconds": ("What it took.", lambda h, _: h.recovery_time_seconds),
    "recovery_time_target_seconds": (
        "What it may take.",
        lambda h, _: h.recovery_time_target_seconds,
    ),
}


class _Collector(Collector):
    """What prometheus_client asks for its samples."""

    def __init__(self, found: Sequence[Health], now: datetime) -> None:
        self._found = found
        self._now = now

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, (about, value_of) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"backup_pipelines_{name}", about, labels=["system"])
            for health in self._found:
                value = value_of(health, self._now)
                # What nobody knows has no sample: 0 would be a number.
                if value is not None:
                    gauge.add_metric([health.system], value)
            yield gauge
        guards = GaugeMetricFamily(
            "backup_pipelines_guard_status",
            "0 ok, 1 warning, 2 error, -1 unknown.",
            labels=["system", "guard"],
        )
        for health in self._found:
            for finding in health.findings:
                guards.add_metric([health.system, finding.guard], _STATUSES[finding.status])
        yield guards


def _timestamp(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max((now - at).total_seconds(), 0.0)
