"""Cloud jobs on folders in place of object storage, and on c2net's mounted folders."""

import os
import shutil
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import run_folder
from src.cloud import job as cloud
from src.cloud import storage, transfer
from src.config import cli
from src.errors import DiskError, InputError, StoppedError

# c2net leaves folders open that it has looked into.
OPEN_FOLDERS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
DIGITS = "train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_WAIT_SECONDS", 0.01)


def arguments(**given):
    """A parsed command line."""
    defaults = {"data_url": None, "train_url": None, "train_path": None}
    return SimpleNamespace(
        **{**defaults, "resume": None, "overwrite": False, "distribute": False, **given}
    )


def make_zip(path, *names):
    """An archive whose files hold their names."""
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, name)
    return path


def contents(folder):
    """The texts of a folder's files by name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def save(folder, then):
    """What a training does: it writes a checkpoint, and something happens."""
    folder.mkdir()
    (folder / "last.ckpt").write_text("1")
    then()


def stop():
    """As on SIGTERM."""
    raise StoppedError("a signal")


@pytest.mark.parametrize("url", ["{}", "{}/", "file://{}", "{}/data.zip"])
def test_data_is_copied_in_and_unpacked(tmp_path, url):
    """A folder, or the archive itself; afterwards nothing is left on the fast disk."""
    store = tmp_path / "store"
    store.mkdir()
    make_zip(store / "data.zip", f"data/{DIGITS}", "data/mnist_test_seq.npy")
    args = arguments(data_url=url.format(store))
    with cloud.cloud_job(args) as job:
        assert job.upload is None
        folder = Path(job.settings["data_path"])
        assert contents(folder) == {name: f"data/{name}" for name in (DIGITS, "mnist_test_seq.npy")}
    assert not folder.exists()
    assert [path.name for path in store.iterdir()] == ["data.zip"]


def test_hidden_files_beside_the_data(tmp_path):
    """macOS puts ._data.zip beside data.zip, and notebooks keep copies in hidden folders."""
    store = tmp_path / "store"
    (store / ".ipynb_checkpoints").mkdir(parents=True)
    make_zip(store / "data.zip", f"data/{DIGITS}", f"__MACOSX/data/._{DIGITS}")
    for name in ("._data.zip", f".ipynb_checkpoints/{DIGITS}", ".ipynb_checkpoints/data.zip"):
        (store / name).write_text("no data")
    with cloud.cloud_job(arguments(data_url=str(store))) as job:
        assert Path(job.settings["data_path"]).name == "data"


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "data/../../evil"])
def test_an_entry_that_leads_out_is_refused_and_nothing_is_unpacked(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = make_zip(tmp_path / "data.zip", DIGITS, name)
    with pytest.raises(InputError, match=f"'{name}' leads out of its folder"):
        transfer.unpack(archive, folder)
    assert not list(folder.iterdir())
    assert not (tmp_path / "evil").exists()


def test_a_link_in_an_archive_leads_nowhere(tmp_path):
    """It is unpacked as a small file that holds where it would have led."""
    (tmp_path / "folder").mkdir()
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    transfer.unpack(tmp_path / "data.zip", tmp_path / "folder")
    link = tmp_path / "folder" / "link"
    assert not link.is_symlink()
    assert link.read_text() == "/etc/passwd"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"not a zip"), "data.zip: cannot be unpacked"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "data.zip: cannot be unpacked"),
        (lambda path: make_zip(path, "other.gz"), "holds no train-images-idx3-ubyte.gz"),
        (lambda path: path.unlink(), "is missing or empty"),
    ],
)
def test_data_that_is_not_there(tmp_path, damage, message):
    store = tmp_path / "store"
    store.mkdir()
    damage(make_zip(store / "data.zip", DIGITS))
    with pytest.raises(InputError, match=message), cloud.cloud_job(arguments(data_url=str(store))):
        pass


def test_urls_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="distribute: a cloud job copies its data in once"):
        cloud.cloud_job(arguments(data_url=str(tmp_path), distribute=True)).__enter__()
    with pytest.raises(InputError, match="data_url is obs://b/d: object storage needs MoXing"):
        storage.store_of("obs://b/d", "data_url")
    with pytest.raises(InputError, match="train_url is http://b/d: it must begin with obs://"):
        storage.store_of("http://b/d", "train_url")
    both = arguments(data_url=str(tmp_path), data_path="here")
    with pytest.raises(InputError, match="data_url and --data_path"), cloud.cloud_job(both):
        pass


def test_what_is_new_is_copied_out_and_what_is_gone_removed(tmp_path):
    run, store = tmp_path / "run", tmp_path / "store"
    args = arguments(train_url=str(store), train_path=str(run))
    with cloud.cloud_job(args) as job:
        run.mkdir()
        (run / "last.ckpt").write_text("1")
        (run / ".lock").touch()
        assert job.upload()
        assert contents(store) == {"last.ckpt": "1"}
        (store / "last.ckpt").write_text("unchanged files are not copied again")
        (run / "epoch_0001.ckpt").write_text("e")
        assert job.upload()
        assert set(contents(store)) == {"last.ckpt", "epoch_0001.ckpt"}
        assert contents(store)["last.ckpt"].startswith("unchanged")
        (run / "last.ckpt").write_text("22")
        (run / "epoch_0001.ckpt").unlink()
    assert contents(store) == {"last.ckpt": "22"}


def test_a_failed_upload_is_reported_and_made_up_for(tmp_path, capsys):
    """A file in the store's place: nobody can write below it. The training goes on."""
    run, store = tmp_path / "run", tmp_path / "store"
    run.mkdir()
    (run / "last.ckpt").write_text("1")
    store.write_text("in the way")
    upload = transfer.Upload(run, storage.LocalStore(), str(store))
    assert not upload()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: could not copy out to {store}: {store}/last.ckpt: File exists (3 attempts); all "
        f"files are in {run}"
    )
    assert contents(run) == {"last.ckpt": "1"}
    store.unlink()
    assert upload()
    assert contents(store) == {"last.ckpt": "1"}


