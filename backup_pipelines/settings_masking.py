"""What a system's YAML says about masked copies: what becomes of which column.

What a rule means for a column of a certain type is decided in `masking/policy.py`, where the
columns are known.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from backup_pipelines.settings import Section

Action = Literal["keep", "null", "hash", "fake"]

Kind = Literal[
    "email",
    "name",
    "first_name",
    "last_name",
    "username",
    "phone",
    "address",
    "city",
    "postal_code",
    "company",
    "url",
    "text",
    "number",
    "date",
    "ip",
    "empty",
]
"""What a fake can be of."""

ALL_OTHERS = "*"
"""In place of a column: every one of the table that is not named."""

_ACTIONS, KINDS = get_args(Action), get_args(Kind)


def _as_rule(value: Any) -> str:
    """A rule in the one form that the code knows: the action, for a fake also of what kind."""
    # YAML reads a plain null as nothing at all.
    if value is None:
        return "null"
    if isinstance(value, str) and value in _ACTIONS:
        return value
    if isinstance(value, dict) and list(value) == ["fake"]:  # pyright: ignore[reportUnknownArgumentType]
        if value["fake"] in KINDS:
            return f"fake {value['fake']}"
        raise ValueError(f"a fake is one of {', '.join(KINDS)}")
    raise ValueError("must be keep, null, hash, fake, or fake: and a kind such as email")


def _as_rules(value: Any) -> Any:
    return {ALL_OTHERS: "keep"} if value == "keep" else value


Rule = Annotated[str, BeforeValidator(_as_rule)]
Rules = Annotated[dict[str, Rule], BeforeValidator(_as_rules)]


class MaskingSpec(Section):
    """What becomes of each column in a masked copy."""

    tables: dict[str, Rules] = Field(
        description="Table as schema.table (public when no schema is given) to its columns, each "
        "with keep, null, hash, fake, or fake: and a kind. * is every column that is not named, "
        "and can only be kept; keep in place of the columns keeps the whole table.",
    )
    undecided: Literal["keep", "refuse"] = Field(
        default="keep",
        description="What becomes of columns that nothing is said of: keep, or refuse to copy "
        "until somebody has decided.",
    )

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        seen: dict[str, str] = {}
        for table, rules in self.tables.items():
            if any(sign in table for sign in "*?"):
                raise ValueError(f"tables: {table} is a pattern: name each table")
            whole = table if "." in table else f"public.{table}"
            if whole in seen:
                raise ValueError(f"tables: {table} and {seen[whole]} are the same table")
            seen[whole] = table
            if rules.get(ALL_OTHERS, "keep") != "keep":
                raise ValueError(f"tables: {ALL_OTHERS} of {table} can only be keep")
        return self

    def rules_of(self, table: str) -> dict[str, str]:
        """The rules of a table by its qualified name; none where it is not named."""
        schema, _, name = table.partition(".")
        if table in self.tables:
            return self.tables[table]
        return self.tables.get(name, {}) if schema == "public" else {}
