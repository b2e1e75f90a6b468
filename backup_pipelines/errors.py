"""The one tree of errors: what was refused before anything happened, and what failed."""


class BackupError(Exception):
    """Any error this project raises on purpose; its message is a clear sentence or a list."""

    exit_code = 1


class Refused(BackupError):
    """A wrong or unsafe request: nothing was changed, and the message says what to do (exit 2)."""

    exit_code = 2


class Failed(BackupError):
    """Work that was started could not be finished; what it had begun was taken back (exit 1)."""


class NotAllowed(Refused):
    """Whoever asks has not the role for it; the message says which it needs and whom to ask."""


class NotFound(Refused):
    """The backup, table or module that was named does not exist; the message lists what does."""


class NoStore(Refused):
    """The bucket that BACKUP_STORE_URL names does not exist."""


class Damaged(Failed):
    """Stored objects are missing or differ from what their manifest says."""


class NewerFormat(Refused):
    """The manifest was written by a newer version than this reader understands."""


class NotEqual(Failed):
    """Restored content differs from the backup; the message names every table and how."""


class Busy(Failed):
    """Another backup or restore of the same system holds the lock."""
