"""The errors that an entry script turns into one line and an exit code of its own."""


class InputError(ValueError):
    """A wrong argument, file or folder; the message says what, where, and what would be right.

    Args:
        message: the whole message for a script without a flag that would help.
        remedies: what the flag of a name would do, for a script that has it: `pad="--pad pads"`.
    """

    def __init__(self, message, **remedies):
        super().__init__(message)
        self.remedies = remedies

    def text_for(self, flags):
        """The message with the remedies of a script that has these flags, "--pad" for example."""
        remedies = [text for name, text in self.remedies.items() if f"--{name}" in flags]
        return "; ".join([str(self), *remedies])


class StoppedError(RuntimeError):
    """SIGTERM or SIGINT: the training saved its state and stopped."""


class NonFiniteError(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite."""


class DiskError(RuntimeError):
    """The disk is full or failing; what was saved before is intact."""


class ExportError(RuntimeError):
    """What was exported does not compute what the checkpoint computes."""
