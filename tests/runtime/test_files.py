"""Atomic files on a disk that is full or that breaks, and the lock of a run's folder."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from src import run_folder
from src.errors import DiskError, InputError
from src.runtime.files import check_writable, write_atomically

ROOT = Path(__file__).resolve().parents[2]


def test_written_and_replaced(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"newer"):
        write_atomically(path, [content[:1], content[1:]])
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["file"]


def limited(tmp_path, program):
    """Runs a program that may write files of 4,000 bytes at most."""
    file = tmp_path / "program.py"
    file.write_text(
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4000,) * 2)\n{program}"
    )
    return subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    result = limited(
        tmp_path,
        "from pathlib import Path\n"
        "from src.errors import DiskError\n"
        "from src.runtime.files import write_atomically\n"
        "try:\n"
        f"    write_atomically(Path({str(path)!r}), [b'x' * 1000] * 5)\n"
        "except DiskError as error:\n"
        "    print(error)\n",
    )
    assert (
        "file: cannot be written: File too large; what was saved before is intact" in result.stdout
    )
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "program.py"]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(DiskError, match="cannot be written"):
        write_atomically(tmp_path / "nothing" / "file", [b"x"])


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    """A device that takes whatever is written to it, as /dev/null does."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def read_all(path, into):
    """Reads a pipe in a thread, because to write to one waits for a reader."""
    thread = threading.Thread(target=lambda: into.append(path.read_bytes()))
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_pipe_is_written_to(tmp_path, name):
    """By its name, and by a link to it; it stays one."""
    make_pipe(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    check_writable(tmp_path / name, "json")
    read = []
    thread = read_all(tmp_path / "pipe", read)
    write_atomically(tmp_path / name, [b"con", b"tent"])
    thread.join(30)
    assert read == [b"content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices, and could replace one")
def test_a_device_is_written_to(tmp_path):
    make_device(tmp_path / "null")
    check_writable(tmp_path / "null", "json")
    write_atomically(tmp_path / "null", [b"content"])
    assert stat.S_ISCHR(os.lstat(tmp_path / "null").st_mode)
    assert os.listdir(tmp_path) == ["null"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_written_through(tmp_path, is_there):
    """Over a chain of links, to a file that need not be there yet."""
    (tmp_path / "other").mkdir()
    if is_there:
        (tmp_path / "other" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("other/second")
    (tmp_path / "other" / "second").symlink_to("file")
    check_writable(tmp_path / "link", "json")
    write_atomically(tmp_path / "link", [b"content"])
    assert (tmp_path / "other" / "file").read_bytes() == b"content"
    assert not (tmp_path / "other" / "file").is_symlink()
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path / "other")) == ["file", "second"]


def test_a_link_that_leads_nowhere(tmp_path):
    """To a folder that is not there, and round in a circle."""
    (tmp_path / "link").symlink_to("nothing/file")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("link", "circle"):
        with pytest.raises(InputError, match=r"cannot be written \(json\)"):
            check_writable(tmp_path / name, "json")
        with pytest.raises(DiskError, match="cannot be written"):
            write_atomically(tmp_path / name, [b"content"])
        assert (tmp_path / name).is_symlink()


PRINTING = """
import sys
from src.runtime import files
files.OPEN_FILES = {sys.argv[1]: 1}
print("printed", flush=True)
files.write_atomically(sys.argv[1], [b"written"])
print(" after")
"""


def test_what_a_process_prints_to_is_written_to(tmp_path):
    """Be it a file: what was printed before stays. The name here is a link as /dev/stdout is, which
    no test may touch.
    """
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    command = [sys.executable, "-c", PRINTING, str(tmp_path / "stdout")]
    with open(tmp_path / "out", "wb") as file:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, stdout=file, env=environment, check=True)
    assert (tmp_path / "out").read_text() == "printed\nwritten after\n"
    assert (tmp_path / "stdout").is_symlink()


def refuse(is_refused, number):
    """An os.fsync that answers for files or folders with an error, as no disk here does."""
    fsync = os.fsync

    def answer(descriptor):
        if is_refused(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    return answer


@pytest.mark.parametrize("is_refused", [stat.S_ISDIR, stat.S_ISREG])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
def test_a_disk_that_cannot_sync(tmp_path, monkeypatch, is_refused, number):
    """The file is written and reads back whole: it is no full disk."""
    monkeypatch.setattr(os, "fsync", refuse(is_refused, number))
    write_atomically(tmp_path / "file", [b"content"])
    assert (tmp_path / "file").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("is_refused", [stat.S_ISDIR, stat.S_ISREG])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fails_to_sync(tmp_path, monkeypatch, is_refused, number):
    monkeypatch.setattr(os, "fsync", refuse(is_refused, number))
    with pytest.raises(DiskError, match=f"cannot be written: {os.strerror(number)}"):
        write_atomically(tmp_path / "file", [b"content"])


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    """It may be written all the same; to sync it, it would have to be opened."""
    system_open = os.open

    def answer(path, *args, **kwargs):
        if Path(path) == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return system_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", answer)
    write_atomically(tmp_path / "file", [b"content"])
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_without_locks(tmp_path, monkeypatch, capsys, number):
    """A run goes on there, and says once that nothing keeps a second one out."""

    def answer(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", answer)
    run_folder.lock(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path}: cannot be locked ({os.strerror(number)})")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_a_lock_that_another_process_holds(tmp_path, monkeypatch, number):
    """Systems differ in how they say so."""

    def answer(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", answer)
    with pytest.raises(InputError, match="another process is training in it"):
        run_folder.lock(tmp_path)


LOCKED = """
import os, signal, sys
from pathlib import Path
from src.run_folder import lock
lock(Path(sys.argv[1]))
if os.fork() == 0:
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lock_does_not_outlive_its_owner(tmp_path):
    """Not even in a child that lives on; but while the owner lives nobody else gets it."""
    program = tmp_path / "program.py"
    program.write_text(LOCKED)
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, str(program), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    owners = []
    try:
        for _ in range(2):
            owner = subprocess.Popen(command, env=environment, start_new_session=True, **silent)
            owners.append(owner)
            assert owner.wait(30) == -signal.SIGKILL
    finally:
        for owner in owners:
            os.killpg(owner.pid, signal.SIGKILL)
