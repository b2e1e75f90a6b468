"""Requests that the application leaves in the store: who may ask, for what, once, until when.

A request is a signed JSON object of its own folder; its claim, refusal and result are written
beside it, each once (docs/operations.md, "Requests from your application").
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupId
from backup_pipelines.catalog import LATEST
from backup_pipelines.errors import Failed, NotFound, Refused
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

BACKUP_REQUESTS_KEY = "BACKUP_REQUESTS_KEY"

_KEY_CHARACTERS = 32

# A thousand table names fit; anything larger is no request.
_MOST_BYTES = 256 * 1024

_LONGEST = timedelta(hours=24)
# Clocks of two machines differ.
_SKEW = timedelta(minutes=5)

# Safe in object keys, in Dagster's run keys and as a file name on every system.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")

# Names end up in tags, logs and pages: no control characters.
_Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class AppRequest(BaseModel):
    """One request, as it was signed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: _Line
    system: _Line
    operation: Literal["backup", "restore"]
    backup: _Line | None = None
    modules: Annotated[tuple[_Line, ...], Field(max_length=1000)] = ()
    tables: Annotated[tuple[_Line, ...], Field(max_length=1000)] = ()
    mode: Literal["replace", "upsert"] = "replace"
    confirm: Literal["CONFIRM"] | None = None
    requested_by: _Line
    reason: Annotated[str, Field(max_length=2000)] = ""
    created_at: AwareDatetime
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _check_operation(self) -> "AppRequest":
        if self.operation == "backup":
            if self.backup is not None or self.confirm is not None:
                raise ValueError("backup and confirm belong to a restore")
            return self
        if self.confirm is None:
            raise ValueError("a restore needs confirm: CONFIRM")
        if self.backup is None:
            raise ValueError("a restore needs backup: an id, or latest")
        if self.backup != LATEST and not BackupId.is_valid(self.backup):
            raise ValueError(f"{self.backup!r} is not a backup id; or say latest")
        return self


@dataclass(frozen=True)
class Listed:
    """What lies under `requests/`."""

    pending: tuple[str, ...]
    """Ids that nobody has claimed or refused, sorted."""
    settled: int
    unusable: int
    """Folders whose name is no id, or that hold no request."""


def sign(request: Mapping[str, object], key: str) -> str:
    """The signature of a request: HMAC-SHA256 of its canonical JSON, in hexadecimal.

    Canonical is: keys sorted, no spaces, UTF-8 unescaped, and without `signature` itself.
    """
    content = {name: value for name, value in request.items() if name != "signature"}
    return hmac.new(key.encode(), _canonical(content), hashlib.sha256).hexdigest()


def is_id(text: str) -> bool:
    """Whether a request may be called that."""
    return _ID.fullmatch(text) is not None


def signing_key() -> str:
    """The key of BACKUP_REQUESTS_KEY; raises Refused when it is missing or too short."""
    key = os.environ.get(BACKUP_REQUESTS_KEY, "")
    if not key:
        raise Refused(
            f"{BACKUP_REQUESTS_KEY} is not set where this run executes: set it to the key that the "
            "application signs its requests with"
        )
    if len(key) < _KEY_CHARACTERS:
        raise Refused(
            f"{BACKUP_REQUESTS_KEY} has {len(key)} characters; a key needs at least "
            f"{_KEY_CHARACTERS}"
        )
    return key


def listed(store: Store, system: str) -> Listed:
    """The requests of a system by their state; reads none and changes nothing."""
    prefix = layout.requests_prefix(system)
    found: dict[str, set[str]] = {}
    # One listing for all of them, since this is done every few seconds.
    for item in store.objects(prefix):
        folder, _, name = item.key.removeprefix(prefix).partition("/")
        found.setdefault(folder, set()).add(name)
    known = {f: names for f, names in found.items() if is_id(f) and "request.json" in names}
    pending = [f for f, names in known.items() if not names & {"claimed.json", "refused.json"}]
    return Listed(tuple(sorted(pending)), len(known) - len(pending), len(found) - len(known))


def refuse_settled(store: Store, system: str, request_id: str) -> None:
    """Raise Refused for what is no id, and for a request that was claimed or refused before."""
    if not is_id(request_id):
        raise Refused(f"{request_id!r} is not the id of a request: letters, digits, _ and -")
    if store.exists(layout.request_state_key(system, request_id, "claimed")):
        raise _claimed_before(request_id)
    if store.exists(layout.request_state_key(system, request_id, "refused")):
        raise Refused(f"request {request_id} was refused before; a new one needs a new id")


