"""Requests that obstore gives up on at once, tried again: each can be repeated without harm.

It tries again what the server refuses for now, but not an answer that breaks off half-way; and
what brings no answer, but neither the removal of many objects nor a write under a condition, of
which write_once.py knows whether it was ours.
"""

import re
import time
from collections.abc import Callable
from typing import TypeVar

from obstore.exceptions import GenericError

# Seconds before the attempts after the first: long enough for a connection to be made anew.
_PAUSES = (0.1, 0.5, 2.0)

# What it has tried again itself, what cannot be reached, and what the server refuses for good.
_IN_VAIN = re.compile(r"(?<!max_)retries: [1-9]|kind: Connect\b|status: 4\d\d")

_TIMEOUT = "kind: Timeout"

Found = TypeVar("Found")


def repeated(ask: Callable[[], Found], *, patient: bool = True) -> Found:
    """What `ask` brings, asked up to four times; raises what its last attempt raises.

    Unless it is `patient` a server that does not answer at all is asked once.
    """
    for pause in _PAUSES:
        try:
            return ask()
        except GenericError as error:
            if _IN_VAIN.search(str(error)) or (_TIMEOUT in str(error) and not patient):
                raise
        time.sleep(pause)
    return ask()
