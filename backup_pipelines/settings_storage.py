"""What a system's YAML says about how its backups are stored."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from backup_pipelines.settings import RetentionSpec, Section


def _check_recipient(key: str) -> str:
    # Systems without encryption need no library for it.
    from backup_pipelines.storage.age import Recipients

    Recipients([key])
    return key


class EncryptionSpec(Section):
    """To whom backups are encrypted."""

    recipients: list[Annotated[str, AfterValidator(_check_recipient)]] = Field(
        default_factory=list[str],
        description="Public keys of age (age1...); each of their holders can read every backup "
        "taken from then on. Empty means no encryption.",
    )

    @field_validator("recipients")
    @classmethod
    def _check_repeated(cls, keys: list[str]) -> list[str]:
        if len(set(keys)) != len(keys):
            raise ValueError("the same public key is named twice")
        return keys


class ObjectLockSpec(Section):
    """How long nobody can remove or change the objects of a backup."""

    mode: Literal["governance", "compliance"] = Field(
        description="governance: who has the right to bypass it still can; compliance: nobody can, "
        "not even the owner of the account."
    )
    days: int = Field(
        # The longest that S3 takes, a hundred years.
        ge=1,
        le=36500,
        description="For how many days after it was made every object of a backup is locked.",
    )


class SecondStoreSpec(Section):
    """Where a copy of every backup goes."""

    url_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the URL of the second store; while it is not set, "
        "nothing is copied, and `status` warns of it.",
    )
    aws_prefix: str = Field(
        default="",
        pattern=r"^([A-Z][A-Z0-9_]*_)?$",
        description="What stands before the names of the AWS_* variables of the second store, such "
        "as SECOND_; empty means that both stores share them.",
    )
    retention: RetentionSpec = Field(
        default_factory=RetentionSpec,
        description="Which backups the second store keeps, and so which are copied there.",
    )