def read(store: Store, system: System, request_id: str, now: datetime) -> AppRequest:
    """A request that may be carried out now; raises Refused, or NotFound when there is none."""
    key = layout.request_key(system.system, request_id)
    folder = layout.request_prefix(system.system, request_id)
    sizes = {item.key: item.size_bytes for item in store.objects(folder)}
    if key not in sizes:
        raise NotFound(f"{system.system} has no request {request_id}")
    if sizes[key] > _MOST_BYTES:
        raise Refused(f"the request has {sizes[key]:,} bytes; at most {_MOST_BYTES:,} are accepted")
    return verified(store.get(key), system, request_id, signing_key(), now)


def verified(data: bytes, system: System, request_id: str, key: str, now: datetime) -> AppRequest:
    """The request in `data` if it is signed, for this system and folder, permitted and timely."""
    content = _authentic(data, key)
    try:
        request = AppRequest.model_validate_json(_canonical(content))
    except ValidationError as error:
        raise Refused(f"the request is malformed: {_problems(error)}") from error
    permitted = system.requests.operations
    if request.id != request_id:
        raise Refused(f"the request is {request.id!r}, its folder is {request_id!r}: it was copied")
    if request.system != system.system:
        raise Refused(f"the request is for {request.system!r}, not for {system.system}")
    if request.operation not in permitted:
        raise Refused(
            f"{request.operation} is not permitted to applications; the YAML of {system.system} "
            f"has requests.operations: [{', '.join(permitted)}]"
        )
    if request.created_at > now + _SKEW:
        raise Refused(f"the request was created in the future, {request.created_at.isoformat()}")
    if request.expires_at <= now:
        raise Refused(f"the request expired at {request.expires_at.isoformat()}")
    if request.expires_at > min(request.created_at, now) + _LONGEST:
        raise Refused("the request is valid for more than 24 hours: let it expire earlier")
    return request


def claim(store: Store, system: str, request: AppRequest, run_id: str, now: datetime) -> None:
    """Make the request this run's and nobody else's; raises Refused when it is taken."""
    try:
        _write(
            store,
            layout.request_state_key(system, request.id, "claimed"),
            {"run_id": run_id, "at": now.isoformat()},
        )
    except Failed as error:
        if store.exists(layout.request_state_key(system, request.id, "claimed")):
            raise _claimed_before(request.id) from error
        raise


def refuse(store: Store, system: str, request_id: str, reason: str, now: datetime) -> None:
    """Tell the application why its request is not carried out."""
    _write(
        store,
        layout.request_state_key(system, request_id, "refused"),
        {"reason": reason, "at": now.isoformat()},
    )


def finish(
    store: Store,
    system: str,
    request_id: str,
    *,
    success: bool,
    message: str,
    result: Mapping[str, Any],
) -> None:
    """Tell the application how its request ended."""
    _write(
        store,
        layout.request_state_key(system, request_id, "done"),
        {
            "success": success,
            "message": message,
            "at": datetime.now(UTC).isoformat(),
            **result,
        },
    )


def _authentic(data: bytes, key: str) -> Mapping[str, object]:
    """The signed content; nothing of it is looked at before its signature is found right."""
    if len(data) > _MOST_BYTES:
        raise Refused(f"the request has more than {_MOST_BYTES:,} bytes")
    try:
        content = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_unique)
        if not isinstance(content, dict):
            raise Refused("the request is not a JSON object")
        signature = content.pop("signature", None)
        if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
            raise Refused("the request is not signed: signature is 64 hexadecimal digits")
        meant = sign(content, key)
    # A deep nesting, and a text that is no Unicode, show in these ways.
    except (ValueError, RecursionError) as error:
        raise Refused("the request is not JSON that can be read") from error
    if not hmac.compare_digest(signature, meant):
        raise Refused("the signature is not that of this content with the key that is set here")
    return content


def _canonical(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """An object; one that names a key twice would mean different things to different readers."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _problems(error: ValidationError) -> str:
    """What is wrong where, without what was written there."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:10]
    said = [(".".join(str(at) for at in e["loc"]), e["msg"]) for e in found]
    told = (f"{where}: {what}" if where else what for where, what in said)
    return "; ".join(told)


def _claimed_before(request_id: str) -> Refused:
    return Refused(f"request {request_id} was carried out before; it is never done twice")


def _write(store: Store, key: str, content: Mapping[str, object]) -> None:
    store.put_new(key, json.dumps(content, indent=2, ensure_ascii=False).encode())
