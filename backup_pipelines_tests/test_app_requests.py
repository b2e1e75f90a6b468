"""Requests of the application: only what is signed, timely, permitted and new is believed."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_pipelines import layout
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.restoring import app_requests
from backup_pipelines.storage.store import Store
from backup_pipelines.system import RequestsSpec, System
from backup_pipelines_tests.fix_backup import whole_system

KEY = "a key of the tests, 32 characters or more"
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def system(*operations: str) -> System:
    """A system that takes requests for these operations."""
    spec = RequestsSpec.model_validate({"operations": operations})
    return whole_system("sample").model_copy(update={"requests": spec})


def restore(**changed: object) -> dict[str, Any]:
    """A request that is right but for what is changed; None leaves a field out. Not signed."""
    request = {
        "id": "r-1",
        "system": "sample",
        "operation": "restore",
        "backup": "latest",
        "modules": ["all"],
        "tables": ["public.déjà_vu"],
        "mode": "replace",
        "confirm": "CONFIRM",
        "requested_by": "jo@example.com",
        "reason": "bad day",
        "created_at": "2026-01-15T11:59:00Z",
        "expires_at": "2026-01-15T13:00:00+00:00",
        **changed,
    }
    return {name: value for name, value in request.items() if value is not None}


def signed(request: Mapping[str, object], key: str = KEY) -> bytes:
    """The object that an application would write."""
    return json.dumps({**request, "signature": app_requests.sign(request, key)}).encode()


def read(data: bytes, *, now: datetime = NOW, request_id: str = "r-1") -> app_requests.AppRequest:
    """The request that is found in these bytes."""
    return app_requests.verified(data, system("backup", "restore"), request_id, KEY, now)


def refusal(data: bytes, **more: Any) -> str:
    """Why these bytes are no request to carry out."""
    with pytest.raises(Refused) as refused:
        read(data, **more)
    return str(refused.value)


def test_the_signature_is_what_the_documentation_says() -> None:
    """An application in any language computes the same from the canonical text."""
    request = {"system": "é", "id": "1", "signature": "ignored"}
    meant = hmac.new(b"k" * 32, '{"id":"1","system":"é"}'.encode(), hashlib.sha256).hexdigest()
    assert app_requests.sign(request, "k" * 32) == meant


def test_the_documented_way_to_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of operations.md make a request that is believed."""
    monkeypatch.setenv("BACKUP_REQUESTS_KEY", KEY)
    page = (Path(__file__).parent.parent / "docs/operations.md").read_text()
    section = page.partition("## Requests from your application\n")[2]
    lines = section.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {"request": restore()}
    exec(lines, names)
    assert read(names["body"].encode()).requested_by == "jo@example.com"


def test_a_right_request_is_read() -> None:
    """However its JSON is laid out."""
    request = read(json.dumps(json.loads(signed(restore())), indent=3).encode())
    assert (request.operation, request.backup, request.mode) == ("restore", "latest", "replace")
    assert request.tables == ("public.déjà_vu",)


@pytest.mark.parametrize("field", sorted(restore()))
def test_any_field_that_was_tampered_with_is_noticed(field: str) -> None:
    """Changed or left out, each breaks the signature."""
    document = json.loads(signed(restore()))
    value = document[field]
    document[field] = [*value, "x"] if isinstance(value, list) else value + "x"
    assert refusal(json.dumps(document).encode()).startswith("the signature is not")
    del document[field]
    assert refusal(json.dumps(document).encode()).startswith("the signature is not")


def test_a_field_that_was_added_is_noticed() -> None:
    document = json.loads(signed(restore())) | {"skip_safety": True}
    assert refusal(json.dumps(document).encode()).startswith("the signature is not")


@pytest.mark.parametrize("signature", [None, "", "x", 7, "é" * 64, "A" * 64, ["0" * 64]])
def test_what_is_not_signed_is_refused(signature: object) -> None:
    document = restore() | ({} if signature is None else {"signature": signature})
    assert "not signed" in refusal(json.dumps(document).encode())


def test_another_key_is_refused() -> None:
    assert refusal(signed(restore(), "another key" * 5)).startswith("the signature is not")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id": "a", "id": "b"}', "not JSON"),
        (b'{"id": NaN}', "not JSON"),
        (b'{"id": "\\ud800", "signature": "' + b"0" * 64 + b'"}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"' + b"x" * 300_000 + b'"', "more than 262,144 bytes"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(data)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"skip_safety": True}, "skip_safety: Extra inputs"),
        ({"operation": "delete"}, "operation: Input should be"),
        ({"mode": "wipe"}, "mode: Input should be"),
        ({"confirm": None}, "needs confirm: CONFIRM"),
        ({"confirm": "confirm"}, "confirm: Input should be 'CONFIRM'"),
        ({"backup": None}, "needs backup"),
        ({"backup": "../x"}, "not a backup id"),
        ({"operation": "backup"}, "backup and confirm belong to a restore"),
        ({"requested_by": ""}, "requested_by"),
        ({"requested_by": "a\nb"}, "requested_by"),
        ({"requested_by": None}, "requested_by: Field required"),
        ({"reason": "x" * 2001}, "reason"),
        ({"tables": ["t"] * 1001}, "tables"),
        ({"modules": "all"}, "modules"),
        ({"expires_at": "2026-01-15T13:00:00"}, "expires_at"),
        ({"expires_at": 1800000000}, "expires_at"),
    ],
)
def test_what_is_malformed_is_refused_though_signed(
    changed: Mapping[str, object], said: str
) -> None:
    """The sentence names the field."""
    assert said in refusal(signed(restore(**changed)))


