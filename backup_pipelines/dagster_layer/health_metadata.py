"""How the UI shows the health: numbers that it plots, a table of the guards, a check for each."""

from collections.abc import Sequence

import dagster as dg

from backup_pipelines.dagster_layer import metadata, partitions
from backup_pipelines.health.finding import Finding
from backup_pipelines.health.health import Health


def check(system: str, finding: Finding) -> dg.AssetCheckResult:
    """The check of a guard; what could not be looked at has not passed."""
    said = f"{finding.message} {finding.advice}".strip()
    return dg.AssetCheckResult(
        asset_key=partitions.health_key(system),
        check_name=finding.guard,
        passed=finding.status == "ok",
        severity=severity(finding),
        description=said,
        metadata={"status": finding.status, **finding.numbers},
    )


def severity(finding: Finding) -> dg.AssetCheckSeverity:
    """An error is one; whatever else has not passed is a warning."""
    error = finding.status == "error"
    return dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN


def of_health(health: Health) -> metadata.Metadata:
    """The numbers, as plain ones, the times, and the guards as a table."""
    numbers: dict[str, float | None] = {
        "healthy": int(health.healthy),
        "errors": sum(finding.status == "error" for finding in health.findings),
        "warnings": sum(finding.status == "warning" for finding in health.findings),
        "backups": health.backups,
        "recovery_point_hours": _hours(health.recovery_point_seconds),
        "largest_gap_hours": _hours(health.largest_gap_seconds),
        "recovery_time_seconds": health.recovery_time_seconds,
        "success_percent": None
        if health.success_rate is None
        else round(100 * health.success_rate, 1),
        "storage_bytes": health.storage_bytes,
        "storage_percent": round(100 * health.storage_bytes / health.storage_limit_bytes, 2),
        "storage_bytes_per_day": health.storage_bytes_per_day,
    }
    times = {
        "last_backup_at": health.last_backup_at,
        "next_scheduled": health.next_scheduled,
        "last_drill": health.last_drill.at if health.last_drill else None,
        "next_drill": health.next_drill,
        "last_prune": health.last_prune.at if health.last_prune else None,
        "storage_full_at": health.storage_full_at,
    }
    shown: dict[str, metadata.Value] = {"guards": dg.MetadataValue.md(_table(health.findings))}
    shown |= {name: value for name, value in numbers.items() if value is not None}
    shown |= {name: dg.MetadataValue.timestamp(value) for name, value in times.items() if value}
    return shown


def _table(findings: Sequence[Finding]) -> str:
    lines = ["| guard | status | found | what to do |", "|---|---|---|---|"]
    for finding in findings:
        cells = (finding.guard, finding.status, finding.message, finding.advice)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 3)
