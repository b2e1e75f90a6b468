"""What the YAML says about running by itself: sizes, schedules, retention, guards, messages."""

from datetime import timedelta
from pathlib import Path
from typing import get_args
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backup_pipelines import settings, systems
from backup_pipelines.errors import Refused
from backup_pipelines.settings import RetentionRule, RetentionSpec, ScheduleSpec, parse_size
from backup_pipelines.system import System

# What is tested comes after it, from line 6 on.
HEAD = """\
type: backup_pipelines.PostgresBackup
attributes:
  system: crm
  database_url_env: CRM_DATABASE_URL
  modules: {leads: {tables: [leads]}}
"""
KEPT = ("keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly")
NOTHING_KEPT = f"the policy keeps nothing: give {', '.join(KEPT[:4])} or keep_monthly"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of systems; paths in messages are relative to the folder above."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "defs"
    (made / "crm").mkdir(parents=True)
    return made


def loaded(folder: Path, yaml: str) -> System:
    """The system whose YAML has these lines too."""
    (folder / "crm" / "defs.yaml").write_text(HEAD + yaml)
    return systems.load_system("crm", folder)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0 B", 0),
        ("1 KB", 1000),
        ("1.5 MB", 1_500_000),
        ("10 GB", 10 * 10**9),
        (" 2tb ", 2 * 10**12),
        ("0.1 KB", 100),
    ],
)
def test_a_size_is_a_number_and_a_decimal_unit(text: str, size: int) -> None:
    """Units are powers of ten, and case and blanks do not matter."""
    assert parse_size(text) == size


@given(number=st.integers(0, 10**6), unit=st.sampled_from(["B", "KB", "MB", "GB", "TB"]))
def test_whole_sizes_are_exact(number: int, unit: str) -> None:
    """No size loses a byte on the way, up to a million terabytes."""
    factor = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert parse_size(f"{number} {unit}") == number * factor


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_is_refused(text: str) -> None:
    """Whatever people write is either a size that is not negative, or one sentence."""
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert str(error) == f"{text!r} is not a size: write a number and B, KB, MB, GB or TB"


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("storage_limit: lots", "storage_limit: 'lots' is not a size: write a number and B, KB"),
        ("storage_limit: -1 GB", "storage_limit: '-1 GB' is not a size: write a number and B"),
        ("storage_limit: 10 GiB", "storage_limit: '10 GiB' is not a size: write a number and B"),
        ("storage_limit: 10", "storage_limit: must be text; put it in quotes"),
        ("retention: {max_size: big}", "retention.max_size: 'big' is not a size: write a number"),
    ],
)
def test_a_wrong_size_is_refused(yaml: str, said: str, folder: Path) -> None:
    """A size without a unit, with a binary one or below zero is refused by file, line and key."""
    refused(folder, yaml, said)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("{every: hourly}", "every: must be 'every_2_days', 'daily', 'weekly', 'monthly', 'cron'"),
        ("{every: cron}", "cron: goes with every: cron, and with nothing else"),
        ("{every: daily, cron: 0 2 * * *}", "cron: goes with every: cron, and with nothing else"),
        ("{every: cron, cron: 0 2 * *}", "cron: '0 2 * *' is no cron expression of five fields"),
        ("{every: cron, cron: 61 2 * * *}", "cron: '61 2 * * *' is no cron expression of five"),
        # A day that never comes would never back up.
        ("{every: cron, cron: 0 0 30 2 *}", "cron: '0 0 30 2 *' is no cron expression of five"),
        ("{every: cron, cron: '@daily'}", "cron: '@daily' is no cron expression of five fields"),
        ("{weekday: Sunday}", "weekday: must be 'monday', 'tuesday', 'wednesday', 'thursday'"),
        ("{at: '24:00'}", "at: not valid; Local time of day at which it becomes due, HH:MM."),
        ("{at: '2:00'}", "at: not valid; Local time of day at which it becomes due, HH:MM."),
        # YAML reads it as a number in base 60.
        ("{at: 10:30}", "at: must be text; put it in quotes"),
        ("{timezone: Mars}", "timezone: 'Mars' is no IANA time zone; write one such as Europe/P"),
        ("{timezone: ''}", "timezone: '' is no IANA time zone; write one such as Europe/Paris"),
        ("{timezone: ../passwd}", "timezone: '../passwd' is no IANA time zone; write one such as"),
        ("{retries: -1}", "retries: must be greater than or equal to 0"),
        ("{retries: 21}", "retries: must be less than or equal to 20"),
        ("{retry_minutes: 0}", "retry_minutes: must be greater than or equal to 1"),
    ],
)
def test_a_wrong_schedule_is_refused(yaml: str, said: str, folder: Path) -> None:
    """What would never be due, or not when people think, is refused, wherever a schedule stands."""
    refused(folder, f"schedule: {yaml}", f"schedule.{said}")
    refused(folder, f"reconcile: {{schedule: {yaml}}}", f"reconcile.schedule.{said}")
    refused(folder, f"verify: {{schedule: {yaml}}}", f"verify.schedule.{said}")


@pytest.mark.parametrize(
    "expression", ["*/15 * * * *", "0 2 * * 1-5", "30 4 1,15 * *", "0 0 29 2 *"]
)
def test_a_cron_expression_goes_with_every_cron(expression: str, folder: Path) -> None:
    """Five fields as crontab has them are taken, a leap day included."""
    system = loaded(folder, f"  schedule: {{every: cron, cron: '{expression}'}}\n")
    assert system.schedule == ScheduleSpec(every="cron", cron=expression)


