"""The errors that an entry script turns into one line and an exit code of its own."""


class InputError(ValueError):
    """A wrong argument, file or folder; the message says what, where, and what would be right."""


class StoppedError(RuntimeError):
    """SIGTERM or SIGINT: the training saved its state and stopped."""


class NonFiniteError(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite."""


class DiskError(RuntimeError):
    """The disk is full or failing; what was saved before is intact."""


class ExportError(RuntimeError):
    """What was exported does not compute what the checkpoint computes."""
