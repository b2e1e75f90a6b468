"""Loading systems: every error says file, line and field."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from backup_pipelines import environment, systems
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.system import System

HEAD = """\
type: backup_pipelines.PostgresBackup

attributes:
  system: crm
  database_url_env: CRM_DATABASE_URL
  modules:
    leads:
"""
GOOD = HEAD + "      tables: [leads]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of systems; paths in messages are relative to the folder above."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "defs"
    made.mkdir()
    return made


def write(folder: Path, text: str, system: str = "crm") -> Path:
    """Write one system's file."""
    (folder / system).mkdir(exist_ok=True)
    path = folder / system / "defs.yaml"
    path.write_text(text)
    return path


def problems(folder: Path) -> list[str]:
    """What loading all systems says, line by line."""
    with pytest.raises(Refused) as refusal:
        systems.load_systems(folder)
    return str(refusal.value).splitlines()


def test_the_systems_that_are_shipped_load() -> None:
    assert set(systems.load_systems(environment.defs_folder())) >= {"crm", "dcim"}


def test_a_good_file_is_a_system(folder: Path) -> None:
    write(folder, GOOD)
    assert systems.load_system("crm", folder).modules["leads"].tables == ["leads"]


def test_an_unknown_key_is_refused_with_a_suggestion(folder: Path) -> None:
    write(folder, HEAD + "      tables: [leads]\n      tabels: [deals]\n")
    assert problems(folder) == [
        "defs/crm/defs.yaml:9: modules.leads.tabels: unknown key (did you mean tables?)"
    ]


def test_an_unknown_key_like_no_other_gets_the_list_of_keys(folder: Path) -> None:
    write(folder, HEAD + "      tables: [leads]\n      qqq: 1\n")
    assert problems(folder) == [
        "defs/crm/defs.yaml:9: modules.leads.qqq: unknown key; "
        "there are tables, description, schedule"
    ]


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("  readers: 99", "9: readers: must be less than or equal to 32"),
        ("  readers: many", "9: readers: must be a whole number"),
        ("  readers:\n    - 1", "9: readers: must be a whole number"),
        ("  schedule:\n    every: hourly", "10: schedule.every: must be 'every_2_days'"),
        ("  schedule:\n    at: 12:30", "10: schedule.at: must be text; put it in quotes"),
        ("  schedule:\n    at: '25:00'", "10: schedule.at: not valid; Local time of day"),
        ("  schedule:\n    timezone: Mars", "10: schedule.timezone: 'Mars' is no IANA"),
        ("  schedule: daily", "9: schedule: must be a section with keys of its own"),
        ("  retention: {keep_last: -1}", "9: retention.keep_last: must be greater than"),
        ("  retention: {keep_last: 0}", "9: retention: the policy keeps nothing"),
        ("  activity_log: {table: a}", "9: activity_log.database_url_env: missing; Environment"),
        ("  guards: {storage_warn_percent: 99}", "9: guards.storage_warn_percent: is above"),
        ("  schedule: {every: cron, cron: '* * * * * *'}", "9: schedule.cron: '* * * * * *' is no"),
        ("  schedule: {every: cron, cron: 0 2 LW * *}", "9: schedule.cron: '0 2 LW * *' is no"),
        ("  schedule: {every: cron}", "9: schedule.cron: goes with every: cron"),
        ("  schedule: {every: cron, cron: at noon}", "9: schedule.cron: 'at noon' is no cron"),
        ("  storage_limit: lots", "9: storage_limit: 'lots' is not a size"),
        ("  excluded: [{table: a}]", "9: excluded.0.reason: missing; Why its rows are left out"),
        ("  excluded:\n  - {table: a, reason: abc}\n  - {tabel: b, reason: abc}",
         "11: excluded.1.tabel: unknown key (did you mean table?)"),
        ("  excluded: [{table: leads, reason: abc}]", "9: excluded: leads is also in module"),
        ("    Leads:\n      tables: [a]", "9: modules.Leads: 'Leads' is not a name"),
        ("    other:\n      tables: [a]", "9: modules.other: the name other is reserved"),
        ("    deals:\n      tables: [public.leads]", "9: modules.deals: public.leads is already"),
        ("    deals:\n      tables: []", "10: modules.deals.tables: must not be empty"),
        ("    deals:\n      tables: leads", "10: modules.deals.tables: must be a list"),
        ("    deals: [leads]", "9: modules.deals: must be a section"),
        ("    deals: {}", "9: modules.deals.tables: missing; Tables as schema.table"),
        ("    leads:\n      tables: [a]", "9: modules.leads: given twice"),
        ("post_procesing: {}", "9: post_procesing: unknown key (did you mean post_processing?)"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_line_and_field(folder: Path, added: str, said: str) -> None:
    write(folder, GOOD + added + "\n")
    found = problems(folder)
    assert found[0].startswith(f"defs/crm/defs.yaml:{said}")


def test_a_url_in_place_of_a_variable_is_not_repeated(folder: Path) -> None:
    write(folder, GOOD.replace("CRM_DATABASE_URL", "postgresql://u:secret@host/db"))
    (found,) = problems(folder)
    assert found.startswith("defs/crm/defs.yaml:5: database_url_env: not valid; Environment var")
    assert "secret" not in found


def test_all_problems_of_all_files_are_told_at_once(folder: Path) -> None:
    write(folder, GOOD + "  readers: 0\n  colour: red\n")
    write(folder, GOOD.replace("system: crm", "system: 5"), "dcim")
    assert [line.split(": ")[0] for line in problems(folder)] == [
        "defs/crm/defs.yaml:9",
        "defs/crm/defs.yaml:10",
        "defs/dcim/defs.yaml:4",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: empty; write type:"),
        ("- a\n", "1: write type: and attributes:"),
        ("attributes: {}\n", "1: type: missing; write type: backup_pipelines.PostgresBackup"),
        ("type: backup_pipelines.PostgresBackups\n", "1: type: no component"),
        ("type: [\n", "2: not valid YAML:"),
        ("a: b: c\n", "1: not valid YAML:"),
        ("type: &a [*a]\n", "1: "),
        ("type: !!python/object:os.system x\n", "1: not valid YAML:"),
        ("a: \x07\n", "1: not valid YAML:"),
        ("type: backup_pipelines.PostgresBackup\n", "1: system: missing; Short name"),
        ("type: backup_pipelines.PostgresBackup\nattributes: [1]\n", "2: must be a section"),
    ],
)
def test_what_is_no_component_file_is_refused(folder: Path, text: str, said: str) -> None:
    write(folder, text)
    assert problems(folder)[0].startswith(f"defs/crm/defs.yaml:{said}")