@given(st.sampled_from(sorted(available_timezones())))
def test_every_zone_of_this_machine_is_taken(zone: str) -> None:
    """Every IANA name is a time zone of a schedule."""
    assert ScheduleSpec(timezone=zone).timezone == zone


def test_every_period_but_cron_and_never_has_a_length() -> None:
    """What a schedule may be has a longest gap, so that an overdue backup can be noticed."""
    assert set(settings.PERIODS) == set(get_args(settings.Every)) - {"cron", "never"}
    assert min(settings.PERIODS.values()) >= timedelta(days=1)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("{keep_last: 0}", f": {NOTHING_KEPT}"),
        ("{keep_last: 0, max_size: 5 GB, floor: 3}", f": {NOTHING_KEPT}"),
        ("{types: {manual: {}}}", f".types.manual: {NOTHING_KEPT}"),
        ("{types: {safety: {keep_last: 0}}}", f".types.safety: {NOTHING_KEPT}"),
        (
            "{types: {all: {keep_last: 1}}}",
            ".types.all: must be 'manual', 'scheduled', 'module' or",
        ),
        ("{types: {manual: {floor: 1}}}", ".types.manual.floor: unknown key; there are keep_last"),
        ("{types: {manual: {keep_lsat: 1}}}", ".types.manual.keep_lsat: unknown key (did you mean"),
        ("{floor: 0}", ".floor: must be greater than or equal to 1"),
        ("{keep_days: -1}", ".keep_days: must be greater than or equal to 0"),
        ("{keep_last: many}", ".keep_last: must be a whole number"),
        ("", ": must be a section with keys of its own"),
    ],
)
def test_a_wrong_retention_is_refused(yaml: str, said: str, folder: Path) -> None:
    """A policy that would keep nothing, or no floor, is refused before anything is pruned."""
    refused(folder, f"retention: {yaml}", f"retention{said}")


@given(st.fixed_dictionaries({name: st.integers(0, 3) for name in KEPT}))
def test_a_rule_is_refused_exactly_when_it_keeps_nothing(numbers: dict[str, int]) -> None:
    """Any one number above zero makes a rule; without one there is none."""
    if any(numbers.values()):
        assert RetentionRule(**numbers).rules == numbers
    else:
        with pytest.raises(ValidationError, match="the policy keeps nothing"):
            RetentionRule(**numbers)


def test_a_system_that_says_nothing_is_scheduled_kept_and_told(folder: Path) -> None:
    """What is left out is every second day, the last 30, ten safety backups, told to all."""
    system = loaded(folder, "")
    assert (system.schedule.every, system.schedule.at) == ("every_2_days", "02:00")
    assert (system.retention.keep_last, system.retention.floor) == (30, 2)
    assert system.retention.types["safety"].rules["keep_last"] == 10
    assert system.drill.schedule.every == "monthly"
    assert system.reconcile.schedule.every == "weekly"
    assert [spec.urls_env for spec in system.notifications] == ["BACKUP_NOTIFY_URLS"]


def test_types_of_ones_own_replace_the_rule_for_safety_backups(folder: Path) -> None:
    """What the YAML says about types is all there is; a type that it leaves out shares the rest."""
    system = loaded(folder, "  retention: {types: {manual: {keep_days: 90}}}\n")
    assert system.retention == RetentionSpec(types={"manual": RetentionRule(keep_days=90)})


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("guards: {shrink_percent: 0}", "guards.shrink_percent: must be greater than 0"),
        ("guards: {shrink_percent: 101}", "guards.shrink_percent: must be less than or equal to"),
        ("guards: {recovery_point_hours: 0}", "guards.recovery_point_hours: must be greater than"),
        ("guards: {min_rows: -1}", "guards.min_rows: must be greater than or equal to 0"),
        ("notifications: {urls_env: X}", "notifications: must be a list"),
        ("notifications: [{events: [party]}]", "notifications.0.events.0: must be 'backup', 'rest"),
        (
            "notifications: [{severity: fatal}]",
            "notifications.0.severity: must be 'info', 'warning",
        ),
        (
            "notifications: [{url_env: X}]",
            "notifications.0.url_env: unknown key (did you mean urls",
        ),
        ("activity_log: {table: a.b}", "activity_log.database_url_env: missing"),
    ],
)
def test_wrong_guards_and_messages_are_refused(yaml: str, said: str, folder: Path) -> None:
    """A guard that could never clear and a message that could never be sent are refused."""
    refused(folder, yaml, said)


@pytest.mark.parametrize(
    "yaml",
    [
        "notifications: [{urls_env: 'slack://T0P/SECRET'}]",
        "heartbeat_url_env: https://hc-ping.example/SECRET",
        "activity_log: {database_url_env: 'SECRET://h/db', table: a.b, columns: {a: b}}",
    ],
)
def test_a_url_in_place_of_a_variable_is_not_repeated(yaml: str, folder: Path) -> None:
    """A secret that was put into the YAML by mistake is not shown again by the refusal."""
    with pytest.raises(Refused) as refusal:
        loaded(folder, f"  {yaml}\n")
    assert "_env: not valid" in str(refusal.value)
    assert "SECRET" not in str(refusal.value)


def refused(folder: Path, yaml: str, said: str) -> None:
    """Loading these lines must be refused by one sentence that begins so, with file and line."""
    with pytest.raises(Refused) as refusal:
        loaded(folder, f"  {yaml}\n")
    first = str(refusal.value).splitlines()[0]
    assert first.startswith(f"defs/crm/defs.yaml:6: {said}")
