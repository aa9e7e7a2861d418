"""What a script prints, where nobody can read it."""

import errno
import os

from src.errors import DiskError


class Output:
    """A standard stream whose loss ends no work: what cannot be written any more is dropped.

    Characters that its encoding lacks are written as escapes.

    Args:
        stream: a text stream, or None for one that was closed before the process began.
        name: what it is called in an error.
    """

    def __init__(self, stream, name):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115
        self.name = name
        self.stream.reconfigure(errors="backslashreplace")
        self.is_terminal = self.stream.isatty()
        self.error = None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """As a file's."""
        return self._attempt(self.stream.write, text)

    def flush(self):
        """As a file's."""
        return self._attempt(self.stream.flush)

    def check(self):
        """Raises `DiskError` if something was dropped, unless a reader is gone who had enough."""
        self.flush()
        if self.error and self.error.errno != errno.EPIPE and not self.is_terminal:
            raise DiskError(f"{self.name}: cannot be written: {self.error.strerror}")

    def _attempt(self, action, *arguments):
        try:
            return action(*arguments)
        except OSError as error:
            self.error = error
            # What the stream still holds, and what others write to its descriptor, goes there too.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
