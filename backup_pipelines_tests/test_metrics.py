"""The metrics: text that both of Prometheus' parsers read, in a file that is always whole."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from backup_pipelines.errors import Failed
from backup_pipelines.health import metrics
from backup_pipelines.health.health import assess
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.histories import NOW, crm, put_backup, put_drill

Parse = Callable[[str], Iterable[Metric]]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAGSTER_HOME of the test's own: what waits there is what this test has put there."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def rendered(store: Store) -> str:
    """The metrics of a system with a backup and a drill."""
    put_backup(store, 1)
    put_drill(store, 2, seconds=30)
    return metrics.render([assess(store, crm(), NOW)], NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    "parse",
    [openmetrics_parser.text_string_to_metric_families, text_string_to_metric_families],
    ids=["OpenMetrics", "Prometheus text"],
)
def test_the_text_is_read_by_both_parsers(store: Store, parse: Parse) -> None:
    """Scrapers of OpenMetrics and node exporter's textfile collector find the same numbers."""
    samples = {
        (sample.name, sample.labels.get("guard", "")): sample.value
        for family in parse(rendered(store))
        for sample in family.samples
        if sample.labels["system"] == "crm"
    }
    assert samples["backup_pipelines_healthy", ""] == 1
    assert samples["backup_pipelines_backups", ""] == 1
    assert samples["backup_pipelines_last_backup_age_seconds", ""] == 7200
    assert samples["backup_pipelines_recovery_time_seconds", ""] == 30
    assert samples["backup_pipelines_storage_limit_bytes", ""] == 10**10
    assert samples["backup_pipelines_guard_status", "freshness"] == 0
    assert samples["backup_pipelines_guard_status", "shrink"] == -1
    # There was no attempt, and 0 would be a number.
    assert ("backup_pipelines_success_ratio", "") not in samples


def test_the_file_is_replaced_as_a_whole(store: Store, tmp_path: Path) -> None:
    """The file has all of the text, anyone may read it, and nothing is left beside it."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    path = folder / "backups.prom"
    path.write_text("old")
    put_backup(store, 1)
    found = [assess(store, crm(), NOW)]
    metrics.write(path, found, NOW)
    assert path.read_text() == metrics.render(found, NOW)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(folder.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told(store: Store, tmp_path: Path) -> None:
    """The error names the file and the variable."""
    with pytest.raises(Failed, match=r"nowhere/backups\.prom of BACKUP_METRICS_FILE"):
        metrics.write(tmp_path / "nowhere" / "backups.prom", [assess(store, crm(), NOW)], NOW)
