"""By which URL a restore writes: the owner's variable, or the one that backups read by."""

import pytest

from backup_pipelines import environment
from backup_pipelines.demo.databases import Demo
from backup_pipelines.errors import Refused
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import whole_system


def url_of(system: System) -> str:
    """The URL that a restore of a system would write by."""
    with environment.restore_url(system) as url:
        return url


@pytest.fixture
def sample() -> System:
    """A system whose restores have a variable of their own."""
    return whole_system().model_copy(update={"restore_url_env": "SAMPLE_OWNER_URL"})


def test_without_a_variable_of_its_own_it_is_that_of_backups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://one/sample")
    assert url_of(whole_system()) == "postgresql://one/sample"


def test_its_own_variable_goes_first(monkeypatch: pytest.MonkeyPatch, sample: System) -> None:
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://reader/sample")
    monkeypatch.setenv("SAMPLE_OWNER_URL", "postgresql://owner/sample")
    assert url_of(sample) == "postgresql://owner/sample"


def test_its_own_variable_must_be_set(monkeypatch: pytest.MonkeyPatch, sample: System) -> None:
    """The role that only reads is no substitute for it."""
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://reader/sample")
    with pytest.raises(Refused, match="SAMPLE_OWNER_URL is not set"):
        url_of(sample)


def test_a_demo_is_restored_as_its_owner(demo: Demo) -> None:
    assert url_of(whole_system("crm")) == demo.owner_url("crm")


def test_a_demo_is_never_written_while_backups_come_from_elsewhere(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, sample: System
) -> None:
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://reader/sample")
    with pytest.raises(Refused, match="SAMPLE_OWNER_URL is not set"):
        url_of(sample.model_copy(update={"system": "crm"}))
