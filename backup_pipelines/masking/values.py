"""What masking makes of the values of a column: Arrow arrays to texts, the same for the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from backup_pipelines.masking.fakes import NO_NUMBERS, Faker, Wanted
from backup_pipelines.masking.keyed import Permutation, derive
from backup_pipelines.postgres.texts import as_text

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute

HASH_DIGITS = 32

INTEGER_BITS: Mapping[str, int] = {"int2": 15, "int4": 31, "int8": 63}
"""How many bits the whole numbers of a type have without their sign."""

# Values come again in other batches and tables; so many of a mask are some MB.
_REMEMBERED, _LONGEST_REMEMBERED = 20_000, 200


@dataclass(frozen=True)
class ColumnMask:
    """What becomes of one column; two of the same make the same of the same values."""

    action: str
    """null, hash or fake."""
    wanted: Wanted
    """The type's family, and for a fake what it is to be like."""

    @property
    def in_words(self) -> str:
        """As the YAML says it: hash, or fake email."""
        return f"fake {self.wanted.kind}" if self.action == "fake" else self.action


class Masker:
    """Masks values with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._faker = Faker(key)
        self._permutations = {name: Permutation(key, bits) for name, bits in INTEGER_BITS.items()}
        self._known: dict[ColumnMask, dict[str, str]] = {}

    def masked(self, values: pa.Array, mask: ColumnMask) -> pa.Array:
        """Texts in place of the values; NULL stays NULL."""
        if mask.action == "null":
            return pa.nulls(len(values), pa.string())
        texts = as_text(values)
        encoded: Any = texts.dictionary_encode()
        distinct: list[str] = encoded.dictionary.to_pylist()
        return pa.array(self._all(distinct, mask), pa.string()).take(encoded.indices)

    def _all(self, values: Sequence[str], mask: ColumnMask) -> list[str]:
        if mask.action == "hash" and mask.wanted.family in self._permutations:
            return self._permuted(values, mask.wanted.family)
        known = self._known.setdefault(mask, {})
        if len(known) > _REMEMBERED:
            known.clear()
        made: list[str] = []
        for value in values:
            found = known.get(value)
            if found is None:
                found = self._one(value, mask)
                if len(value) <= _LONGEST_REMEMBERED:
                    known[value] = found
            made.append(found)
        return made

    def _one(self, value: str, mask: ColumnMask) -> str:
        if mask.action == "fake":
            return self._faker.fake(value, mask.wanted)
        family = mask.wanted.family
        if family == "uuid":
            return _as_uuid(derive(self._key, "hash uuid", value).hex())
        made = derive(self._key, "hash text", _as_compared(value, family)).hex()
        return made[:HASH_DIGITS].ljust(mask.wanted.length or 0 if family == "bpchar" else 0)

    def _permuted(self, values: Sequence[str], family: str) -> list[str]:
        numbers = np.array([int(value) for value in values], np.int64)
        below = numbers < 0
        # -1 - n is the mirror of n: the lowest number has none of its own in the type.
        sizes = np.where(below, -1 - numbers, numbers).astype(np.uint64)
        moved = self._permutations[family](sizes).astype(np.int64)
        found: list[int] = np.where(below, -1 - moved, moved).tolist()
        return [str(number) for number in found]


def unchanged(before: pa.Array, after: pa.Array, mask: ColumnMask) -> int:
    """How many values a mask has left as they were though it should not."""
    if mask.wanted.kind == "empty":
        return 0
    same = _compute.equal(as_text(before), after)
    if mask.wanted.kind == "number":
        same = _compute.and_not(same, _compute.is_in(after, pa.array(NO_NUMBERS)))
    return int(_compute.sum(same).as_py() or 0)


def _as_uuid(digits: str) -> str:
    """A valid uuid of version 4, whose variant is told by two bits."""
    variant = "89ab"[int(digits[16], 16) % 4]
    return "-".join(
        (digits[:8], digits[8:12], f"4{digits[13:16]}", variant + digits[17:20], digits[20:32])
    )


def _as_compared(value: str, family: str) -> str:
    """A text as its type compares it: equal ones must have one hash."""
    if family == "bpchar":
        return value.rstrip(" ")
    return value.lower() if family == "citext" else value
