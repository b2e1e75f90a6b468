"""What a system's YAML says about who may do what with its backups."""

from typing import Literal, Self

from pydantic import Field, model_validator

from backup_pipelines.settings import VARIABLE, Section

Access = Literal["open", "enforced"]
"""Whether roles are asked for; open means that whoever gets this far may do everything."""

EVERYONE = "*"
"""In a list of names: everybody who is signed in."""


class RolesFromSpec(Section):
    """A table of the application that says which of its users has which role there."""

    table: str = Field(
        pattern=r"^[^.]+\.[^.]+$", description="The table, as schema.table; one row for each role."
    )
    user_column: str = Field(
        description="The column with the user's id, which is the `sub` of the application's tokens."
    )
    role_column: str = Field(description="The column with the role's name.")
    admins: list[str] = Field(
        default_factory=list, description="Roles of the application that make an admin here."
    )
    operators: list[str] = Field(
        default_factory=list, description="Roles of the application that make an operator here."
    )
    viewers: list[str] = Field(
        default_factory=list, description="Roles of the application that make a viewer here."
    )
    database_url_env: str = Field(
        default="",
        pattern=VARIABLE,
        description="Environment variable with the URL of a role that may read the table; empty "
        "means the system's own.",
    )

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not (self.admins or self.operators or self.viewers):
            raise ValueError("no role is named under admins, operators or viewers: name one")
        return self
