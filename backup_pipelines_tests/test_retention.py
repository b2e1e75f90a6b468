"""Retention decides right over any history, says why, and agrees with itself."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines.backup_id import BackupType
from backup_pipelines.retention.policy import Held, Verdict, decide
from backup_pipelines.settings import RetentionRule, RetentionSpec, parse_size

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TYPES: tuple[BackupType, ...] = ("manual", "scheduled", "module", "safety")

_NUMBERS = st.integers(0, 4)

# A history takes long to draw.
_FEWER = settings(max_examples=60, deadline=None)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, int]:
    """The numbers of a policy that keeps something."""
    names = ("keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly")
    found = {name: draw(_NUMBERS) for name in names}
    if not any(found.values()):
        found[draw(st.sampled_from(names))] = 1
    return found


@st.composite
def specs(draw: st.DrawFn) -> RetentionSpec:
    """A policy, some types with a rule of their own."""
    types = draw(st.dictionaries(st.sampled_from(TYPES), rules(), max_size=2))
    size = draw(st.none() | st.integers(1, 60).map(lambda n: f"{n} B"))
    own = {name: RetentionRule(**rule) for name, rule in types.items()}
    return RetentionSpec(**draw(rules()), floor=draw(st.integers(1, 3)), max_size=size, types=own)


@st.composite
def histories(draw: st.DrawFn) -> list[Held]:
    """Backups of all kinds: failed, pinned, of the future, several of one moment."""
    held: list[Held] = []
    for number in range(draw(st.integers(0, 14))):
        kind = draw(st.sampled_from(TYPES))
        full = kind in ("manual", "scheduled") and draw(st.booleans())
        modules = {"a", "b", "c"} if full else draw(st.sets(st.sampled_from("abc"), max_size=2))
        hours = draw(st.sampled_from([0, 1, 2, 24, 25, 48, 24 * 7, 24 * 30, 24 * 90]))
        ahead = draw(st.sampled_from([0, 0, 0, 0, 24 * 400]))
        shared = {key: ord(key) % 7 for key in draw(st.sets(st.sampled_from("pqrs"), max_size=3))}
        held.append(
            Held(
                id=f"{number:04d}",
                type=kind,
                full=full,
                modules=frozenset(modules),
                at=NOW - timedelta(hours=hours * draw(st.integers(0, 3))) + timedelta(hours=ahead),
                size_bytes=draw(st.integers(0, 9)) + sum(shared.values()),
                shared=shared,
                good=draw(st.sampled_from([True, True, True, False])),
                pinned=draw(st.sampled_from([False, False, False, True])),
                locked_until=draw(st.sampled_from([None, None, NOW, NOW + timedelta(seconds=1)])),
            )
        )
    return held


def newer(one: Held, than: Held) -> bool:
    """Whether one backup comes before another in the order of newest first."""
    return (one.at, one.id) > (than.at, than.id)


class Oracle:
    """The rules once more, backup by backup, by counting what is newer."""

    def __init__(self, spec: RetentionSpec, held: Sequence[Held]) -> None:
        self.spec = spec
        self.held = held
        self.counted = [one for one in held if one.good and one.at <= NOW + timedelta(minutes=5)]

    def protected(self, one: Held) -> set[str]:
        """Why no size limit can remove it."""
        found = {"pinned"} if one.pinned else set[str]()
        if one.locked_until and one.locked_until > NOW:
            found.add("locked until")
        if one not in self.counted:
            return found | {"dated in the future" if one.good else "damaged or not verified"}
        ahead = [other for other in self.counted if newer(other, one)]
        if one.full and sum(other.full for other in ahead) < self.spec.floor:
            found.add("floor")
        for module in one.modules:
            if not any(module in other.modules for other in ahead):
                found.add(f"the newest with module {module}")
        return found

    def by_rules(self, one: Held) -> set[str]:
        """Which rules keep it."""
        if one not in self.counted:
            return set()
        own = one.type in self.spec.types
        rule = self.spec.types[one.type] if own else self.spec
        group = [
            other
            for other in self.counted
            if (other.type == one.type if own else other.type not in self.spec.types)
        ]
        ahead = [other for other in group if newer(other, one)]
        found: set[str] = set()
        if len(ahead) < rule.keep_last:
            found.add("one of the newest")
        newest = max(other.at for other in self.counted)
        if rule.keep_days and one.at >= newest - timedelta(days=rule.keep_days):
            found.add("at most")
        for unit, count, form in (
            ("day", rule.keep_daily, "%Y-%m-%d"),
            ("week", rule.keep_weekly, "%G-%V"),
            ("month", rule.keep_monthly, "%Y-%m"),
        ):
            mine = one.at.strftime(form)
            buckets = {other.at.strftime(form) for other in ahead}
            if mine not in buckets and len(buckets) < count:
                found.add(f"the last of {unit}")
        return found

    def taken(self, kept: Sequence[Held]) -> int:
        """Bytes of all objects, each once."""
        objects = {key: size for one in kept for key, size in one.shared.items()}
        for one in kept:
            objects[one.id] = one.size_bytes - sum(one.shared.values())
        return sum(objects.values())

    def kept(self) -> set[str]:
        """Ids of what is kept."""
        kept = [one for one in self.held if self.protected(one) or self.by_rules(one)]
        if self.spec.max_size is not None:
            limit = parse_size(self.spec.max_size)
            while self.taken([one for one in kept if one in self.counted]) > limit:
                loose = [one for one in kept if not self.protected(one)]
                if not loose:
                    break
                kept.remove(min(loose, key=lambda one: (one.at, one.id)))
        return {one.id for one in kept}


def kinds(verdict: Verdict) -> set[str]:
    """The reasons of a verdict without their numbers and names."""
    found: set[str] = set()
    for reason in verdict.reasons:
        if reason.startswith("the newest with module"):
            modules = reason.removeprefix("the newest with module").removeprefix("s").split(",")
            found |= {f"the newest with module {name.strip()}" for name in modules}
            continue
        starts = (
            "pinned",
            "locked until",
            "floor",
            "one of the newest",
            "at most",
            "dated in the future",
            "damaged or not verified",
            "the last of day",
            "the last of week",
            "the last of month",
            "over max_size",
        )
        [start] = [s for s in starts if reason.startswith(s)] or ["no rule"]
        found.add(start)
    return found


@_FEWER
@given(specs(), histories())
def test_each_backup_is_kept_for_exactly_the_reasons_that_hold(
    spec: RetentionSpec, held: list[Held]
) -> None:
    """What is kept, and every reason, is what the rules say when each is looked at alone."""
    oracle = Oracle(spec, held)
    by_id = {one.id: one for one in held}
    verdicts = decide(spec, held, NOW)
    assert {verdict.id for verdict in verdicts if verdict.keep} == oracle.kept()
    for verdict in verdicts:
        rules_for = oracle.by_rules(by_id[verdict.id])
        if verdict.keep:
            assert kinds(verdict) == oracle.protected(by_id[verdict.id]) | rules_for
        else:
            assert kinds(verdict) == ({"over max_size"} if rules_for else {"no rule"})


@_FEWER
@given(specs(), histories())
def test_what_must_never_go_stays(spec: RetentionSpec, held: list[Held]) -> None:
    """Pinned, damaged and future ones stay, the floor, and the newest of each module."""
    verdicts = decide(spec, held, NOW)
    assert [v.id for v in verdicts] == [
        one.id for one in sorted(held, key=lambda h: (h.at, h.id), reverse=True)
    ]
    gone = {verdict.id for verdict in verdicts if not verdict.keep}
    assert not any(o.id in gone for o in held if o.pinned or not o.good or o.at > NOW)
    assert not any(o.id in gone for o in held if o.locked_until and o.locked_until > NOW)
    good = [one for one in held if one.good and one.at <= NOW]
    full = [one for one in good if one.full]
    assert sum(one.id not in gone for one in full) >= min(spec.floor, len(full))
    for module in set[str]().union(*(one.modules for one in good)):
        newest = max((o for o in good if module in o.modules), key=lambda o: (o.at, o.id))
        assert newest.id not in gone
    assert all(verdict.reasons and all(verdict.reasons) for verdict in verdicts)


@_FEWER
@given(specs(), histories(), st.randoms(use_true_random=False))
def test_a_second_look_removes_nothing_more(
    spec: RetentionSpec, held: list[Held], chance: random.Random
) -> None:
    """Decided over what is kept, everything is kept; cut short anywhere, the rest still goes."""
    gone = [verdict.id for verdict in reversed(decide(spec, held, NOW)) if not verdict.keep]
    shuffled = chance.sample(held, len(held))
    assert gone == [v.id for v in reversed(decide(spec, shuffled, NOW)) if not v.keep]
    for done in range(len(gone) + 1):
        left = [one for one in held if one.id not in gone[:done]]
        again = [verdict.id for verdict in reversed(decide(spec, left, NOW)) if not verdict.keep]
        assert again == gone[done:]


@_FEWER
@given(specs(), histories(), st.integers(-20_000, 20_000))
def test_a_clock_that_jumps_removes_nothing(
    spec: RetentionSpec, held: list[Held], hours: int
) -> None:
    """However far the clock is put, what a right clock keeps of the past is kept.

    But for locks: their end is a date.
    """
    past = [replace(one, locked_until=None) for one in held if one.at <= NOW]
    right = {verdict.id for verdict in decide(spec, past, NOW) if verdict.keep}
    jumped = {v.id for v in decide(spec, past, NOW + timedelta(hours=hours)) if v.keep}
    assert right <= jumped
    if hours >= 0:
        assert jumped == right


def make(count: int, kind: BackupType = "manual") -> list[Held]:
    """Good full backups, one a day, the last one now."""
    return [
        Held(
            f"{n:03d}", kind, True, frozenset("a"), NOW - timedelta(days=count - n), 10, True, False
        )
        for n in range(1, count + 1)
    ]


def test_thirty_five_leave_thirty() -> None:
    """By default the newest 30 are kept, and the others go for a reason in words."""
    verdicts = decide(RetentionSpec(), make(35), NOW)
    assert [verdict.id for verdict in verdicts if not verdict.keep] == [
        "005",
        "004",
        "003",
        "002",
        "001",
    ]
    assert verdicts[-1].reasons == ("older than the newest 30 and no other rule keeps it",)
    assert verdicts[0].reasons == (
        "floor: one of the 2 newest good full backups",
        "the newest with module a",
        "one of the newest 30",
    )
    assert verdicts[29].reasons == ("one of the newest 30",)


def test_safety_backups_have_their_own_rule() -> None:
    """The newest ten safety backups are kept, and take no other's place."""
    held = make(30) + [
        Held(f"s{n:02d}", "safety", False, frozenset(), NOW - timedelta(hours=n), 1, True, False)
        for n in range(12)
    ]
    gone = {v.id: v.reasons for v in decide(RetentionSpec(), held, NOW) if not v.keep}
    said = ("older than the newest 10 safety backups and no other rule keeps it",)
    assert gone == {"s10": said, "s11": said}


