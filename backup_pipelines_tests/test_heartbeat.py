"""The watchdog outside hears of success and failure, and never harms what it watches."""

import time

import pytest

from backup_pipelines.messages import notify
from backup_pipelines.system import System
from backup_pipelines_tests.fix_receivers import Behaviour, HttpReceiver, HttpReceivers, free_port

URL = "BACKUP_HEARTBEAT_URL"
CRM = System(system="crm", database_url_env="CRM_DATABASE_URL", modules={})


@pytest.mark.parametrize(
    ("configured", "healthy", "path"),
    [
        ("/5f0e-uuid", True, "/5f0e-uuid"),
        ("/5f0e-uuid", False, "/5f0e-uuid/fail"),
        ("/5f0e-uuid/", False, "/5f0e-uuid/fail"),
        ("/ping?create=1", True, "/ping?create=1"),
        ("/ping?create=1", False, "/ping/fail?create=1"),
    ],
)
def test_success_and_failure_go_to_their_own_paths(
    configured: str,
    healthy: bool,
    path: str,
    http_receiver: HttpReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URL itself means that all is well, /fail behind its path that it is not."""
    monkeypatch.setenv(URL, http_receiver.url(path=configured))
    assert notify.beat(CRM, healthy, "crm: 12 tables, password=hunter22") == ""
    [request] = http_receiver.received
    assert (request.method, request.path) == ("POST", path)
    assert request.body == "crm: 12 tables, password=***"


def test_nothing_configured_asks_nobody(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a variable, or without a value in it, there is no watchdog and no problem."""
    monkeypatch.delenv(URL, raising=False)
    assert notify.beat(CRM, True, "fine") == ""
    monkeypatch.setenv(URL, http_receiver.url())
    assert notify.beat(CRM.model_copy(update={"heartbeat_url_env": ""}), True, "fine") == ""
    assert http_receiver.received == []


def test_a_watchdog_that_refuses_is_a_problem(
    http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status is told, its URL is not."""
    monkeypatch.setenv(URL, http_receivers.start(status=404).url(path="/5f0e-uuid"))
    assert notify.beat(CRM, True, "fine") == f"{URL}: the watchdog answered 404 Not Found"
    monkeypatch.setenv(URL, f"http://127.0.0.1:{free_port()}/5f0e-uuid")
    assert notify.beat(CRM, True, "fine") == f"{URL}: Connection refused"


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_watchdog_that_hangs_is_given_up(
    behaviour: Behaviour, http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs the deadline, no more."""
    monkeypatch.setenv(URL, http_receivers.start(behaviour).url())
    begun = time.monotonic()
    problem = notify.beat(CRM, True, "fine", deadline_seconds=0.5)
    assert time.monotonic() - begun < 5
    assert problem == f"{URL}: did not answer within 0.5 s"


@pytest.mark.parametrize("wrong", ["hc-ping.com/5f0e-uuid", "file:///etc/passwd", "http://", "x"])
def test_what_is_no_web_address_is_a_problem(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that cannot be a watchdog's is refused by name, and never shown."""
    monkeypatch.setenv(URL, wrong)
    problem = notify.beat(CRM, True, "fine")
    assert problem == f"{URL} is not a URL of a watchdog: it begins with https:// or http://"