def test_a_file_in_another_encoding_is_refused(folder: Path) -> None:
    write(folder, "").write_bytes(b"type: \xff\n")
    assert problems(folder)[0].startswith("defs/crm/defs.yaml:1: not valid YAML:")


def test_files_of_other_components_are_skipped(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, "type: dagster_dlt.DltLoadCollectionComponent\nattributes: {}\n", "dlt")
    assert set(systems.load_systems(folder)) == {"crm"}
    assert systems.known_names(folder) == ("crm",)


def test_two_files_cannot_be_the_same_system(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, GOOD, "crm2")
    assert problems(folder) == ["defs/crm2/defs.yaml:4: system: crm has a file already"]


def test_a_system_loads_whatever_is_wrong_with_others(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, "type: [", "dcim")
    assert systems.load_system("crm", folder).system == "crm"
    assert systems.known_names(folder) == ("crm", "dcim")
    with pytest.raises(Refused, match="not valid YAML"):
        systems.load_system("dcim", folder)


def test_a_broken_file_does_not_hide_its_system(folder: Path) -> None:
    write(folder, GOOD + "  colour: red\n", "folder_with_another_name")
    systems.require_known("crm", folder)
    with pytest.raises(Refused, match="colour: unknown key"):
        systems.load_system("crm", folder)


def test_an_unknown_system_is_refused_with_the_names_there_are(folder: Path) -> None:
    with pytest.raises(NotFound, match="there is no system crm; there are none"):
        systems.load_system("crm", folder)
    write(folder, GOOD)
    with pytest.raises(NotFound, match="there is no system dcim; there are crm"):
        systems.load_system("dcim", folder)


def test_what_is_no_public_key_is_named_by_its_line_and_never_shown(folder: Path) -> None:
    """A secret key among the recipients is found before anything is written, and stays secret."""
    secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    recipients = f"  encryption:\n    recipients:\n    - {secret}\n    - age1nonsense\n"
    path = write(folder, GOOD + recipients)
    found = problems(folder)
    line = path.read_text().splitlines().index(f"    - {secret}") + 1
    assert found == [
        f"defs/crm/defs.yaml:{line}: encryption.recipients.0: a secret key of age is named as "
        "recipient: write its public key",
        f"defs/crm/defs.yaml:{line + 1}: encryption.recipients.1: it is no public key of age: "
        "write one such as age1...",
    ]
    with pytest.raises(ValidationError) as caught:
        System.model_validate({"encryption": {"recipients": [secret]}})
    assert secret not in str(caught.value)
