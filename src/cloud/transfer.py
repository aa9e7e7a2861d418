"""What a job copies in, data and a run, and what it copies out."""

import contextlib
import os
import shutil
import sys
import time
import zipfile

from src import run_folder
from src.cloud.storage import StoreError, join, store_of
from src.data.sources import TRAINING_FILE
from src.errors import DiskError, InputError
from src.runtime.files import is_hidden_within

ATTEMPTS = 3
FIRST_WAIT_SECONDS = 1


def fetch_data(url, folder):
    """Copies data in and unpacks its archives.

    Raises:
        InputError: the data are missing, or an archive is damaged.
    """
    store = store_of(url, "data_url")
    with storage_errors("data_url"):
        if not store.exists(url):
            raise InputError(f"{url}: is missing or empty (data_url)")
        print(f"copying in data: {url}", flush=True)
        store.fetch(url, folder)
    for archive in sorted(_visible(folder, "*.zip")):
        print(f"unpacking {archive}", flush=True)
        unpack(archive, archive.parent)


def unpack(archive, folder):
    """Unpacks a zip archive into `folder`, and nothing outside it.

    Raises:
        InputError: the archive is damaged or encrypted, or an entry leads out of the folder. Then
            nothing is unpacked, except entries before a damaged one.
        DiskError: there is not enough room.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                target = (folder / entry.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise InputError(f"{archive}: {entry.filename!r} leads out of its folder")
            if sum(entry.file_size for entry in file.infolist()) > shutil.disk_usage(folder).free:
                raise DiskError(f"{archive}: there is no room to unpack it in {folder}")
            file.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, DiskError):
            raise
        raise InputError(f"{archive}: cannot be unpacked: {error}") from None
    except OSError as error:
        raise DiskError(f"{archive}: cannot be unpacked: {error.strerror}") from None


def find_digits(folder, name):
    """The topmost folder, `folder` or one in it, that holds the training digits."""
    files = sorted(_visible(folder, f"{TRAINING_FILE}*"), key=lambda path: len(path.parts))
    if not files:
        raise InputError(f"{name}: holds no {TRAINING_FILE}.gz in any folder or archive")
    return files[0].parent


def _visible(folder, pattern):
    """The files below a folder whose names match; none that is hidden, or in a hidden folder."""
    return [path for path in folder.rglob(pattern) if not is_hidden_within(path, folder)]


def fetch_run(store, url, folder):
    """Copies a run in, all of it or nothing: part of one could be resumed by mistake.

    It is copied beside its place and then gets its name in one step. If there is a folder with
    other files in that place, the complete copy goes into it, hidden, and its files are moved from
    there; a job that finds it there moves the rest.

    Raises:
        InputError: one of those other files has the name of one of the run's.
    """
    incoming = folder.with_name(f".{folder.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    store.fetch(url, incoming)
    if not os.path.lexists(folder):
        os.rename(incoming, folder)
        return
    for path in _files_below(incoming):
        if os.path.lexists(folder / path) and path.name != run_folder.MANIFEST:
            shutil.rmtree(incoming)
            raise InputError(
                f"{folder / path}: is there already, and {url} has a file of that name (train_url):"
                " move it away, or give another --train_path"
            )
    os.rename(incoming, folder / run_folder.INCOMING)
    finish_fetching(folder)


def finish_fetching(folder):
    """Moves the files of a run to their places that has been copied in; whether there were any."""
    incoming = folder / run_folder.INCOMING
    if not incoming.is_dir():
        return False
    for path in _files_below(incoming):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(incoming / path, folder / path)
    shutil.rmtree(incoming)
    return True


def _files_below(folder):
    """The files of a folder and its folders, by their paths in it."""
    return [p.relative_to(folder) for p in sorted(folder.rglob("*")) if not p.is_dir()]


class Upload:
    """Keeps a copy of a folder in a store: copies new and changed files, removes deleted ones.

    A file that could not be copied is tried again the next time.

    Args:
        folder: the run's folder; it is only read.
        store, url: where the copy is.
    """

    def __init__(self, folder, store, url):
        self.folder = folder
        self.store = store
        self.url = url
        self.done = {}

    def __call__(self):
        """Updates the copy; returns whether it is complete."""
        return with_retries(self.copy, self.url, self.folder)

    def mark_as_done(self):
        """Marks all present files as copied."""
        self.done = self.present()

    def present(self):
        """Time of modification and size of the folder's files by name.

        The manifest is the only hidden file among them; what was set aside is not.
        """
        files = [p for p in sorted(self.folder.rglob("*")) if p.is_file()]
        kept = [p for p in files if not _stays_here(p, self.folder)]
        stats = {str(path.relative_to(self.folder)): path.stat() for path in kept}
        return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}

    def copy(self):
        """Tries once to update the copy. Files that were copied before a failure stay copied.

        Checkpoints are copied last, because a resumed run can cut a metrics.csv that is ahead of
        them.
        """
        present = self.present()
        for name, version in sorted(present.items(), key=lambda item: item[0].endswith(".ckpt")):
            if self.done.get(name) != version:
                self.store.put(self.folder / name, join(self.url, name))
                self.done[name] = version
        for name in set(self.done) - set(present):
            self.store.remove(join(self.url, name))
            del self.done[name]


def _stays_here(path, folder):
    """Whether a file below a run's folder is of no use elsewhere."""
    if path == folder / run_folder.MANIFEST:
        return False
    set_aside = (folder / run_folder.SET_ASIDE) in path.parents
    return set_aside or is_hidden_within(path, folder)


def with_retries(copy, url, folder):
    """Calls `copy` up to three times until it works, with waits of 1 s and 2 s; returns whether it
    did. If not, warns and says where the files are.
    """
    for attempt in range(ATTEMPTS):
        try:
            copy()
            return True
        except StoreError as error:
            failure = error
        if attempt + 1 < ATTEMPTS:
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    warn(f"could not copy out to {url}: {failure} ({ATTEMPTS} attempts); all files are in {folder}")
    return False


@contextlib.contextmanager
def storage_errors(argument):
    """Turns an error of the storage or disk into an `InputError` that names the argument."""
    try:
        yield
    except StoreError as error:
        raise InputError(f"{error} ({argument})") from None
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror} ({argument})") from None


def warn(text):
    """Prints a warning on stderr."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
