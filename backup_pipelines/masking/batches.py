"""Batches of rows on their way through a mask, and the sum by which they are known again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute

from backup_pipelines.errors import Failed
from backup_pipelines.masking.values import ColumnMask, Masker, unchanged
from backup_pipelines.postgres.texts import as_text

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute

_MODULUS = 1 << 128
_HASH_BYTES = 16


@dataclass
class MaskedRows:
    """Masks the rows of one table, and counts what it has done."""

    table: str
    masker: Masker
    masks: Mapping[str, ColumnMask]
    values: dict[str, int] = field(default_factory=dict[str, int])
    """By column how many values were masked; NULL is none."""

    def masked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with texts in the masked columns.

        Raises Failed when a mask has left a value as it was.
        """
        arrays: list[pa.Array] = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            mask = self.masks.get(name)
            arrays.append(column if mask is None else self._masked(name, column, mask))
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    def _masked(self, name: str, values: pa.Array, mask: ColumnMask) -> pa.Array:
        try:
            made = self.masker.masked(values, mask)
        except Failed as error:
            raise Failed(f"{self.table}.{name} cannot be masked: {error}") from error
        left = unchanged(values, made, mask)
        if left:
            raise Failed(f"{left:,} values of {self.table}.{name} are the same behind the mask")
        self.values[name] = self.values.get(name, 0) + len(values) - values.null_count
        return made


@dataclass
class RowSum:
    """How many rows there are, and a sum over their hashes that does not know their order."""

    rows: int = 0
    total: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch in, all its columns as PostgreSQL prints them."""
        self.rows += batch.num_rows
        kind = pa.large_string()
        nothing, mark, end = (pa.scalar(text, kind) for text in ("", "=", "\0"))
        # No text of PostgreSQL holds a zero byte, so that no two rows are joined to the same.
        cells = [
            _compute.fill_null(_compute.binary_join_element_wise(mark, column, nothing), nothing)
            for column in (as_text(one).cast(kind) for one in batch.columns)
        ]
        joined = _compute.binary_join_element_wise(*cells, end)
        for row in joined.to_pylist():
            digest = hashlib.blake2b(row.encode(), digest_size=_HASH_BYTES).digest()
            self.total += int.from_bytes(digest, "big")
        self.total %= _MODULUS
