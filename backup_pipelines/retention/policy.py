"""Which backups a policy keeps and why: a pure function of what there is.

Only good backups count, and only good ones are ever removed. Ages are measured from the newest good
backup, never from the clock: neither a clock that jumps nor a long silence makes one old. The time
of a backup is the database server's, so that two clocks must agree before it makes others old.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from backup_pipelines.backup_id import BackupType
from backup_pipelines.settings import RetentionRule, RetentionSpec, parse_size
from backup_pipelines.wording import moment

# Clocks of two machines differ by less; what is further ahead was dated by a wrong one.
_CLOCKS_DIFFER = timedelta(minutes=5)

_BUCKETS: Mapping[str, tuple[str, Callable[[datetime], str]]] = {
    "keep_daily": ("day", lambda at: f"{at:%Y-%m-%d}"),
    "keep_weekly": ("week", lambda at: f"{at:%G-W%V}"),
    "keep_monthly": ("month", lambda at: f"{at:%Y-%m}"),
}


@dataclass(frozen=True)
class Held:
    """A backup as retention sees it; `at` is an aware time."""

    id: str
    type: BackupType
    full: bool
    modules: frozenset[str]
    at: datetime
    size_bytes: int
    good: bool
    pinned: bool
    locked_until: datetime | None = None
    copy_of: tuple[str, ...] = ()
    """What this one is to replace; as long as a good one of them is there, that one counts."""
    shared: Mapping[str, int] = field(default_factory=dict[str, int])
    """Those of its objects that other backups name too, with their bytes, which size_bytes has."""


@dataclass(frozen=True)
class Verdict:
    """Whether a backup is kept, and every reason, in words."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


def taken(held: Sequence[Held]) -> int:
    """Bytes that some backups take together; what several of them name is there once."""
    shared = {key: size for one in held for key, size in one.shared.items()}
    alone = sum(one.size_bytes - sum(one.shared.values()) for one in held)
    return alone + sum(shared.values())


def decide(spec: RetentionSpec, held: Sequence[Held], now: datetime) -> list[Verdict]:
    """What becomes of each backup, newest first."""
    ordered = sorted(held, key=lambda one: (one.at, one.id), reverse=True)
    good = {one.id for one in ordered if one.good}
    copies = {one.id: old for one in ordered for old in one.copy_of if old in good}
    counted = [
        one
        for one in ordered
        if one.good and one.at <= now + _CLOCKS_DIFFER and one.id not in copies
    ]
    ignored = {one.id for one in ordered} - {one.id for one in counted}
    reasons: dict[str, list[str]] = {one.id: [] for one in ordered}
    for one in ordered:
        if one.pinned:
            reasons[one.id].append("pinned")
        if one.locked_until is not None and one.locked_until > now:
            reasons[one.id].append(f"locked until {moment(one.locked_until)}")
        if one.id in ignored:
            reasons[one.id].append(
                f"a copy of {copies[one.id]}, which is still there and counts instead"
                if one.id in copies
                else _why_ignored(one)
            )
    _protect(spec, counted, reasons)
    protected = {backup_id for backup_id, found in reasons.items() if found}
    removed: dict[str, str] = {}
    for of_type, rule, group in _groups(spec, counted):
        against = _apply(rule, of_type, group, counted[0].at, reasons)
        removed.update((one.id, against) for one in group if not reasons[one.id])
    kept = [one for one in counted if one.id not in removed]
    removed |= _over_size(spec, kept, protected)
    return [
        Verdict(one.id, False, (removed[one.id],))
        if one.id in removed
        else Verdict(one.id, True, tuple(reasons[one.id]))
        for one in ordered
    ]


def _why_ignored(one: Held) -> str:
    if one.good:
        return (
            f"dated in the future ({moment(one.at)}), so it counts for nothing: check "
            "the clocks here and on the database's server"
        )
    return (
        "damaged or not verified, so it counts for nothing and is never pruned: verify it, then "
        "delete it by hand"
    )


def _protect(spec: RetentionSpec, counted: Sequence[Held], reasons: dict[str, list[str]]) -> None:
    """Give the reasons that no size limit outweighs."""
    for one in [one for one in counted if one.full][: spec.floor]:
        what = "backup" if spec.floor == 1 else "backups"
        reasons[one.id].append(f"floor: one of the {spec.floor} newest good full {what}")
    newest: dict[str, list[str]] = {}
    seen: set[str] = set()
    for one in counted:
        newest[one.id] = sorted(one.modules - seen)
        seen |= one.modules
    for backup_id, modules in newest.items():
        if modules:
            what = "module" if len(modules) == 1 else "modules"
            reasons[backup_id].append(f"the newest with {what} {', '.join(modules)}")


def _groups(
    spec: RetentionSpec, counted: Sequence[Held]
) -> list[tuple[str, RetentionRule, list[Held]]]:
    """Types with a rule of their own, and all others together."""
    own = [
        (f"{name} ", rule, [one for one in counted if one.type == name])
        for name, rule in spec.types.items()
    ]
    shared = [one for one in counted if one.type not in spec.types]
    return [found for found in [*own, ("", spec, shared)] if found[2]]


def _apply(
    rule: RetentionRule,
    of_type: str,
    group: Sequence[Held],
    newest: datetime,
    reasons: dict[str, list[str]],
) -> str:
    """Add what the rule keeps to the reasons; returns why it does not keep the others."""
    against: list[str] = []
    if rule.keep_last:
        which = f"the newest {rule.keep_last} {of_type}".rstrip()
        which += " backups" if of_type else ""
        for one in group[: rule.keep_last]:
            reasons[one.id].append(f"one of {which}")
        against.append(f"older than {which}")
    if rule.keep_days:
        days = "1 day" if rule.keep_days == 1 else f"{rule.keep_days} days"
        for one in group:
            if newest - one.at <= timedelta(days=rule.keep_days):
                reasons[one.id].append(f"at most {days} older than the newest good backup")
        against.append(f"more than {days} older than the newest good backup")
    for name, (unit, bucket_of) in _BUCKETS.items():
        if count := rule.rules[name]:
            units = f"the newest {count} {of_type}{unit}s with backups"
            for bucket, one in _last_of_each(group, bucket_of)[:count]:
                reasons[one.id].append(f"the last of {unit} {bucket}, one of {units}")
            against.append(f"not the last of one of {units}")
    return f"{', '.join(against)} and no other rule keeps it"


def _last_of_each(
    group: Sequence[Held], bucket_of: Callable[[datetime], str]
) -> list[tuple[str, Held]]:
    """The newest backup of each day, week or month (UTC) that has one, newest first."""
    last: dict[str, Held] = {}
    for one in group:
        last.setdefault(bucket_of(one.at.astimezone(UTC)), one)
    return list(last.items())


def _over_size(spec: RetentionSpec, kept: Sequence[Held], protected: set[str]) -> Mapping[str, str]:
    """The oldest of what the rules keep, as many as must go for the rest to fit."""
    if spec.max_size is None:
        return {}
    limit, total = parse_size(spec.max_size), taken(kept)
    names = Counter(key for one in kept for key in one.shared)
    over: dict[str, str] = {}
    for one in reversed(kept):
        if total <= limit:
            break
        if one.id not in protected:
            over[one.id] = f"over max_size {spec.max_size}: the oldest go until the rest fits"
            names.subtract(one.shared.keys())
            total -= one.size_bytes - sum(n for key, n in one.shared.items() if names[key] > 0)
    return over