def test_an_upload_that_fails_in_the_end(tmp_path):
    """The job says so by its exit code, and where the results are."""
    run, store = tmp_path / "run", tmp_path / "store"
    args = arguments(train_url=str(store / "run"), train_path=str(run))
    with pytest.raises(DiskError, match=f"all of them are in {run}"), cloud.cloud_job(args):
        save(run, then=lambda: store.write_text("in the way"))
    assert contents(run) == {"last.ckpt": "1"}


def test_half_of_a_run_is_not_gone_on_with(tmp_path):
    """The storage fails in the middle of copying in: here a link that leads nowhere."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "epoch_0001.ckpt").write_text("an old state")
    (store / "last.ckpt").symlink_to("nowhere")
    args = arguments(train_url=str(store), train_path=str(tmp_path / "run"))
    message = f"{store}/last.ckpt: No such file or directory"
    with pytest.raises(InputError, match=message), cloud.cloud_job(args):
        pass
    assert not (tmp_path / "run").exists()


class Killed(BaseException):
    """What stands for the end of the process."""


def start_until(train_url, folder, monkeypatch, moves):
    """Starts a job that is killed before it moves another file, if it gets so far; what it goes on
    with, by name, and whether it came to its training.
    """
    left = iter(range(moves))

    def unless_killed(move):
        def move_or_die(*args, **kwargs):
            if next(left, None) is None:
                raise Killed
            return move(*args, **kwargs)

        return move_or_die

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(os, name, unless_killed(getattr(os, name)))
        patch.setattr(shutil, "copyfile", unless_killed(shutil.copyfile))
        try:
            with cloud.cloud_job(arguments(train_url=train_url, train_path=str(folder))):
                raise InputError("so that nothing is copied out")
        except InputError:
            return True
        except Killed:
            return False


@pytest.mark.parametrize("other_files", [(), ("job.log", "pictures/mine.png")])
def test_a_job_killed_while_it_copies_its_run_in(tmp_path, monkeypatch, other_files):
    """At any moment of it: the job that its platform starts again goes on with all of the run."""
    store, run = tmp_path / "store", tmp_path / "run"
    names = {"epoch_0001.ckpt", "epoch_0002.ckpt", "last.ckpt", "pictures/a.png", "config.json"}
    for folder, files in ((store, names), (run, other_files)):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    before, finished, moves = tmp_path / "before", False, 0
    if other_files:
        shutil.copytree(run, before)
    while not finished:
        shutil.rmtree(run, ignore_errors=True)
        if other_files:
            shutil.copytree(before, run)
        finished = start_until(str(store), run, monkeypatch, moves)
        assert start_until(str(store), run, monkeypatch, 10**6)
        assert set(contents(run)) == names | set(other_files), f"killed after {moves} moves"
        moves += 1
    assert moves > 1
    assert set(contents(store)) == names
    assert not list(tmp_path.glob(".*"))


def test_a_run_does_not_replace_other_files(tmp_path):
    """One of them is called as one of the run's is."""
    store, run = tmp_path / "store", tmp_path / "run"
    for folder in (store / "pictures", run / "pictures"):
        folder.mkdir(parents=True)
        (folder / "a.png").write_text(folder.parent.name)
    args = arguments(train_url=str(store), train_path=str(run))
    with pytest.raises(InputError, match="a.png: is there already"), cloud.cloud_job(args):
        pass
    assert contents(run) == {"pictures/a.png": "run"}
    assert not list(tmp_path.glob(".*"))


