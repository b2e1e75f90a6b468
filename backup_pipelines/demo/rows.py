"""What a demo system hands to the seeder: rows for one table at a time."""

from collections.abc import Iterable
from typing import NamedTuple


class TableRows(NamedTuple):
    """Some rows of one table.

    A table may come any number of times, each time with further rows: so a system can make all
    that hangs together at once and forget it again, and needs no more memory for more rows. A value
    is whatever psycopg writes to COPY in text form; a str goes to any type as its text (JSON, too).
    """

    table: str  # schema-qualified, quoted as SQL needs it: public.leads
    columns: tuple[str, ...]
    rows: Iterable[tuple[object, ...]]
