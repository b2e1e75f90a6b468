"""A file for the demo's deals with more than twenty kinds of errors, and what is to be said."""

from collections.abc import Mapping
from pathlib import Path

HEADER = (
    *("id", "name", "account_id", "owner_id", "stage", "amount", "currency", "probability"),
    *("expected_close", "closed_at", "lost_reason", "nxt_step", "name", "amount_weighted"),
)

_FINE = {
    "id": "9000",
    "name": "Big deal",
    "account_id": "1",
    "owner_id": "\\N",
    "stage": "prospecting",
    "amount": "10.00",
    "currency": "EUR",
    "probability": "0.5",
    "expected_close": "2026-01-31",
    "closed_at": "\\N",
    "lost_reason": "\\N",
}

# What is wrong with each line after the header: the column, its value, and the kind to be told.
_WRONG: tuple[tuple[str, str, str], ...] = (
    ("account_id", "abc", "type"),
    ("account_id", '""', "type"),
    ("account_id", "99999999999999999999", "type"),
    ("owner_id", "not-a-uuid", "type"),
    ("stage", "propsecting", "not allowed"),
    ("amount", "10.005", "rounded"),
    ("amount", "12345678901.00", "type"),
    ("amount", '"10,00"', "type"),
    ("currency", "EURO", "length"),
    ("currency", "eur", "check"),
    ("expected_close", "01/02/2026", "date form"),
    ("expected_close", "2026-02-30", "type"),
    ("name", "\\N", "required"),
    ("amount", "-1", "check"),
    ("account_id", "1E+05", "spreadsheet"),
    ("id", "1", "exists already"),
    ("account_id", "999999", "no parent"),
    ("closed_at", "2026-01-31 25:00:00+00", "type"),
    ("probability", "0.12345", "rounded"),
    ("closed_at", "2026-01-31 10:00:00+00", "check"),
)


def make(folder: Path) -> dict[tuple[int, str], str]:
    """Write `deals.csv`; returns the kind of each problem by its line and column."""
    lines = [",".join(HEADER)]
    found = {
        (1, "nxt_step"): "unknown column",
        (1, "amount_weighted"): "unknown column",
        (1, "name"): "repeated column",
    }
    for number, (column, value, kind) in enumerate(_WRONG):
        lines.append(_line({"id": str(9000 + number), column: value}))
        found[len(lines), column] = kind
    # That is a rule of two columns.
    found[len(lines), "stage, closed_at"] = found.pop((len(lines), "closed_at"))
    for _ in range(2):
        lines.append(_line({"id": "9100"}))
        found[len(lines), "id"] = "twice in the file"
    lines.append("9101,too few")
    found[len(lines), ""] = "fields"
    lines.append(_line({"id": "9102"}) + ",one too many")
    found[len(lines), ""] = "fields"
    lines.append(_line({"id": "9103", "lost_reason": '"quoted" and more'}))
    found[len(lines), "lost_reason"] = "quotes"
    lines.append(_line({"id": "9104", "lost_reason": "a\0b"}))
    found[len(lines), "lost_reason"] = "encoding"
    lines.append(_line({"id": "9105", "lost_reason": '"never closed'}))
    found[len(lines), "lost_reason"] = "quotes"
    folder.mkdir(exist_ok=True)
    (folder / "deals.csv").write_bytes("\r\n".join([*lines, ""]).encode())
    return found


def _line(changes: Mapping[str, str]) -> str:
    row = {**_FINE, **changes}
    # The second `name` repeats the first; the other two are no columns of a file.
    return ",".join(row.get(name, "x") for name in HEADER)