def test_a_part_of_a_run_is_not_gone_on_with_elsewhere(tmp_path):
    """A job was killed while it copied a run in, and somebody starts train.py there by hand."""
    (tmp_path / ".incoming").mkdir()
    with pytest.raises(InputError, match="holds a part of a run only"):
        run_folder.open_run_folder(tmp_path, None, False, None)


def test_a_training_that_is_stopped_is_copied_out_too(tmp_path):
    run, store = tmp_path / "run", tmp_path / "store"
    args = arguments(train_url=str(store), train_path=str(run))
    with pytest.raises(StoppedError, match="signal"), cloud.cloud_job(args):
        save(run, then=stop)
    assert contents(store) == {"last.ckpt": "1"}


def test_a_job_that_starts_again_goes_on(tmp_path):
    """With a run in the store and an empty disk it resumes; --overwrite starts over."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "last.ckpt").write_text("1")
    (store / "config.json").write_text("{}")
    args = arguments(train_url=str(store), train_path=str(tmp_path / "run"))
    with cloud.cloud_job(args) as job:
        assert job.settings == {"train_path": str(tmp_path / "run"), "resume": True}
        assert contents(tmp_path / "run") == {"last.ckpt": "1", "config.json": "{}"}
    assert not list(tmp_path.glob(".*"))
    args = arguments(train_url=str(store), train_path=str(tmp_path / "new"), overwrite=True)
    with cloud.cloud_job(args) as job:
        assert job.settings == {"train_path": str(tmp_path / "new")}
        assert not (tmp_path / "new").exists()


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """c2net's mode without a cloud: folders that its platform has mounted."""
    monkeypatch.setenv("DATA_DOWNLOAD_METHOD", "MOUNT")
    for name in ("CODE", "DATASET", "PRETRAIN_MODEL", "OUTPUT"):
        (tmp_path / name.lower()).mkdir()
        monkeypatch.setenv(f"LOCAL_{name}_PATH", str(tmp_path / name.lower()))
    return tmp_path


@OPEN_FOLDERS
def test_c2net_supplies_what_the_flags_leave_open(mounted):
    (mounted / "dataset" / "mnist").mkdir()
    (mounted / "dataset" / "mnist" / DIGITS).touch()
    args = arguments()
    with cloud.cloud_job(args) as job:
        assert job.settings == {
            "data_path": str(mounted / "dataset" / "mnist"),
            "train_path": str(mounted / "output" / "run"),
        }
        assert job.upload()
    args = arguments(data_path="mine", train_path="here")
    with cloud.cloud_job(args) as job:
        assert job == cloud.CloudJob()


@OPEN_FOLDERS
def test_c2net_without_its_digits_and_without_its_variables(mounted, monkeypatch):
    with cloud.cloud_job(arguments()) as job:  # no data set selected: the embedded digits
        assert job.upload is not None
    shutil.copy(__file__, mounted / "dataset" / "other.py")
    with (
        pytest.raises(InputError, match="dataset.*holds no train-images"),
        cloud.cloud_job(arguments()),
    ):
        pass
    monkeypatch.delenv("LOCAL_CODE_PATH")
    with (
        pytest.raises(InputError, match="c2net cannot prepare this job"),
        cloud.cloud_job(arguments()),
    ):
        pass


def test_without_cloud_flags_nothing_happens():
    assert cloud.C2NET_VARIABLE not in os.environ
    with cloud.cloud_job(arguments(data_path="d", train_path="t")) as job:
        assert job == cloud.CloudJob()


def parse(words):
    parser = cli.Parser("a test")
    cli.add_run_flags(parser)
    cloud.add_flags(parser)
    return cloud.parse(parser, words.split())


def test_flags_as_a_platform_writes_them(capsys):
    """Name and value; what is not ours is named and left alone."""
    args = parse("--data_url s --num_gpus 8 --overwrite False --user=me --flag --resume True")
    assert (args.data_url, args.overwrite, args.resume) == ("s", False, True)
    line = "warning: ignoring flags of the platform: --num_gpus 8 --user=me --flag\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("words", ["--data_url s stray", "--data_url s --num_gpus 8 9", "--gpus 8"])
def test_a_stray_value_is_no_flag_of_the_platform(words, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(words)
    assert stop.value.code == 2
    assert "unrecognized argument" in capsys.readouterr().err
