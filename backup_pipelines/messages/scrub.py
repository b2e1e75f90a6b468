"""Takes secrets out of text that leaves the machine: messages, and the reasons of failures."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

MASK = "***"

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|KEY|CREDENTIAL")

# Greedy up to the last @: a password that was not escaped may hold / and @ itself.
_USER_INFO = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*://)(\S*)@")

_QUOTED = r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*\""""
_NAMED = re.compile(
    r"""(?<![\w.-])([\w.-]*(?:password|passwd|pwd|secret|token|credential|signature|api[_-]?key
    |access[_-]?key|private[_-]?key)[\w.-]*["']?[ \t]*[=:][ \t]*)"""
    rf"""({_QUOTED}|(?:(?:bearer|basic)[ \t]+)?\S*[^\s,;])""",
    re.IGNORECASE | re.VERBOSE,
)
_AUTHORIZATION = re.compile(r"\b(authorization:[ \t]*)[^\r\n]+", re.IGNORECASE)

# An identity of age: it may stand in any text, such as a file that is read by mistake.
_IDENTITY = re.compile(r"AGE-SECRET-KEY-\w+", re.IGNORECASE)

# Shorter ones protect nothing, and every text would be full of masks.
_SHORTEST = 4
_PLAIN_WORDS = {"true", "false", "none", "null"}

# Of a secret of several lines, such as a PEM key, one line may be shown alone.
_SHORTEST_LINE = 16


def scrub(text: str, also: Iterable[str] = ()) -> str:
    """The text with every secret that can be recognized replaced by `***`.

    These are credentials in URLs, values of names such as password=, the values of environment
    variables with such names, passwords in the URLs of any environment variable, identities of
    age, and `also`.
    """
    hidden = {*secrets(os.environ), *(word for word in also if len(word) >= _SHORTEST)}
    # The longest first: one may be part of another.
    for word in sorted(hidden, key=len, reverse=True):
        text = text.replace(word, MASK)
    text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = _IDENTITY.sub(MASK, text)
    return _NAMED.sub(rf"\1{MASK}", text)


def secrets(environment: Mapping[str, str]) -> frozenset[str]:
    """The values that environment variables want kept secret."""
    found: set[str] = set()
    for name, value in environment.items():
        if _SECRET_NAME.search(name.upper()):
            found.add(value.strip())
            found |= {line for line in value.splitlines() if len(line) >= _SHORTEST_LINE}
        found |= set(_inside(value))
    return frozenset(
        word for word in found if len(word) >= _SHORTEST and word.lower() not in _PLAIN_WORDS
    )


def _inside(value: str) -> Iterator[str]:
    """The passwords in a URL or a connection string, as they are written and as they are meant."""
    parts: list[str] = []
    for _, user_info in _USER_INFO.findall(value):
        user, colon, password = user_info.partition(":")
        secret = password if colon else user
        # The last @ may be one of an address further on.
        parts += [secret, secret.partition("@")[0]]
    if "://" in value or "host=" in value:
        parts += [part.strip("'\"") for _, part in _NAMED.findall(value)]
    for part in parts:
        yield part
        yield unquote(part)
