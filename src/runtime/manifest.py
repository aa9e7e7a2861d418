"""Which files of a folder are ours to remove or replace: those that a manifest in it names."""

import json
import os
from pathlib import Path, PurePosixPath

from src.runtime.files import remove_at_end, unfinished_name, write_atomically


class Manifest:
    """The names of what one kind of job has written into a folder, kept in a hidden file there.

    A name is in it before the file is: what a killed job has left is known, and a file that is not
    named is somebody else's. It is read anew each time, so that any number of objects agree. If it
    names no file that is there, it goes at the end of the process.

    Args:
        folder: the folder.
        kind: whose files they are, "run" for example; each kind has a manifest of its own.
    """

    def __init__(self, folder, kind):
        self.folder = Path(folder)
        self.path = self.folder / manifest_name(kind)

    def exists(self):
        """Whether there is a manifest that can be read."""
        return self._names() is not None

    def names(self):
        """The names, relative to the folder, in the order in which they came."""
        return self._names() or []

    def owned(self):
        """The files that are there and named; a folder of that name is none of ours."""
        return [self.folder / name for name in self.names() if (self.folder / name).is_file()]

    def in_the_way(self, names):
        """What stands in the place of a file to be written and is not ours, a list of paths."""
        ours = set(self.names())
        return [
            self.folder / n for n in names if n not in ours and os.path.lexists(self.folder / n)
        ]

    def add(self, *names):
        """Names files that are about to be written; raises `DiskError` where that is impossible."""
        known = self.names()
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new or not self.exists():
            self._write(known + new)

    def claim(self, names):
        """Names files that are about to be written, but for what is in the way; those paths."""
        taken = self.in_the_way(names)
        free = [name for name in names if self.folder / name not in taken]
        self.add(*free)
        return [self.folder / name for name in free]

    def remove(self, paths):
        """Removes files that it names, with what is left of unfinished ones, then their names."""
        known = {self.folder / name for name in self.names()}
        for path in known.intersection(paths):
            for file in (unfinished_name(path), path):
                if not file.is_dir():
                    file.unlink(missing_ok=True)
        self.forget(paths)

    def forget(self, paths):
        """Takes the names of files back that are no longer there."""
        names = [name for name in self.names() if self.folder / name not in paths]
        if names != self.names():
            self._write(names)

    def remove_owned(self):
        """Removes every file that it names."""
        self.remove([self.folder / name for name in self.names()])

    def _names(self):
        """The names; None where there is no manifest, or none of ours."""
        try:
            names = json.loads(self.path.read_text())["files"]
            return [name for name in names if _is_inside(name)]
        except (OSError, ValueError, RecursionError, TypeError, KeyError):
            return None

    def _write(self, names):
        text = json.dumps({"files": names}, indent=1)
        remove_at_end(self.path, self._remove_if_void)
        write_atomically(self.path, [text.encode() + b"\n"])

    def _remove_if_void(self):
        """Removes the manifest itself where it names nothing that is there."""
        if not self.owned():
            self.path.unlink(missing_ok=True)


def manifest_name(kind):
    """What the manifest of a kind of job is called."""
    return f".{kind}.manifest.json"


def _is_inside(name):
    """Whether a name leads to a file in the folder, and not out of it."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts
