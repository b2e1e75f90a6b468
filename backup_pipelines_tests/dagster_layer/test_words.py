"""What Dagster shows is in words for people: of every job, of the catalog, of a backup's page.

Every test with the sample system ends with the same look (conftest.py), so refusals count, too.
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, catalog
from backup_pipelines.dagster_layer import glance, job_names, job_words, labels, run_tags
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.definitions import defs
from backup_pipelines.health.health import assess
from backup_pipelines.system import System
from backup_pipelines_tests.csv_importing import write
from backup_pipelines_tests.dagster_layer import words
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure

_HERE = Path(__file__).parent
_CONFIRM = {"confirm": "CONFIRM"}
_CATALOG = dg.AssetKey(["shop", "backups"])

# These need a second store, a key, another database, an archive, S3, a signed request, or a freeze.
_ELSEWHERE = {
    "shop_copy": "test_copy_job.py",
    "shop_reencrypt": "test_reencrypt_job.py",
    "shop_restore_into": "test_jobs.py",
    "shop_upload": "test_upload_job.py",
    "shop_link": "test_s3_environment.py",
    "shop_request": "test_request_jobs.py",
    "shop_acknowledge": "test_housekeeping_jobs.py",
}


def newest(shop: Shop, partition: str | None = None) -> dg.AssetObservation:
    """The newest observation of the catalog, or of one backup."""
    asked = dg.AssetRecordsFilter(
        asset_key=_CATALOG, asset_partitions=[partition] if partition else None
    )
    event = shop.instance.fetch_observations(asked, limit=1).records[0].asset_observation
    assert event is not None
    return event


def glances(shop: Shop) -> int:
    """How often the catalog was shown at a glance by an observation."""
    found = shop.instance.fetch_observations(_CATALOG, limit=1000).records
    events = [record.asset_observation for record in found]
    return sum(event is not None and "at_a_glance" in event.metadata for event in events)


def test_all_that_the_jobs_show_is_explained(shop: Shop, tmp_path: Path) -> None:
    """Every label, number, id and time that a run or an asset shows is for people to read."""
    first = shop.backup()
    files = write(tmp_path / "in", order_lines="id,of,price\r\n900,1,2.50\r\n")
    chosen = {"backup": first}
    runs: list[tuple[str, Mapping[str, object]]] = [
        ("shop_verify", chosen),
        ("shop_drill", chosen),
        ("shop_plan", {**chosen, "modules": ["sales"]}),
        ("shop_csv_plan", {"source": str(files)}),
        ("shop_csv_import", {"source": str(files), **_CONFIRM}),
        ("shop_diff", chosen),
        ("shop_restore", {**chosen, **_CONFIRM}),
        ("shop_undo", _CONFIRM),
        ("shop_history", {"table": "orders", "key": ["1"]}),
        ("shop_query", {**chosen, "sql": "SELECT count(*) FROM orders"}),
        ("shop_csv_export", {"modules": ["sales"], "to": str(tmp_path / "out")}),
        ("shop_csv_template", {"modules": ["sales"], "to": str(tmp_path / "empty")}),
        ("shop_pin", chosen),
        ("shop_unpin", chosen),
        ("shop_backup", {"label": "second"}),
        ("shop_prune", {"dry_run": True}),
        ("shop_prune", {}),
        ("shop_delete", {**chosen, **_CONFIRM}),
        ("shop_reconcile", {}),
        ("shop_catalog_rebuild", {}),
    ]
    for job, config in runs:
        assert shop.run(job, config).success, job
    for job in ("shop_verify_rotation", "shop_health", "shop_modules"):
        definition = shop.defs.resolve_job_def(job)
        assert definition.execute_in_process(instance=shop.instance).success, job
    done = {run.job_name for run in shop.instance.get_runs()}
    assert done | _ELSEWHERE.keys() == job_names.all_operations("shop").keys()
    for job, file in _ELSEWHERE.items():
        assert job.removeprefix("shop_") in (_HERE / file).read_text()
    found = list(words.shown(shop.instance))
    assert {"shop/backups", "shop/health", "run of shop_diff"} <= {one.where for one in found}
    assert words.problems(shop.instance) == []


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"banana": 3}, "the number banana is not explained"),
        ({"banana": "yellow"}, "the label banana is not explained"),
        ({"size_bytes": 4_100_000}, "size_bytes is 4100000.0 and nobody says 4.1 MB"),
        ({"seconds": 7200, "summary": "long"}, "nobody says 2.0 h"),
        ({"backup": "20260115T020000Z-manual-9f3c1a"}, "is an id without a name"),
        ({"why": "since 2026-01-15T02:00:00+00:00"}, "has a raw time"),
        ({"why": "shop/backups/20260115T020000Z-manual-9f3c1a/x"}, "has the key of an object"),
    ],
)
def test_what_is_not_in_words_is_found(metadata: dict[str, str | int], problem: str) -> None:
    """The look itself sees what it is for."""
    with dg.DagsterInstance.ephemeral() as instance:
        event = dg.AssetObservation(_CATALOG, metadata=metadata)
        instance.report_runless_asset_event(event)
        assert any(problem in said for said in words.problems(instance))


def test_a_backups_page_says_whether_it_is_good(shop: Shop) -> None:
    """Sealed at first; then verified, drilled, with the measured time; damaged in the end."""
    first = shop.backup()
    row = shop.row(first)
    assert str(row["good"]).startswith("yes: sealed, and read back whole on 20")
    assert str(row["good"]).endswith("no drill has restored it so far")
    assert row["restore_time"] == "not known: no drill has restored a backup so far"
    assert "153 rows" in str(row["summary"])

    assert shop.run("shop_drill", {"backup": first}).success
    seen = newest(shop, first)
    measured = seen.metadata["restore_seconds_measured"].value
    assert isinstance(measured, float)
    assert str(seen.metadata["good"].value).endswith("every row compared")
    assert "measured by the drill" in str(seen.metadata["restore_time"].value)
    assert "Restored by a drill" in str(seen.description)

    second = shop.row(shop.backup())
    assert f"the drill of {first} restored 153 rows" in str(second["restore_time"])
    assert second["restore_seconds_estimated"] == pytest.approx(measured, abs=0.1)

    key = next(t for t in catalog.load(shop.store, "shop", first).tables if t.rows).parts[0].key
    shop.store.delete([key])
    message, _ = failure(shop.run("shop_verify", {"backup": first}))
    assert first in message
    seen = newest(shop, first)
    assert seen.metadata["status"].value == "damaged"
    assert seen.metadata["good"].value == "no: it is damaged and cannot be restored"


def test_the_catalog_at_a_glance_is_current_and_floods_nothing(shop: Shop) -> None:
    """It comes with a new backup, and as an observation when something has changed, once."""
    first = shop.backup()
    table = str(shop.row(first)["at_a_glance"])
    assert f"| newest good full backup | [{first}](/assets/shop/backups?" in table
    assert "| can it be restored | not proved yet" in table
    assert "| next scheduled backup | " in table
    before = len(shop.instance.fetch_materializations(_CATALOG, limit=100).records)
    health = shop.defs.resolve_job_def("shop_health")
    for _ in range(3):
        assert health.execute_in_process(instance=shop.instance).success
    assert glances(shop) == 1
    assert shop.run("shop_drill", {"backup": first}).success
    assert health.execute_in_process(instance=shop.instance).success
    assert glances(shop) == 2
    seen = str(newest(shop).metadata["at_a_glance"].value)
    assert f"| can it be restored | yes: a drill has restored [{first}]" in seen
    assert ", measured by the last drill; the target is " in seen
    # A materialization would make the catalog look fresh.
    assert len(shop.instance.fetch_materializations(_CATALOG, limit=100).records) == before


def test_the_glance_says_what_is_wrong(shop: Shop) -> None:
    """No backup, an overdue one, and each red guard, in a table that Dagster shows at once."""
    nothing = glance.at_a_glance(assess(shop.store, SHOP, datetime.now(UTC)))
    assert "| newest good full backup | **none** |" in nothing
    shop.backup()
    late = assess(shop.store, SHOP, datetime.now(UTC) + timedelta(days=90))
    table = glance.at_a_glance(late)
    assert "90 d ago" in table
    assert "| next scheduled backup | due now |" in table
    assert "**error" in table
    assert len(table) < 1000


def test_runs_are_found_by_tags(shop: Shop) -> None:
    """By system, by what was done, by the backup that it was about, and by module."""
    part = shop.run("shop_backup", assets=["shop/public/orders", "shop/public/order_lines"])
    whole = shop.backup()
    assert shop.run("shop_plan", {"backup": whole, "modules": ["stock"]}).success
    assert shop.run("shop_verify", {"backup": whole}).success

    def jobs(**tags: str) -> list[str]:
        wanted = {f"{run_tags.PREFIX}{name}": value for name, value in tags.items()}
        found = shop.instance.get_runs(dg.RunsFilter(tags=wanted))
        return sorted(run.job_name.removeprefix("shop_") for run in found)

    assert jobs(system="shop") == ["backup", "backup", "plan", "verify"]
    assert jobs(operation="plan") == ["plan"]
    assert jobs(backup=whole) == ["backup", "plan", "verify"]
    assert jobs(module_stock="yes") == ["plan"]
    [run] = shop.instance.get_runs(dg.RunsFilter(tags={run_tags.MODULE_PREFIX + "sales": "yes"}))
    assert run.run_id == part.run_id


def test_every_job_says_what_it_changes_and_how_to_take_it_back() -> None:
    """The page of a job answers what people ask before they launch it."""
    for job in defs().get_repository_def().get_all_jobs():
        if job.name.startswith("__"):
            continue
        said = job.description or ""
        for question in ("Changes: ", "Never changes: ", "take it back: ", "Who may run it: "):
            assert question in said, job.name
        assert "{" not in said, job.name
    known = {name.removeprefix("shop_") for name in job_names.all_operations("shop")}
    assert job_words.WORDS.keys() == known - {"verify_rotation"}


def test_owners_of_the_yaml_are_on_assets_and_jobs_without_a_warning() -> None:
    """Whom to ask is beside everything; a name that Dagster would refuse is one sentence."""
    owned = SHOP.model_copy(update={"owners": ["team:dba", "ada@example.org"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.BetaWarning)
        built = dg.build_defs_for_component(PostgresBackup(owned, BackupEnvironment()))
    for spec in built.resolve_all_asset_specs():
        assert list(spec.owners) == owned.owners, spec.key
    for job in ("shop_backup", "shop_restore", "shop_health"):
        assert built.resolve_job_def(job).owners == owned.owners
    with pytest.raises(ValueError, match="'dba' is no owner: write an e-mail address, or team:"):
        System.model_validate({**SHOP.model_dump(), "owners": ["dba"]})


def test_numbers_say_their_unit() -> None:
    """Each label of a number has its unit as a part of the name."""
    for label, about in labels.NUMBERS.items():
        assert about.unit.replace(" ", "_") in label
        assert about.meaning.endswith(".")
