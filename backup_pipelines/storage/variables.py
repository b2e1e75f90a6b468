"""The AWS_* variables that lead to a store: of a second store, the same names behind a prefix."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAMED = re.compile(r"\bAWS_(?=[A-Z])")
_STORE_URL = "BACKUP_STORE_URL"


@dataclass(frozen=True)
class Variables:
    """Where a store's address, endpoint and credentials are looked up."""

    prefix: str = ""
    """What stands before each name; empty for the names that every S3 client reads."""
    url_env: str = _STORE_URL
    """The variable with the store's URL, for people."""

    @property
    def is_own(self) -> bool:
        """Whether the variables that every S3 client reads are another store's."""
        return bool(self.prefix)

    def get(self, name: str) -> str:
        """The value of a variable; empty where it is not set."""
        return os.environ.get(self.prefix + name, "")

    def without_secrets(self) -> "Variables":
        """The same for another process, which has the secrets in its own environment."""
        return self

    def name(self, name: str) -> str:
        """A variable's whole name, for people."""
        return self.prefix + name

    def in_words(self, text: str) -> str:
        """A sentence about the usual variables, made one about these."""
        return _NAMED.sub(f"{self.prefix}AWS_", text).replace(_STORE_URL, self.url_env)


_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
)


# Of what is given by other means, what another process may be told.
_NO_SECRETS = ("AWS_ENDPOINT_URL", "AWS_REGION")


@dataclass(frozen=True)
class Given(Variables):
    """Variables of which some are given by other means than the environment."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_own(self) -> bool:
        return any(name in self.values for name in _CREDENTIALS)

    def get(self, name: str) -> str:
        if name in self.values:
            return self.values[name]
        # Half of one's own credentials and half of others' are none.
        if self.is_own and name in _CREDENTIALS:
            return ""
        # The more special name would go first.
        if name == "AWS_ENDPOINT_URL_S3" and "AWS_ENDPOINT_URL" in self.values:
            return ""
        return super().get(name)

    def without_secrets(self) -> Variables:
        kept = {name: self.values[name] for name in _NO_SECRETS if name in self.values}
        return (
            Given(self.prefix, self.url_env, kept) if kept else Variables(self.prefix, self.url_env)
        )


USUAL = Variables()
"""Those of the first store."""
