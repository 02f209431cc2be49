"""Files are written whole or not at all: one, or several together."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import Timeout

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


def is_unchanged(old):
    assert [path.read_text() for path in old[:2]] == ["old", "old"]
    return names(old[0].parent) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "expected"), [("½\r\n×\n", "½\r\n×\n".encode()), (b"\x89PNG\r\n", b"\x89PNG\r\n")]
)
def test_a_write_replaces_the_whole_file(tmp_path, content, expected):
    path = tmp_path / "new" / "folder" / "file"
    write_file(path, "a text that is longer than the others")
    write_file(path, content)
    assert path.read_bytes() == expected
    assert names(path.parent) == ["file"]


def folder_in_its_place(path):
    path.mkdir()


def file_in_its_folders_place(path):
    path.parent.write_text("old")


def read_only(path):
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write everywhere")


@pytest.mark.parametrize(
    ("name", "hinder"),
    [("c", folder_in_its_place), ("c/d", file_in_its_folders_place), ("c", read_only)],
)
def test_one_that_cannot_be_written_is_named_and_none_is_replaced(old, name, hinder):
    path = old[0].parent / name
    hinder(path)
    before = names(old[0].parent)
    with pytest.raises(UserError, match=rf"^{path} cannot be written \(.*try again\.$"):
        write_files({old[0]: "new", path: "new", old[1]: "new"})
    assert [path.read_text() for path in old[:2]] == ["old", "old"]
    assert names(old[0].parent) == before


def test_a_full_disk_replaces_none(old):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"b cannot be written \(.*\): make room for it"):
            write_files({old[0]: "new", old[1]: "new" * 1_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_unchanged(old)


def test_an_interruption_replaces_none(old):
    class Interrupted(dict):
        def items(self):
            yield from super().items()
            assert len(names(old[0].parent)) == 5, "three are ready, none is in its place"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files(Interrupted({path: "new" for path in old}))
    assert is_unchanged(old)
    write_files({path: "new" for path in old})
    assert [path.read_text() for path in old] == ["new"] * 3


def test_many_threads_may_write_the_same_file(tmp_path):
    contents = [letter * 100_000 for letter in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_file, [tmp_path / "file"] * 80, contents * 10))
    assert (tmp_path / "file").read_text() in contents
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_new_file_has_the_mode_of_any_and_a_replaced_one_its_own(old):
    old[0].chmod(0o750)
    write_files({path: "new" for path in old})
    modes = [stat.S_IMODE(path.stat().st_mode) for path in old]
    (old[0].parent / "any").touch()
    usual = stat.S_IMODE((old[0].parent / "any").stat().st_mode)
    assert modes == [0o750, usual, usual]


def test_a_folder_has_one_lock_by_whatever_path_and_user_it_is_reached(tmp_path):
    lock, same = folder_lock(tmp_path / "new"), os.path.relpath(tmp_path / "new")
    assert lock.lock_file != folder_lock(tmp_path / "other").lock_file
    with lock:
        assert os.stat(lock.lock_file).st_mode & 0o666 == 0o666
        with pytest.raises(Timeout):
            folder_lock(same, timeout=0).acquire()
    assert list(tmp_path.iterdir()) == []
    assert os.path.exists(lock.lock_file), "whoever waits for it would hold a deleted file"


def test_a_text_and_what_json_holds_are_read_in_utf8(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"é": [1, NaN]}'.encode())
    assert read_text(path) == '{"é": [1, NaN]}' and read_json(path)["é"][0] == 1


@pytest.mark.parametrize(
    ("read", "content"),
    [(read_text, None), (read_text, b"\xe9"), (read_json, b"\xe9"), (read_json, b'{"a": [1, 2')],
)
def test_a_damaged_file_is_named(tmp_path, read, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json cannot be read \(") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)
