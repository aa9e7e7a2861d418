"""Storage of a cloud job's data and results: object storage, or a folder with the same interface.

A store has `exists(url)`, `fetch(url, folder)`, `put(file, url)` and `remove(url)`; each raises
`StoreError` if the storage fails. A `put` that fails leaves the older object unchanged.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from src import ROOT
from src.errors import InputError
from src.runtime.files import unfinished_name

REMOTE = ("obs://", "s3://")
FILE = "file://"
TIMEOUT_SECONDS = 3600


class StoreError(OSError):
    """The storage cannot be reached, is full, or denies access."""


def store_of(url, argument):
    """The store for a URL: a `MoxingStore` for obs:// and s3://, else a `LocalStore`.

    Args:
        url: obs://, s3://, file:// or a plain path.
        argument: the flag that gave it, for messages.

    Raises:
        InputError: the URL has another scheme, or needs MoXing, which is not installed.
    """
    if url.startswith(REMOTE):
        if importlib.util.find_spec("moxing") is None:
            raise InputError(
                f"{argument} is {url}: object storage needs MoXing, which the images of ModelArts "
                "and OpenI have; elsewhere give a folder"
            )
        return MoxingStore()
    if "://" in url and not url.startswith(FILE):
        raise InputError(f"{argument} is {url}: it must begin with obs://, s3://, file:// or /")
    return LocalStore()


def join(url, name):
    """The URL of `name` below `url`."""
    return f"{url.rstrip('/')}/{name}"


class LocalStore:
    """A folder instead of object storage: on a mounted disk, or a laptop."""

    def exists(self, url):
        """Whether there is a file, or a folder with something in it."""
        path = self._path(url)
        return path.is_file() or (path.is_dir() and any(path.iterdir()))

    def fetch(self, url, folder):
        """Copies a file, or all that a folder holds, into `folder`."""
        path = self._path(url)
        try:
            if path.is_file():
                shutil.copy2(path, folder)
            else:
                shutil.copytree(path, folder, dirs_exist_ok=True)
        except OSError as error:
            raise StoreError(f"{url}: {reason_of(error)}") from None

    def put(self, file, url):
        """Copies a file to `url` in one step."""
        path = self._path(url)
        unfinished = unfinished_name(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, unfinished)
            os.replace(unfinished, path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise StoreError(f"{url}: {reason_of(error)}") from None

    def remove(self, url):
        """Removes a file, if it exists."""
        try:
            self._path(url).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{url}: {reason_of(error)}") from None

    def _path(self, url):
        return Path(url.removeprefix(FILE))


class MoxingStore:
    """Object storage by MoXing, with each command in a process of its own.

    MoXing may hang, and its exceptions are not documented: neither must end a training.
    """

    def exists(self, url):
        """As in `LocalStore`."""
        return self._run("exists", url) == "True"

    def fetch(self, url, folder):
        """As in `LocalStore`."""
        self._run("fetch", url, folder)

    def put(self, file, url):
        """As in `LocalStore`; an object appears only when it is complete."""
        self._run("put", file, url)

    def remove(self, url):
        """As in `LocalStore`."""
        self._run("remove", url)

    def _run(self, *command):
        return run_subprocess("-m", "src.cloud.storage", *command).rsplit("\n", 1)[-1]


def run_subprocess(*arguments):
    """Runs Python in a process of its own that accesses the storage; returns its output.

    Raises:
        StoreError: it fails or does not end in time.
    """
    command = [sys.executable, *map(str, arguments)]
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    try:
        result = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"{command[-1]}: no answer in {TIMEOUT_SECONDS} seconds") from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise StoreError(f"{command[-1]}: {lines[-1]}")
    return result.stdout.strip()


def reason_of(error):
    """The text of an OSError without path and number; for a tree, that of its first error."""
    if isinstance(error, shutil.Error):
        source, _, text = error.args[0][0]
        return f"{source}: {text.split('] ')[-1].split(': ')[0]}"
    return error.strerror or str(error)


def moxing_command(command, source, target=None):
    """Runs one command of MoXing; an exception of MoXing ends the process.

    Args:
        command: "exists", "fetch", "put" or "remove".
        source: a URL, or the file to put.
        target: the folder to fetch to, or the URL to put to.
    """
    import moxing

    if command == "exists":
        print(moxing.file.exists(source))
    elif command == "remove":
        if moxing.file.exists(source):
            moxing.file.remove(source)
    elif command == "put":
        moxing.file.copy(source, target)
    elif moxing.file.is_directory(source):
        moxing.file.copy_parallel(source, target)
    else:
        moxing.file.copy(source, str(Path(target) / source.rsplit("/", 1)[-1]))


if __name__ == "__main__":
    moxing_command(*sys.argv[1:])
