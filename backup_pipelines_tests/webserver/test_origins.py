"""Which pages may ask, and where signing in may lead."""

import pytest
from starlette.datastructures import Headers

from backup_pipelines.webserver.origins import is_own, local_path


@pytest.mark.parametrize(
    ("host", "origin", "secure", "expected"),
    [
        ("backups.example.com", "https://backups.example.com", True, True),
        ("backups.example.com", "https://backups.example.com:443", True, True),
        ("Backups.Example.com:443", "https://backups.example.com", True, True),
        ("backups.example.com", "http://backups.example.com", True, False),
        ("backups.example.com", "https://backups.example.com", False, False),
        ("backups.example.com", "https://backups.example.com.evil", True, False),
        ("backups.example.com", "https://evil-backups.example.com", True, False),
        ("[::1]:3000", "http://[::1]:3000", False, True),
        ("localhost:3000", "http://127.0.0.1:3000", False, False),
        ("", "", False, False),
        ("localhost:3000", "http://localhost:99999", False, False),
        ("localhost:3000", "http://localhost:3000/path", False, False),
    ],
)
def test_an_origin_is_ours_by_scheme_host_and_port(
    host: str, origin: str, secure: bool, expected: bool
) -> None:
    """As browsers compare them."""
    assert is_own(Headers({"host": host, "origin": origin}), secure=secure) == expected


def test_two_of_a_header_are_not_believed() -> None:
    """Nor is the first or the last of them."""
    own = (b"origin", b"http://localhost")
    host = (b"host", b"localhost")
    assert is_own(Headers(raw=[host, own]), secure=False)
    assert not is_own(Headers(raw=[host, own, (b"origin", b"http://evil")]), secure=False)
    assert not is_own(Headers(raw=[host, host, own]), secure=False)


@pytest.mark.parametrize("path", ["/", "/runs?q=%2F%2Fevil", "/a/b#c", "/locations/x@y/jobs/z"])
def test_paths_of_this_server_are_kept(path: str) -> None:
    """With what follows them."""
    assert local_path(path) == path
