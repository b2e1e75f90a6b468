"""The secret key of masked copies, and all that is derived from it by HMAC-SHA256.

The rounds of permutations are SipHash-2-4, with keys derived so: numpy computes it for a whole
column at once, where HMAC takes 20 calls for each value.
"""

import hmac
import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from backup_pipelines.errors import Refused

MASKING_KEY = "BACKUP_MASKING_KEY"

_SHORTEST = 16

# As many as the standard for such permutations (NIST SP 800-38G, FF1) has.
_ROUNDS = 10

_SIPHASH_START = (
    0x736F6D6570736575,
    0x646F72616E646F6D,
    0x6C7967656E657261,
    0x7465646279746573,
)
_SIPHASH_LENGTH = 8 << 56

Numbers = NDArray[np.uint64]


def key_of_environment() -> bytes:
    """The key in BACKUP_MASKING_KEY; raises Refused when it is not set, or too short."""
    key = (os.environ.get(MASKING_KEY) or "").strip()
    if not key:
        raise Refused(
            f"{MASKING_KEY} is not set: set it to a secret of at least {_SHORTEST} characters, the "
            "same one for all copies whose keys shall join"
        )
    if len(key) < _SHORTEST:
        raise Refused(
            f"{MASKING_KEY} has {len(key)} characters: whoever has a copy could guess it; use at "
            f"least {_SHORTEST}"
        )
    return key.encode()


def derive(key: bytes, purpose: str, value: str) -> bytes:
    """32 bytes that only who has the key can tell for a value; no purpose has another's."""
    return hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256")


class Permutation:
    """A permutation of the whole numbers below 2^bits that leaves none at its place.

    A Feistel network P is one whatever its round functions are. P, one step further, and P back
    again is a single cycle through all numbers: so that no number stands for itself.
    """

    def __init__(self, key: bytes, bits: int) -> None:
        self._bits, self._low = bits, bits // 2
        purpose = f"permutation of {bits} bits"
        self._keys = [derive(key, purpose, str(number))[:16] for number in range(_ROUNDS)]

    def __call__(self, numbers: Numbers) -> Numbers:
        """Where the numbers go."""
        step = self._network(numbers, range(_ROUNDS)) + np.uint64(1)
        return self._network(step & _ones(self._bits), reversed(range(_ROUNDS)))

    def _network(self, numbers: Numbers, order: Iterable[int]) -> Numbers:
        """The rounds in order, each of which changes one half by the other; or back again."""
        shift, high_bits = np.uint64(self._low), self._bits - self._low
        high, low = numbers >> shift, numbers & _ones(self._low)
        for number in order:
            if number % 2 == 0:
                high = high ^ (siphash(self._keys[number], low) & _ones(high_bits))
            else:
                low = low ^ (siphash(self._keys[number], high) & _ones(self._low))
        return (high << shift) | low


def siphash(key: bytes, words: Numbers) -> Numbers:
    """SipHash-2-4 of each word, as its eight bytes from the lowest on."""
    halves = [int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")]
    state = [np.full_like(words, x ^ halves[i % 2]) for i, x in enumerate(_SIPHASH_START)]
    for block in (words, np.uint64(_SIPHASH_LENGTH)):
        state[3] ^= block
        _mix(state, 2)
        state[0] ^= block
    state[2] ^= np.uint64(0xFF)
    _mix(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _mix(v: list[Numbers], times: int) -> None:
    for _ in range(times):
        v[0] += v[1]
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[0] = _rotated(v[0], 32)
        v[2] += v[3]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] += v[3]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] += v[1]
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[2] = _rotated(v[2], 32)


def _rotated(words: Numbers, bits: int) -> Numbers:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _ones(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)