def test_days_count_from_the_newest_backup() -> None:
    """After a year of silence the same backups are kept as on the last day."""
    spec = RetentionSpec(keep_last=0, keep_days=3)
    then, now = (decide(spec, make(9), NOW + timedelta(days=days)) for days in (0, 365))
    assert then == now
    assert [verdict.id for verdict in now if verdict.keep] == ["009", "008", "007", "006"]
    said = ("more than 3 days older than the newest good backup and no other rule keeps it",)
    assert now[-1].reasons == said


def test_generations() -> None:
    """The last of each day, week and month is kept, as many as there are backups of."""
    spec = RetentionSpec(keep_last=0, keep_daily=2, keep_weekly=2, keep_monthly=2)
    kept = [v for v in decide(spec, make(60), NOW) if v.keep]
    assert [verdict.id for verdict in kept] == ["060", "059", "045"]
    assert kept[-1].reasons == (
        "the last of month 2026-05, one of the newest 2 months with backups",
    )
    assert "the last of week 2026-W24, one of the newest 2 weeks with backups" in kept[1].reasons


def test_too_much_for_the_store() -> None:
    """Over max_size the oldest go, but never into the floor, and pinned ones stay."""
    held = make(9)
    held[0] = Held(**(vars(held[0]) | {"pinned": True}))
    verdicts = decide(RetentionSpec(max_size="40 B"), held, NOW)
    assert [verdict.id for verdict in verdicts if verdict.keep] == ["009", "008", "007", "001"]
    assert verdicts[-2].reasons == ("over max_size 40 B: the oldest go until the rest fits",)
    floor = decide(RetentionSpec(max_size="1 B"), held, NOW)
    assert [verdict.id for verdict in floor if verdict.keep] == ["009", "008", "001"]


