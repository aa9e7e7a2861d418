"""Jobs on OpenI and ModelArts: copies data in before training, and the run's folder out during it.

A training can start in three ways:

- With --data_url and --train_url, which both platforms pass to training jobs. They name object
  storage, or folders that are used in the same way (`src/cloud/storage.py`).
- With `c2net` on OpenI's newer images, where the platform sets DATA_DOWNLOAD_METHOD. It supplies
  --data_path and --train_path where they are not given.
- By hand, in debug jobs and everywhere else, with --data_path and --train_path alone. Then this
  module does nothing.
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from src import run_folder
from src.cloud.storage import StoreError, join, run_subprocess, store_of
from src.cloud.transfer import (
    Upload,
    fetch_data,
    fetch_run,
    find_digits,
    finish_fetching,
    storage_errors,
    warn,
    with_retries,
)
from src.data.sources import TEST_FILE
from src.errors import DiskError, InputError
from src.runtime.files import scratch_folder

# The fast local disk that jobs on ModelArts and OpenI may have.
CACHE = Path("/cache")
C2NET_VARIABLE = "DATA_DOWNLOAD_METHOD"
RESULT = "result.json"
FAILURE_MARK = "\u274c"  # c2net prints this instead of raising


def add_flags(parser):
    """Adds --data_url and --train_url."""
    group = parser.add_argument_group("cloud job")
    group.add_argument("--data_url", help="data to copy in first; .zip files in it are unpacked")
    group.add_argument(
        "--train_url",
        help="where to copy the run's folder, at every checkpoint, or the result of an evaluation",
    )


def parse(parser, argv):
    """Parses the command line; in a cloud job, warns of unknown flags, which its platform adds."""
    args, unknown = parser.parse_known_args(argv)
    if unknown and not (args.data_url or args.train_url):
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    for value, previous in zip(unknown, ["", *unknown], strict=False):
        if not value.startswith("-") and not previous.startswith("-"):
            parser.error(f"unrecognized argument: {value}: it follows no flag that takes it")
    if unknown:
        warn(f"ignoring flags of the platform: {' '.join(unknown)}")
    return args


@dataclass(frozen=True)
class CloudJob:
    """What the platform of a cloud job determines; the defaults are for training elsewhere.

    Args:
        settings: values of `data_path`, `train_path` and `resume` that replace the flags'.
        upload: a function without arguments that copies new files out, for every checkpoint; or
            None.
    """

    settings: dict = field(default_factory=dict)
    upload: object = None


def with_cloud_job(main):
    """Turns `main(args, job)` into a function of `args` alone, which makes the `CloudJob`."""

    def run(args):
        with cloud_job(args) as job:
            main(args, job)

    return run


@contextlib.contextmanager
def cloud_job(args):
    """Copies in a cloud job's data and earlier results, and copies its results out at the end.

    A job that its platform starts again is resumed: `settings` has `resume` if `train_url` holds a
    run.

    Args:
        args: the parsed command line of train.py.

    Yields:
        The `CloudJob`.

    Raises:
        InputError: the data are missing, or flags contradict each other.
        DiskError: the results could not be copied out at the end; the message says where they are.
    """
    by_urls = args.data_url or args.train_url
    if args.distribute and (by_urls or is_left_to_c2net(args)):
        raise InputError(
            "--distribute: a cloud job copies its data in once, not for each rank; use --data_path "
            "and --train_path instead"
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


def with_evaluation_job(main):
    """A function of the parsed command line of test.py for its `main(args)`.

    In a cloud job the official test set is taken from `data_url` if it is there, and the result
    is copied to `train_url` as result.json.
    """

    def run(args):
        if not (args.data_url or args.train_url):
            return main(args)
        if args.distribute:
            raise InputError("distribute: a cloud job copies its data in once, not once a rank")
        with scratch_folder(within=fast_disk()) as scratch:
            settings, store = {"json": args.json or f"{scratch}/{RESULT}"}, None
            if args.train_url:
                store = store_of(args.train_url, "train_url")
            if args.data_url:
                settings |= _test_set(args, scratch)
            main(argparse.Namespace(**{**vars(args), **settings}))
            if store:
                with storage_errors("train_url"):
                    store.put(settings["json"], join(args.train_url, RESULT))

    return run


def _test_set(args, scratch):
    """Settles `workroot` where the data of a job holds the official test set."""
    fetch_data(args.data_url, scratch)
    found = sorted(scratch.rglob(TEST_FILE))
    if not found:
        warn(f"{args.data_url}: holds no {TEST_FILE} (data_url): it is not used")
        return {}
    if args.workroot or args.dataset:
        raise InputError("data_url holds a test set, and workroot or dataset names another one")
    return {"workroot": str(found[0].parent)}


def fast_disk():
    """The folder of the platform's fast disk, or None."""
    return CACHE if CACHE.is_dir() and os.access(CACHE, os.W_OK) else None


@contextlib.contextmanager
def copied_out(upload, folder):
    """Copies results out however training ends, except after wrong input, which leaves none."""
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
    """The `CloudJob` for --data_url and --train_url; copies in the data and earlier results."""
    settings = {}
    if args.data_url:
        if getattr(args, "data_path", None):
            raise InputError("--data_url and --data_path are both given: leave one of them out")
        fetch_data(args.data_url, scratch)
        settings["data_path"] = str(find_digits(scratch, f"{args.data_url} (data_url)"))
    if not args.train_url:
        return CloudJob(settings)
    runs = fast_disk() or run_folder.RUNS
    folder = Path(args.train_path or runs / run_folder.default_path("cloud").name)
    store = store_of(args.train_url, "train_url")
    upload = Upload(folder, store, args.train_url)
    with storage_errors("train_url"):
        if args.overwrite:
            shutil.rmtree(folder / run_folder.INCOMING, ignore_errors=True)
        elif finish_fetching(folder):
            upload.mark_as_done()
        elif not run_folder.run_files(folder) and store.exists(args.train_url):
            print(f"copying in earlier results: {args.train_url}", flush=True)
            fetch_run(store, args.train_url, folder)
            upload.mark_as_done()
    settings |= {"train_path": str(folder)} | _resume_if_possible(args, folder)
    return CloudJob(settings, upload)


def _resume_if_possible(args, folder):
    """The setting `resume` if the folder holds a checkpoint and no flag says otherwise, else {}."""
    if args.overwrite or args.resume or not run_folder.resumable_checkpoints(folder):
        return {}
    print(f"{folder}: holds a run: continuing it (--overwrite starts over)")
    return {"resume": True}


def is_left_to_c2net(args):
    """Whether c2net is in use and has to supply a path that the flags do not give."""
    complete = getattr(args, "data_path", None) and args.train_path
    has_c2net = os.environ.get(C2NET_VARIABLE) and importlib.util.find_spec("c2net")
    return bool(has_c2net and not complete)


def _job_of_c2net(args):
    """The `CloudJob` with the paths that c2net supplies where the flags do not."""
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
    """Tries once to copy results out; raises `StoreError` if c2net prints a failure."""
    output = run_subprocess("-c", "from c2net.context import upload_output; upload_output()")
    failures = [line for line in output.splitlines() if FAILURE_MARK in line]
    if failures:
        raise StoreError(failures[-1].strip(f"{FAILURE_MARK} "))
