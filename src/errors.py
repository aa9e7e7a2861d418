"""Errors that an entry script reports in one line, each with its own exit code."""


class InputError(ValueError):
    """A wrong argument, file or folder. The message says what, where, and what would be right."""


class StoppedError(RuntimeError):
    """Training saved its state and stopped after SIGTERM or SIGINT."""


class NonFiniteError(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite."""


class DiskError(RuntimeError):
    """The disk is full or failing. Files saved earlier are intact."""


class ExportError(RuntimeError):
    """The exported network's output differs from the checkpoint's."""