def test_time_decides() -> None:
    """Not after its end, not from the future, not for longer than a day."""
    data = signed(restore())
    assert "expired at" in refusal(data, now=NOW + timedelta(hours=1))
    assert "in the future" in refusal(data, now=NOW - timedelta(minutes=7))
    assert "24 hours" in refusal(signed(restore(expires_at="2026-01-16T12:00:01Z")))
    # Signed long ago for today: longer than 24 hours, too.
    assert "24 hours" in refusal(signed(restore(created_at="2026-01-14T12:00:00Z")))
    assert read(signed(restore(expires_at="2026-01-16T11:59:00Z")))


def test_a_copy_is_refused() -> None:
    """In another folder, and for another system."""
    assert "it was copied" in refusal(signed(restore()), request_id="r-2")
    assert "not for sample" in refusal(signed(restore(system="other")))


def test_only_what_the_yaml_permits() -> None:
    with pytest.raises(Refused, match=r"requests.operations: \[backup\]"):
        app_requests.verified(signed(restore()), system("backup"), "r-1", KEY, NOW)


def test_no_requests_are_taken_by_default() -> None:
    assert whole_system().requests.operations == []
    with pytest.raises(ValueError, match="operations"):
        RequestsSpec.model_validate({"operations": ["delete"]})


@pytest.mark.parametrize(("key", "said"), [("", "is not set"), ("x" * 31, "has 31 characters")])
def test_a_missing_or_short_key_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    """An empty key would let anybody sign."""
    monkeypatch.setenv("BACKUP_REQUESTS_KEY", key)
    store.put_new(layout.request_key("sample", "r-1"), signed(restore(), key))
    with pytest.raises(Refused, match=said):
        app_requests.read(store, system("restore"), "r-1", NOW)


def test_a_large_object_is_not_even_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_REQUESTS_KEY", KEY)
    store.put_new(layout.request_key("sample", "r-1"), b" " * 262_145)
    monkeypatch.setattr(store, "get", lambda key: pytest.fail(key))
    with pytest.raises(Refused, match="262,145 bytes"):
        app_requests.read(store, system("restore"), "r-1", NOW)


def test_a_request_is_claimed_once(store: Store) -> None:
    """The second run is refused, also when it looked before the first one claimed."""
    store.put_new(layout.request_key("sample", "r-1"), signed(restore()))
    request = read(signed(restore()))
    app_requests.refuse_settled(store, "sample", "r-1")
    app_requests.claim(store, "sample", request, "run 1", NOW)
    with pytest.raises(Refused, match="never done twice"):
        app_requests.claim(store, "sample", request, "run 2", NOW)
    with pytest.raises(Refused, match="never done twice"):
        app_requests.refuse_settled(store, "sample", "r-1")
    claimed = json.loads(store.get(layout.request_state_key("sample", "r-1", "claimed")))
    assert claimed["run_id"] == "run 1"


def test_requests_are_listed_by_state(store: Store) -> None:
    """What is no request is counted, so that somebody who wonders is told."""
    for request_id in ("b", "a", "c", "d", "not an id"):
        store.put_new(layout.request_key("sample", request_id), b"{}")
    store.put_new(layout.requests_prefix("sample") + "empty/other.txt", b"")
    store.put_new(layout.requests_prefix("sample") + "stray.json", b"")
    app_requests.refuse(store, "sample", "c", "why", NOW)
    store.put_new(layout.request_state_key("sample", "d", "claimed"), b"{}")
    assert app_requests.listed(store, "sample") == app_requests.Listed(("a", "b"), 2, 3)
    assert app_requests.listed(store, "another") == app_requests.Listed((), 0, 0)
    with pytest.raises(Refused, match="refused before"):
        app_requests.refuse_settled(store, "sample", "c")


@pytest.mark.parametrize("request_id", ["", "..", "a/b", "-a", "a.b", "é", "x" * 101, "a\n"])
def test_what_is_no_id_touches_no_key(store: Store, request_id: str) -> None:
    with pytest.raises(Refused, match="is not the id"):
        app_requests.refuse_settled(store, "sample", request_id)


def test_a_request_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound, match="has no request r-9"):
        app_requests.read(store, system("backup"), "r-9", NOW)
