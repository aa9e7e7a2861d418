"""Errors that an entry script reports in one line, each with its own exit code."""


class InputError(ValueError):
    """A wrong argument, file or folder. The message says what, where, and what would be right.

    Args:
        message: the message, without any flag that not every script has.
        remedies: by the name of a flag what it does about it, `pad="--pad pads"` for example: added
            to the message by scripts that have the flag.
    """

    def __init__(self, message, **remedies):
        super().__init__(message)
        self.remedies = remedies

    def text_for(self, flags):
        """The message for a script that has these flags, "--pad" for example."""
        remedies = [text for name, text in self.remedies.items() if f"--{name}" in flags]
        return "; ".join([str(self), *remedies])


class StoppedError(RuntimeError):
    """Training saved its state and stopped after SIGTERM or SIGINT."""


class NonFiniteError(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite."""


class DiskError(RuntimeError):
    """The disk is full or failing. Files saved earlier are intact."""


class ExportError(RuntimeError):
    """The exported network's output differs from the checkpoint's."""
