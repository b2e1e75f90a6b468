"""How the UI shows the health: numbers that it plots, a table of the guards, a check for each."""

from collections.abc import Sequence

import dagster as dg

from backup_pipelines.dagster_layer import glance, metadata, partitions
from backup_pipelines.dagster_layer.labels import BYTES, NUMBERS, PERCENT, SECONDS, SUMMARY
from backup_pipelines.health.finding import Finding, span
from backup_pipelines.health.health import Health
from backup_pipelines.wording import size

# The core's names of some numbers say what is counted only beside the guard's name.
_LABELS = {
    "bytes": "storage_bytes",
    "closed": "backups_closed",
    "damaged": "backups_damaged",
    "encrypted": "backups_encrypted",
    "excluded": "tables_excluded",
    "in_a_row": "failures_in_a_row",
    "lacking": "backups_lacking",
    "percent": "storage_percent",
    "unfinished": "removals_unfinished",
    "unlocked": "backups_unlocked",
    "unreadable": "manifests_unreadable",
    "waiting": "audit_records_waiting",
}


def numbers(finding: Finding) -> metadata.Metadata:
    """What a guard has counted, by labels that say what that is, and in words."""
    counted = {_LABELS.get(name, name): value for name, value in finding.numbers.items()}
    said = "; ".join(_number_in_words(name, value) for name, value in counted.items())
    return {SUMMARY: said, **counted} if said else {}


def _number_in_words(label: str, value: float) -> str:
    unit = NUMBERS[label].unit if label in NUMBERS else ""
    name = label.removesuffix(f"_{unit}").replace("_", " ")
    if unit == SECONDS:
        return f"{name} {span(value)}" if name != unit else span(value)
    if unit == BYTES:
        return f"{name} {size(round(value))}"
    return f"{name} {value:,g} %" if unit == PERCENT else f"{value:,g} {name}"


def check(system: str, finding: Finding) -> dg.AssetCheckResult:
    """The check of a guard; what could not be looked at has not passed."""
    said = f"{finding.message} {finding.advice}".strip()
    return dg.AssetCheckResult(
        asset_key=partitions.health_key(system),
        check_name=finding.guard,
        passed=finding.status == "ok",
        severity=severity(finding),
        description=said,
        metadata={"status": finding.status, **numbers(finding)},
    )


def severity(finding: Finding) -> dg.AssetCheckSeverity:
    """An error is one; whatever else has not passed is a warning."""
    error = finding.status == "error"
    return dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN


def of_health(health: Health) -> metadata.Metadata:
    """A summary, the backups at a glance, the guards, the numbers to plot, and the times."""
    counted: dict[str, float | None] = {
        "guards_red": sum(finding.status == "error" for finding in health.findings),
        "guards_warning": sum(finding.status == "warning" for finding in health.findings),
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
    shown: dict[str, metadata.Value] = {
        SUMMARY: _in_words(health),
        "at_a_glance": dg.MetadataValue.md(glance.at_a_glance(health)),
        "guards": dg.MetadataValue.md(_table(health.findings)),
    }
    shown |= {name: value for name, value in counted.items() if value is not None}
    shown |= {name: dg.MetadataValue.timestamp(value) for name, value in times.items() if value}
    return shown


def _in_words(health: Health) -> str:
    """How it is, and what the numbers below say, as people say it."""
    red = ", ".join(finding.guard for finding in health.red)
    said = "healthy: no guard is red" if health.healthy else f"not healthy: {red}"
    if health.recovery_point_seconds is not None:
        said += f"; the newest good full backup is {span(health.recovery_point_seconds)} old"
    if health.largest_gap_seconds is not None:
        said += f", the largest gap was {span(health.largest_gap_seconds)}"
    if health.recovery_time_seconds is not None:
        said += f"; the last drill restored in {span(health.recovery_time_seconds)}"
    growth = health.storage_bytes_per_day
    grows = (
        f", {size(round(abs(growth)))} {'less' if growth < 0 else 'more'} a day" if growth else ""
    )
    return f"{said}; {size(health.storage_bytes)} in the store{grows}"


def _table(findings: Sequence[Finding]) -> str:
    lines = ["| guard | status | found | what to do |", "|---|---|---|---|"]
    for finding in findings:
        cells = (finding.guard, finding.status, finding.message, finding.advice)
        lines.append("| " + " | ".join(metadata.cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 3)