@pytest.mark.parametrize(("good", "said"), itertools.zip_longest([True, False], ["clocks", "hand"]))
def test_what_does_not_count_says_what_to_do(good: bool, said: str) -> None:
    """Backups of the future and damaged ones are kept, take no place, and say what to do."""
    held = make(3)
    at = NOW + timedelta(days=400) if good else NOW
    odd = [Held(f"x{n}", "manual", True, frozenset("a"), at, 10, good, False) for n in range(5)]
    spec = RetentionSpec(keep_last=3)
    verdicts = {verdict.id: verdict for verdict in decide(spec, held + odd, NOW)}
    assert all(verdict.keep for verdict in verdicts.values())
    assert said in verdicts["x0"].reasons[0]


@_FEWER
@given(specs(), histories(), st.data())
def test_a_copy_never_counts_beside_its_original(
    spec: RetentionSpec, held: list[Held], data: st.DataObject
) -> None:
    """With copies the verdicts are those without; a copy stays until it takes its place."""
    copied = [one for one in held if data.draw(st.booleans())]
    copies = [replace(one, id=f"{one.id}c", copy_of=("gone", one.id)) for one in copied]
    alone = {verdict.id: verdict for verdict in decide(spec, held, NOW)}
    both = {verdict.id: verdict for verdict in decide(spec, [*held, *copies], NOW)}
    good = {one.id for one in held if one.good}
    if all(one.id in good for one in copied):
        assert {name: both[name] for name in alone} == alone
    for copy in copies:
        if copy.copy_of[-1] in good:
            assert both[copy.id].keep
            assert any("counts instead" in reason for reason in both[copy.id].reasons)
    replaced = [one for one in held if one not in copied] + copies
    after = {verdict.id: verdict.keep for verdict in decide(spec, replaced, NOW)}
    assert all(after[copy.id] == alone[copy.copy_of[-1]].keep for copy in copies)


def test_a_copy_of_a_damaged_original_counts() -> None:
    """An original that is not good protects nothing, and its copy is not held back by it."""
    original = _copy_case("1", good=False)
    copy = replace(_copy_case("2"), copy_of=("1",))
    newer = _copy_case("3", hours=0)
    spec = RetentionSpec(keep_last=1, floor=1)
    kept = {verdict.id: verdict.keep for verdict in decide(spec, [original, copy, newer], NOW)}
    assert kept == {"1": True, "2": False, "3": True}


def _copy_case(name: str, *, good: bool = True, hours: int = 1) -> Held:
    return Held(
        id=name,
        type="manual",
        full=True,
        modules=frozenset("a"),
        at=NOW - timedelta(hours=hours, minutes=30),
        size_bytes=1,
        good=good,
        pinned=False,
    )
