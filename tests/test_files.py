"""Files are written whole or not at all: one, or several together."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from filelock import Timeout

from mnist_lab import files
from mnist_lab.files import folder_lock, read_json, read_text, write_file, write_files
from mnist_lab.validation import UserError


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def old(tmp_path):
    """Two files with old contents, and a third one's path."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths[:2]:
        path.write_text("old")
    return paths


@pytest.mark.parametrize(
    ("content", "expected"), [("½\r\n×\n", "½\r\n×\n".encode()), (b"\x89PNG\r\n", b"\x89PNG\r\n")]
)
def test_a_write_replaces_the_whole_file(tmp_path, content, expected):
    path = tmp_path / "new" / "file"
    write_file(path, "a text that is longer than the others")
    write_file(path, content)
    assert path.read_bytes() == expected
    assert names(path.parent) == ["file"]


def test_no_file_is_replaced_before_all_are_written(old, monkeypatch):
    seen, replace = [], os.replace

    def look_first(source, target):
        texts = [path.read_text() for path in old if path.exists()]
        seen.append((texts, os.path.dirname(source) == os.path.dirname(target)))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", look_first)
    write_files({path: "new" for path in old})
    assert seen == [(["old", "old"], True), (["new", "old"], True), (["new", "new"], True)]
    assert [path.read_text() for path in old] == ["new"] * 3
    assert names(old[0].parent) == ["a", "b", "c"]


def folder_in_its_place(path):
    path.mkdir()


def file_in_its_folders_place(path):
    path.parent.write_text("old")


def read_only(path):
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write everywhere")


def read_only_folder(path):
    path.parent.mkdir()
    path.parent.chmod(0o555)
    if os.name == "nt" or os.access(path.parent, os.W_OK):
        pytest.skip("this user may write everywhere")


@pytest.mark.parametrize(
    ("name", "hinder"),
    [
        ("c", folder_in_its_place),
        ("c/d", file_in_its_folders_place),
        ("c", read_only),
        ("c/d", read_only_folder),
    ],
)
def test_one_that_cannot_be_written_is_named_and_none_is_replaced(old, name, hinder):
    path = old[0].parent / name
    hinder(path)
    before = names(old[0].parent)
    with pytest.raises(ValueError) as caught:
        write_files({old[0]: "new", path: "new", old[1]: "new"})
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written (")
    assert "\n" not in message and message.endswith("try again.")
    assert [path.read_text() for path in old[:2]] == ["old", "old"]
    assert names(old[0].parent) == before


def test_a_full_disk_replaces_none(old):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"b cannot be written \(.*\): make room for it"):
            write_files({old[0]: "new", old[1]: "new" * 1_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.read_text() for path in old[:2]] == ["old", "old"]
    assert names(old[0].parent) == ["a", "b"]


@pytest.mark.parametrize(
    ("death", "seen"),
    [(OSError(5, "Input/output error"), ValueError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_rename_that_fails_leaves_nothing_partial(old, monkeypatch, death, seen):
    def dies(source, target):
        raise death

    monkeypatch.setattr(files.os, "replace", dies)
    with pytest.raises(seen):
        write_files({path: "new" for path in old})
    assert [path.read_text() for path in old[:2]] == ["old", "old"]
    assert names(old[0].parent) == ["a", "b"]


def test_two_threads_may_write_the_same_file(tmp_path, monkeypatch):
    both, replace = Barrier(2, timeout=60), os.replace

    def wait_for_the_other(source, target):
        both.wait()
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", wait_for_the_other)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write_file, [tmp_path / "file"] * 2, ["one", "two"]))
    assert (tmp_path / "file").read_text() in ("one", "two")
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_new_file_has_the_mode_of_any_and_a_replaced_one_its_own(old):
    old[0].chmod(0o750)
    write_files({path: "new" for path in old})
    modes = [stat.S_IMODE(path.stat().st_mode) for path in old]
    (old[0].parent / "any").touch()
    usual = stat.S_IMODE((old[0].parent / "any").stat().st_mode)
    assert modes == [0o750, usual, usual]


def test_a_folder_has_one_lock_by_whatever_path_and_user_it_is_reached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock = folder_lock(tmp_path / "new")
    assert lock.lock_file == folder_lock(Path("new")).lock_file
    assert lock.lock_file != folder_lock(tmp_path / "other").lock_file
    with lock:
        assert os.stat(lock.lock_file).st_mode & 0o666 == 0o666
        with pytest.raises(Timeout):
            folder_lock(Path("new"), timeout=0).acquire()
    assert list(tmp_path.iterdir()) == []
    assert os.path.exists(lock.lock_file), "whoever waits for it would hold a deleted file"


def test_a_text_and_what_json_holds_are_read_in_utf8(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"é": [1, NaN]}'.encode())
    assert read_text(path) == '{"é": [1, NaN]}' and read_json(path)["é"][0] == 1


@pytest.mark.parametrize(
    ("read", "content"),
    [(read_text, None), (read_text, b"\xe9"), (read_json, None), (read_json, b"\xe9"),
     (read_json, b""), (read_json, b'{"a": [1, 2'), (read_json, b"{}}")],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, read, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json cannot be read \(") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)
