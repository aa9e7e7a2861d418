"""Jobs on OpenI and ModelArts: data copied in before a training, its folder copied out during it.

Three ways to be started:

- with `--data_url` and `--train_url`, as both platforms pass them to training jobs: object storage
  or, behind the same interface, folders (`src/cloud/storage.py`);
- on OpenI's newer images by `c2net`, where the platform set DATA_DOWNLOAD_METHOD: it supplies what
  `--data_path` and `--train_path` leave open;
- by hand, in debug jobs and everywhere else, with `--data_path` and `--train_path` alone: then
  nothing here does anything.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from src import run_folder
from src.cloud.storage import StoreError, join, run_subprocess, store_of
from src.data.sources import TRAINING_FILE
from src.errors import DiskError, InputError
from src.runtime.files import scratch_folder

# The fast disk of ModelArts and OpenI, where there is one.
CACHE = Path("/cache")
C2NET_VARIABLE = "DATA_DOWNLOAD_METHOD"
ATTEMPTS = 3
FIRST_WAIT_SECONDS = 1
FAILURE_MARK = "\u274c"  # what c2net prints in place of raising


def add_flags(parser):
    """--data_url and --train_url."""
    group = parser.add_argument_group("cloud job")
    group.add_argument("--data_url", help="copied in before training; data.zip is unpacked")
    group.add_argument("--train_url", help="receives the run's folder, at every checkpoint")


def parse(parser, argv):
    """The parsed command line; a cloud job may have flags that are its platform's alone."""
    args, unknown = parser.parse_known_args(argv)
    if unknown and not (args.data_url or args.train_url):
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if unknown:
        warn(f"not used, as flags of the platform: {' '.join(unknown)}")
    return args


@dataclass(frozen=True)
class CloudJob:
    """What a job's platform settles of a training; nothing on a machine of one's own.

    Args:
        settings: values of `data_path`, `train_path` and `resume` in place of the flags' own.
        upload: a function without arguments that copies out what is new, to be called at
            checkpoints; or None.
    """

    settings: dict = field(default_factory=dict)
    upload: object = None


def with_cloud_job(main):
    """A function of the parsed command line for `main(args, job)`, a `CloudJob`."""

    def run(args):
        with cloud_job(args) as job:
            main(args, job)

    return run


@contextlib.contextmanager
def cloud_job(args):
    """Makes a cloud job's data and earlier results local, and copies the results out in the end.

    A job that its platform starts again goes on: where `train_url` holds a run already, `resume` is
    settled.

    Args:
        args: the parsed command line of train.py.

    Yields:
        The `CloudJob`.

    Raises:
        InputError: the data is not there, or flags contradict each other.
        DiskError: in the end results could not be copied out; the message says where they are.
    """
    by_urls = args.data_url or args.train_url
    if args.distribute and (by_urls or is_left_to_c2net(args)):
        raise InputError(
            "distribute: a cloud job copies its data in once, not once a rank; give the ranks "
            "--data_path and --train_path"
        )
    with scratch_folder(within=fast_disk()) as scratch:
        job = CloudJob()
        if by_urls:
            job = _job_of_urls(args, scratch)
        elif is_left_to_c2net(args):
            job = _job_of_c2net(args)
        if job.upload is None:
            yield job
            return
        with copied_out(job.upload, job.settings["train_path"]):
            yield job


def fast_disk():
    """The folder of the platforms' fast disk, or None where there is none."""
    return CACHE if CACHE.is_dir() and os.access(CACHE, os.W_OK) else None


@contextlib.contextmanager
def copied_out(upload, folder):
    """Copies out when a training ends, however it ends; wrong input has made nothing to copy."""
    try:
        yield
    except InputError:
        raise
    except BaseException:
        upload()
        raise
    if not upload():
        raise DiskError(f"results could not be copied out; all of them are in {folder}")


def _job_of_urls(args, scratch):
    """The `CloudJob` of --data_url and --train_url; what they name is copied in."""
    settings = {}
    if args.data_url:
        if getattr(args, "data_path", None):
            raise InputError("data_url and data_path are both given: the data is one or the other")
        settings["data_path"] = str(fetch_data(args.data_url, scratch))
    if not args.train_url:
        return CloudJob(settings)
    runs = fast_disk() or run_folder.RUNS
    folder = Path(args.train_path or runs / run_folder.default_path("cloud").name)
    store = store_of(args.train_url, "train_url")
    upload = Upload(folder, store, args.train_url)
    if not args.overwrite and not run_folder.run_files(folder):
        with _storage("train_url"):
            if store.exists(args.train_url):
                print(f"copying in earlier results: {args.train_url}", flush=True)
                fetch_run(store, args.train_url, folder)
                upload.mark_as_done()
    settings |= {"train_path": str(folder)} | _resume_if_possible(args, folder)
    return CloudJob(settings, upload)


