"""The errors a user can meet. Each message is one sentence: what was given, what is wanted, what to do."""


class UserError(Exception):
    """Something the user can put right: shown as one line, never as a traceback."""


class BadFile(UserError):
    """This file cannot be read, understood or written; others in the same run still can."""


class Cancelled(Exception):
    """The user asked to stop; nothing half-written is left behind."""
