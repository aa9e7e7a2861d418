"""Which files are ours to remove or replace."""

import json

import pytest

from src.runtime.files import remove_half_written
from src.runtime.manifest import Manifest


@pytest.fixture
def ours(tmp_path):
    """The manifest of a folder with two files of ours, in a folder of their own too."""
    manifest = Manifest(tmp_path, "test")
    (tmp_path / "sub").mkdir()
    manifest.add("a.txt", "sub/b.txt", "never written")
    for name in ("a.txt", "sub/b.txt", "theirs.txt"):
        (tmp_path / name).write_text(name)
    return manifest


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_named_is_removed(ours):
    folder = ours.folder
    (folder / "sub" / "c.txt").touch()
    (folder / ".a.txt.unfinished").touch()
    assert ours.owned() == [folder / "a.txt", folder / "sub" / "b.txt"]
    ours.remove([folder / "a.txt", folder / "theirs.txt"])
    assert names_in(folder) == {".test.manifest.json", "sub/b.txt", "sub/c.txt", "theirs.txt"}
    ours.remove_owned()
    assert names_in(folder) == {".test.manifest.json", "sub/c.txt", "theirs.txt"}
    assert ours.names() == []


def test_what_is_in_the_way_is_not_claimed(ours):
    """A link that leads nowhere is in the way too."""
    folder = ours.folder
    (folder / "link").symlink_to("nowhere")
    wanted = ["a.txt", "theirs.txt", "new.txt", "link"]
    assert ours.in_the_way(wanted) == [folder / "theirs.txt", folder / "link"]
    assert ours.claim(wanted) == [folder / "a.txt", folder / "new.txt"]
    assert Manifest(folder, "test").names()[-1] == "new.txt"
    assert not Manifest(folder, "another").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": 3}', '{"files": [3]}', '{"names": ["theirs.txt"]}']
)
def test_a_manifest_that_is_none_of_ours(ours, text):
    ours.path.write_text(text)
    assert not ours.exists()
    ours.remove_owned()
    assert {"a.txt", "sub/b.txt", "theirs.txt"} <= names_in(ours.folder)


def test_a_name_that_leads_out_of_the_folder(tmp_path):
    """It is as if it were not there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious").touch()
    manifest = Manifest(tmp_path / "folder", "test")
    names = ["../precious", str(tmp_path / "precious"), "sub/../../precious", "", "."]
    manifest.path.write_text(json.dumps({"files": names}))
    assert (manifest.exists(), manifest.names()) == (True, [])
    manifest.remove_owned()
    assert (tmp_path / "precious").exists()


def test_a_folder_of_a_name_stays(ours):
    (ours.folder / "never written").mkdir()
    ours.remove_owned()
    assert (ours.folder / "never written").is_dir()


def test_one_that_names_nothing_goes_at_the_end(ours):
    """The end of a process, which may be that of a job that has written nothing yet."""
    ours.remove([ours.folder / "a.txt"])
    remove_half_written()
    assert ours.names() == ["sub/b.txt", "never written"]
    (ours.folder / "sub" / "b.txt").unlink()
    remove_half_written()
    assert names_in(ours.folder) == {"theirs.txt"}
