"""The errors a user can meet. Each message is one sentence: what was given, what is wanted, what to do."""

import errno

TOO_LONG = "that name is too long; choose a shorter one."
CANNOT_READ = {  # why a path cannot even be looked at
    errno.EACCES: "no permission to read it; change its rights or ask its owner.",
    errno.EPERM: "no permission to read it; change its rights or ask its owner.",
    errno.ENAMETOOLONG: TOO_LONG,
    errno.EIO: "its disk cannot be read there; copy it from another source.",
}


class UserError(Exception):
    """Something the user can put right: shown as one line, never as a traceback."""


class BadFile(UserError):
    """This file cannot be read, understood or written; others in the same run still can."""


class Cancelled(Exception):
    """The user asked to stop; nothing half-written is left behind."""
