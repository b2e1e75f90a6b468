"""Every object key, made here and nowhere else; docs/format.md describes the same tree.

Keys are relative to the store's URL. All of a system's objects lie under `<system>/`.
"""

import hashlib
import re
from typing import Literal

_PLAIN = re.compile(r"^[a-z0-9_]{1,80}$")
_ATTEMPT = re.compile(r"/part-[0-9]{5,}(?:-[0-9]{3,})?-t([0-9a-f]{8})\.")
_CONTENT = re.compile(
    r"[0-9]{8}T[0-9]{6}Z-[a-z]+-[0-9a-f]{6}/"
    r"(schema/(pre|post)-data\.sql(\.age)?"
    r"|data/[a-z0-9_-]+\.[a-z0-9_-]+/part-[0-9]{5,}(-[0-9]{3,})?(-t[0-9a-f]{8})?"
    r"\.(parquet|jsonl\.zst)(\.age)?"
    r"|RECOVERY\.md|restore\.py)"
)


ENCRYPTED = ".age"
"""What the key of every encrypted object ends with, and of no other; as the `age` tool's files."""

Format = Literal["parquet", "jsonl"]
"""How rows are written: as Parquet, or as JSON Lines in zstd."""

_JSON_LINES = ".jsonl.zst"
_ENDINGS: dict[Format, str] = {"parquet": ".parquet", "jsonl": _JSON_LINES}


def system_prefix(system: str) -> str:
    """The folder of one system."""
    return f"{system}/"


def backups_prefix(system: str) -> str:
    """The folder of all backups of a system."""
    return f"{system}/backups/"


def backup_prefix(system: str, backup_id: str) -> str:
    """The folder of one backup."""
    return f"{backups_prefix(system)}{backup_id}/"


def backup_id_of(system: str, key: str) -> str:
    """The backup in whose folder an object of the system's backups lies."""
    return key.removeprefix(backups_prefix(system)).partition("/")[0]


def manifest_key(system: str, backup_id: str) -> str:
    """The manifest: written once, last; without it there is no backup."""
    return f"{backup_prefix(system, backup_id)}manifest.json"


def started_key(system: str, backup_id: str) -> str:
    """The marker written first, so that leftovers of a killed run can be told and explained."""
    return f"{backup_prefix(system, backup_id)}started.json"


def document_key(
    system: str, backup_id: str, document: Literal["RECOVERY.md", "restore.py"]
) -> str:
    """One of the files that say and do how a backup is restored without this package."""
    return f"{backup_prefix(system, backup_id)}{document}"


def schema_key(system: str, backup_id: str, section: str, *, encrypted: bool = False) -> str:
    """One section of the DDL, `pre-data` or `post-data`."""
    key = f"{backup_prefix(system, backup_id)}schema/{section}.sql"
    return key + ENCRYPTED if encrypted else key


def part_key(
    system: str,
    backup_id: str,
    schema: str,
    table: str,
    number: int,
    overflow: int = 0,
    *,
    format: Format = "parquet",
    encrypted: bool = False,
    attempt: str = "",
) -> str:
    """One part of one table; `number` counts from 0 within the table.

    A range of pages whose rows outgrow one part continues in `overflow` 1, 2, ... On a cluster the
    same range may be read twice, each time under names of its own: `attempt` is eight hex digits.
    """
    folder = f"{_folder_name(schema)}.{_folder_name(table)}"
    name = f"part-{number:05d}" + (f"-{overflow:03d}" if overflow else "")
    name += f"-t{attempt}" if attempt else ""
    key = f"{backup_prefix(system, backup_id)}data/{folder}/{name}{_ENDINGS[format]}"
    return key + ENCRYPTED if encrypted else key


def is_encrypted(key: str) -> bool:
    """Whether an object is an age file."""
    return key.endswith(ENCRYPTED)


def is_json_lines(key: str) -> bool:
    """Whether a part is JSON Lines; every other one is Parquet."""
    return key.removesuffix(ENCRYPTED).endswith(_JSON_LINES)


def format_of(key: str) -> Format:
    """How the rows of a part are written, which its key tells."""
    return "jsonl" if is_json_lines(key) else "parquet"


def attempt_of(key: str) -> str:
    """The attempt that wrote a part on a cluster; empty for every other object."""
    found = _ATTEMPT.search(key)
    return found[1] if found else ""


def is_content_key(system: str, key: str) -> bool:
    """Whether a key can be a section of the DDL, a part or a document of a system's backup."""
    inside = key.removeprefix(backups_prefix(system))
    return inside != key and _CONTENT.fullmatch(inside) is not None


def drills_prefix(system: str) -> str:
    """The folder of the records of drills."""
    return f"{system}/drills/"


def drill_key(system: str, backup_id: str, at: str) -> str:
    """The record of one drill of one backup; `at` is its UTC second as in a backup id."""
    return f"{drills_prefix(system)}{backup_id}/{at}.json"


def audit_prefix(system: str) -> str:
    """The folder of the audit trail."""
    return f"{system}/audit/"


def audit_key(system: str, sequence: int) -> str:
    """One record of the audit trail; `sequence` counts from 1, without a gap."""
    return f"{audit_prefix(system)}{sequence:012d}.json"


def health_prefix(system: str) -> str:
    """The folder of what was found each time the health was looked at."""
    return f"{system}/health/"


def health_key(system: str, at: str) -> str:
    """What was found at one time; `at` is a stamp as `state_log.stamp` makes it."""
    return f"{health_prefix(system)}{at}.json"


StateKind = Literal["pins", "verifications", "proofs", "removals", "freezes"]


def states_prefix(system: str, kind: StateKind) -> str:
    """The folder of what became of backups (or guards) in one respect."""
    return f"{system}/{kind}/"


def state_key(system: str, kind: StateKind, subject: str, at: str, state: str) -> str:
    """One change of state of one subject, a backup's id or a guard's name."""
    return f"{states_prefix(system, kind)}{subject}/{at}-{state}.json"


def requests_prefix(system: str) -> str:
    """The folder of what the application asks for."""
    return f"{system}/requests/"


def request_prefix(system: str, request_id: str) -> str:
    """The folder of one request of the application."""
    return f"{requests_prefix(system)}{request_id}/"


def request_key(system: str, request_id: str) -> str:
    """The request itself, which the application writes."""
    return f"{request_prefix(system, request_id)}request.json"


def request_state_key(
    system: str, request_id: str, state: Literal["refused", "claimed", "done"]
) -> str:
    """What became of a request, for the application to read."""
    return f"{request_prefix(system, request_id)}{state}.json"


def _folder_name(identifier: str) -> str:
    """A safe folder name: plain identifiers as they are, others sanitised plus a short hash.

    A plain identifier has no hyphen, so the two kinds cannot collide.
    """
    if _PLAIN.fullmatch(identifier):
        return identifier
    safe = re.sub(r"[^a-z0-9_]+", "_", identifier.lower()).strip("_")[:40]
    return f"{safe}-{hashlib.sha256(identifier.encode()).hexdigest()[:12]}"
