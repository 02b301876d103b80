"""The error that a user can act on."""


class UserError(Exception):
    """Bad input, explained: what was given, what is allowed, what to do.

    Scripts print the message alone, without a traceback, and exit with 1. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """
