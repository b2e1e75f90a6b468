"""Links: what they lead to is what was backed up, for as long as was said and no longer."""

import hashlib
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines import layout
from backup_pipelines.copies import links
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_s3 import S3Server
from backup_pipelines_tests.tiny_backups import put_backup

HOUR = timedelta(hours=1)
SECONDS = 60


def fetched(url: str) -> bytes:
    """What somebody without credentials gets."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return answer.read()


@pytest.mark.parametrize("name", ["trusting_server", "rclone_server"])
def test_each_link_leads_to_what_was_backed_up(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Manifest, DDL and parts come as they were written, to whoever has the link."""
    server: S3Server = request.getfixturevalue(name)
    server.use(monkeypatch)
    store = Store(f"s3://{server.bucket()}/a prefix/é")
    shared = put_backup(store, 1).tables[0].parts[0]
    entry = put_backup(store, 2, shares=[shared])
    began = datetime.now(UTC).replace(microsecond=0)
    made = links.make(store, entry, HOUR)
    assert began + HOUR <= made.until <= datetime.now(UTC) + HOUR
    assert [one.what for one in made.links] == ["manifest", "DDL, pre-data", *["public.deals"] * 3]
    assert made.links[2].key == shared.key
    for one in made.links[1:]:
        data = fetched(one.url)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one.size_bytes, one.sha256)
    assert fetched(made.links[0].url) == entry.to_json()
    document = made.document()
    assert document["encrypted"] is False
    assert {one["url"] for one in document["links"]} == {one.url for one in made.links}


def test_a_link_ends(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over the server refuses it, and it never took another object or verb."""
    rclone_server.use(monkeypatch)
    store = Store(f"s3://{rclone_server.bucket()}")
    entry = put_backup(store, 1)
    url = links.make(store, entry, HOUR, ["deals"]).links[0].url
    assert fetched(url)
    for wrong in (url.replace("part-00000", "part-00001"), url.replace("Expires=36", "Expires=99")):
        assert wrong != url
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetched(wrong)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=SECONDS)
    short = links.make(store, entry, timedelta(seconds=1), ["deals"])
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            fetched(short.links[0].url)
        except urllib.error.HTTPError as error:
            assert b"AccessDenied" in error.read()
            break
        assert datetime.now(UTC) < short.until + timedelta(seconds=1)
    assert datetime.now(UTC) >= short.until


def test_what_can_be_chosen(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that the backup lacks, or that have no rows, are refused."""
    rclone_server.use(monkeypatch)
    store = Store(f"s3://{rclone_server.bucket()}")
    entry = put_backup(store, 1)
    with pytest.raises(NotFound, match=r"has no table public\.nope; it has public\.deals"):
        links.make(store, entry, HOUR, ["nope", "public.deals"])
    empty = put_backup(store, 2, parts=0)
    with pytest.raises(Refused, match=r"deals: no rows in .*, and so no objects to link to"):
        links.make(store, empty, HOUR, ["deals"])
    [table] = entry.tables
    child = table.model_copy(update={"name": "deals_1", "partition_of": "public.deals"})
    root = table.model_copy(update={"kind": "partitioned", "parts": ()})
    whole = entry.model_copy(update={"tables": (root, child)})
    made = links.make(store, whole, HOUR, ["deals"])
    assert [one.what for one in made.links] == ["public.deals_1"] * 2


def encrypted(entry: Manifest) -> Manifest:
    """The manifest as if its parts were age files."""
    [table] = entry.tables
    parts = [p.model_copy(update={"key": p.key + layout.ENCRYPTED}) for p in table.parts]
    return entry.model_copy(
        update={"tables": (table.model_copy(update={"parts": tuple(parts)}),)},
    )


def test_what_is_encrypted_is_said_to_be(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to an age file says that it is one; the manifest and the rest stay readable."""
    rclone_server.use(monkeypatch)
    store = Store(f"s3://{rclone_server.bucket()}")
    made = links.make(store, encrypted(put_backup(store, 1)), HOUR)
    assert made.is_encrypted
    assert [one.is_encrypted for one in made.links] == [False, False, True, True]


def test_a_folder_has_no_links(tmp_path: Path) -> None:
    """A folder has no server that could be asked, and says what to do instead."""
    store = Store((tmp_path / "store").as_uri())
    with pytest.raises(Refused, match=r"is a folder, and links need a server: copy the files"):
        links.make(store, put_backup(store, 1), HOUR)


@given(st.integers(1, 10**9 - 1), st.sampled_from("smhd"))
def test_lifetimes(number: int, unit: str) -> None:
    """Whole seconds to days are taken up to a week, and what is longer is refused."""
    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if seconds <= 7 * 86400:
        assert links.parse_lifetime(f" {number}{unit} ") == timedelta(seconds=seconds)
        return
    with pytest.raises(Refused, match="at most 7d"):
        links.parse_lifetime(f"{number}{unit}")


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1.5h", "1w", "1h30m", "8d", "169h"])
def test_what_is_no_lifetime(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(Refused, match="is no time that a link can live: write a number"):
        links.parse_lifetime(text)
