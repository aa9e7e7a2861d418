"""The one error that a user causes and an entry script turns into a line and exit code 2."""


class InputError(ValueError):
    """A wrong argument, file or folder; the message says what, where, and what would be right."""
