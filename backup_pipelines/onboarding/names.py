"""The words of a name: what proposals compare, whatever the style and the number."""

import re
import unicodedata
from collections.abc import Sequence

Words = tuple[str, ...]

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words_of(name: str) -> Words:
    """The words of a name, without case and accents, of CamelCase too."""
    plain = unicodedata.normalize("NFKD", _CAMEL.sub("_", name).casefold())
    return tuple(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c))))


def stems_of(words: Sequence[str]) -> Words:
    return tuple(_stem(word) for word in words)


def _stem(word: str) -> str:
    """The singular of an English word, or at least the same for singular and plural."""
    if len(word) <= 3:
        return word
    for ending, instead in (("ies", "y"), ("ie", "y"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending):
            return word.removesuffix(ending) + instead
    if word.endswith(("ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