def fetch_run(store, url, folder):
    """Copies a run in; half of one is never in its place, to be gone on with by mistake."""
    incoming = folder.with_name(f".{folder.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    store.fetch(url, incoming)
    folder.mkdir(exist_ok=True)
    for path in incoming.iterdir():
        os.replace(path, folder / path.name)
    incoming.rmdir()


def _resume_if_possible(args, folder):
    """Settles `resume` where the run's folder holds a state, and no flag says otherwise."""
    if args.overwrite or args.resume or not run_folder.resumable_checkpoints(folder):
        return {}
    print(f"{folder}: holds a run: going on with it (--overwrite starts over)")
    return {"resume": True}


def fetch_data(url, folder):
    """Copies data in, unpacks its archives, and returns the folder that has the training digits.

    Raises:
        InputError: there is nothing, an archive is bad, or the digits are not among it.
    """
    store = store_of(url, "data_url")
    with _storage("data_url"):
        if not store.exists(url):
            raise InputError(f"{url}: there is nothing (data_url)")
        print(f"copying in data: {url}", flush=True)
        store.fetch(url, folder)
    for archive in sorted(folder.rglob("*.zip")):
        print(f"unpacking {archive}", flush=True)
        unpack(archive, archive.parent)
    return find_digits(folder, f"{url} (data_url)")


def find_digits(folder, name):
    """The one folder at or below `folder` that has the training digits."""
    files = sorted(folder.rglob(f"{TRAINING_FILE}*"), key=lambda path: len(path.parts))
    if not files:
        raise InputError(f"{name}: holds no {TRAINING_FILE}.gz, in no folder and no archive")
    return files[0].parent


def unpack(archive, folder):
    """Unpacks a zip archive into `folder`, and nothing outside of it.

    Raises:
        InputError: the archive is damaged or encrypted, or an entry leads out of the folder;
            nothing is unpacked then but entries before a damaged one.
        DiskError: there is no room.
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


class Upload:
    """Copies a folder's new and changed files out, and removes what is gone from it.

    A file that could not be copied stays to be copied the next time; the folder is only read.

    Args:
        folder: the run's folder.
        store, url: where to.
    """

    def __init__(self, folder, store, url):
        self.folder = folder
        self.store = store
        self.url = url
        self.done = {}

    def __call__(self):
        """Copies out; returns whether all is there now."""
        return with_retries(self.copy, self.url, self.folder)

    def mark_as_done(self):
        """Takes what the folder holds for what the store holds."""
        self.done = self.present()

    def present(self):
        """The folder's files by name, with what tells that one has changed; no hidden ones."""
        files = [p for p in sorted(self.folder.rglob("*")) if p.is_file()]
        names = {str(path.relative_to(self.folder)): path.stat() for path in files}
        return {
            name: (stat.st_mtime_ns, stat.st_size)
            for name, stat in names.items()
            if not Path(name).name.startswith(".")
        }

    def copy(self):
        """One attempt; what was copied counts, even if the next file fails.

        Checkpoints come last: a metrics.csv that is ahead of them is cut when a run goes on.
        """
        present = self.present()
        for name, version in sorted(present.items(), key=lambda item: item[0].endswith(".ckpt")):
            if self.done.get(name) != version:
                self.store.put(self.folder / name, join(self.url, name))
                self.done[name] = version
        for name in set(self.done) - set(present):
            self.store.remove(join(self.url, name))
            del self.done[name]


def with_retries(copy, url, folder):
    """Calls `copy` until it works; after three failures warns, and says where the files are.

    Waits a second before the second attempt, and twice as long before the third.
    """
    for attempt in range(ATTEMPTS):
        try:
            copy()
            return True
        except StoreError as error:
            failure = error
        if attempt + 1 < ATTEMPTS:
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    warn(f"could not copy out to {url}: {failure} ({ATTEMPTS} attempts); all is in {folder}")
    return False


def is_left_to_c2net(args):
    """Whether OpenI runs this by c2net, and the flags leave something open."""
    complete = getattr(args, "data_path", None) and args.train_path
    here = os.environ.get(C2NET_VARIABLE) and importlib.util.find_spec("c2net")
    return bool(here and not complete)


def _job_of_c2net(args):
    """The `CloudJob` of what the flags leave open to c2net."""
    from c2net.context import prepare

    try:
        context = prepare()
    except (ValueError, OSError) as error:
        raise InputError(f"c2net cannot prepare this job: {error}") from None
    datasets, settings = Path(context.dataset_path), {}
    if not getattr(args, "data_path", None) and any(datasets.glob("[!.]*")):
        digits = find_digits(datasets, f"{datasets} (c2net's dataset_path)")
        settings["data_path"] = str(digits)
    if args.train_path:
        return CloudJob(settings)
    folder = Path(context.output_path) / "run"
    settings |= {"train_path": str(folder)} | _resume_if_possible(args, folder)
    return CloudJob(settings, lambda: with_retries(upload_by_c2net, "c2net's output", folder))


def upload_by_c2net():
    """One attempt to copy out; c2net prints its failures."""
    output = run_subprocess("-c", "from c2net.context import upload_output; upload_output()")
    failures = [line for line in output.splitlines() if FAILURE_MARK in line]
    if failures:
        raise StoreError(failures[-1].strip(f"{FAILURE_MARK} "))


@contextlib.contextmanager
def _storage(argument):
    """Turns a failing storage, or disk, into an `InputError` that names the argument."""
    try:
        yield
    except StoreError as error:
        raise InputError(f"{error} ({argument})") from None
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror} ({argument})") from None


def warn(text):
    """Says something that does not end the job."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
