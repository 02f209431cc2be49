"""MNIST's files: where they are found, how they are fetched, and every way that can go wrong."""

import gzip
import hashlib
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.datasets import mnist as torchvision_mnist

from mnist_lab import mnist_files
from mnist_lab.mnist_files import DataError, DataUnavailable, find_or_download, unpack

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = [name for name, _ in MNIST.resources]
UNPACKED = [name.removesuffix(".gz") for name in NAMES]


def idx(array):
    """An array of bytes in MNIST's file format."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


CONTENTS = [idx(np.full(shape, i)) for i, shape in enumerate([(9, 28, 28), 9, (5, 28, 28), 5], 1)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of four small files, packed, which pass for the originals of each collection."""
    folder = tmp_path / "files"
    folder.mkdir()
    packed = [gzip.compress(content, 1) for content in CONTENTS]
    pins = [hashlib.md5(content).hexdigest() for content in packed + CONTENTS]
    for name, content in zip(NAMES, packed):
        (folder / name).write_bytes(content)
    monkeypatch.setattr(mnist_files, "UNPACKED", dict(zip(UNPACKED, pins[4:])))
    for kind in (MNIST, FashionMNIST, KMNIST):
        monkeypatch.setattr(kind, "resources", list(zip(NAMES, pins)))
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])  # nobody is there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    urllib.request.install_opener(None)  # it remembers the proxies that it found first
    yield folder
    urllib.request.install_opener(None)


@pytest.fixture
def server(folder):
    """Serves the files, also as a proxy. `asked`: what it was asked for; `spoil`: what it does to
    the content of a file."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            server.asked.append(("GET", self.path))
            content = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(server.spoil(name, content))

        def do_HEAD(self):
            server.asked.append(("HEAD", self.path))
            self.send_error(403)  # an answer nevertheless

        def do_CONNECT(self):
            server.asked.append(("CONNECT", self.path))
            self.send_error(502)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.spoil = [], lambda name, content: content
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def mirror(server, monkeypatch):
    for kind in (MNIST, FashionMNIST, KMNIST):
        monkeypatch.setattr(kind, "mirrors", [server.url])
    return server


def fetched(server):
    return [path.rpartition("/")[2] for method, path in server.asked if method == "GET"]


def contents(kind, files):
    return [bytes(unpack(kind, file)) for file in files]


# What is there


@pytest.mark.parametrize("home", ["", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_found_in_every_layout(folder, tmp_path, home, packed):
    place = tmp_path / "root" / home
    place.mkdir(parents=True)
    for name, content in zip(NAMES if packed else UNPACKED, CONTENTS):
        (place / name).write_bytes((folder / name).read_bytes() if packed else content)
    found = find_or_download(MNIST, tmp_path / "root")
    assert found == [place / name for name in (NAMES if packed else UNPACKED)]
    assert contents(MNIST, found) == CONTENTS


def test_of_a_files_two_forms_the_packed_one_is_taken(folder):
    for name in UNPACKED:
        (folder / name).write_bytes(b"spoilt")
    assert find_or_download(MNIST, folder) == [folder / name for name in NAMES]


def test_other_collections_lie_packed_in_folders_of_their_own(folder, tmp_path):
    own = tmp_path / "root" / "FashionMNIST" / "raw"
    shutil.copytree(folder, own)
    found = find_or_download(FashionMNIST, tmp_path / "root")
    assert found == [own / name for name in NAMES] and contents(FashionMNIST, found) == CONTENTS
    for kind, place in ((MNIST, tmp_path / "root"), (FashionMNIST, folder), (KMNIST, own)):
        with pytest.raises(DataUnavailable, match=f"^{kind.__name__} is not in {place}, and"):
            find_or_download(kind, place)
    (own / NAMES[1]).rename(own / UNPACKED[1])
    with pytest.raises(DataError, match=f"a part of FashionMNIST, but {NAMES[1]} is missing"):
        find_or_download(FashionMNIST, tmp_path / "root")


def no_mnist(path):
    path.write_bytes(b"<html>moved</html>")


def bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS, *UNPACKED])
@pytest.mark.parametrize("change", [no_mnist, bit_flipped, cut_short])
def test_a_bad_file_is_named_with_the_remedy(folder, name, change):
    if name in UNPACKED:
        (folder / f"{name}.gz").unlink()
        (folder / name).write_bytes(CONTENTS[UNPACKED.index(name)])
    change(folder / name)
    with pytest.raises(DataError, match="has the wrong MD5, it is not MNIST's original") as caught:
        contents(MNIST, find_or_download(MNIST, folder))
    message = str(caught.value)
    assert str(folder / name) in message and "download MNIST again" in message
    assert "\n" not in message and not isinstance(caught.value, DataUnavailable)


def test_a_bad_file_of_another_collection_is_told_by_its_md5(folder):
    cut_short(folder / TRAIN_LABELS)
    with pytest.raises(DataError, match=rf"{TRAIN_LABELS} has the wrong MD5, .*download KMNIST"):
        unpack(KMNIST, folder / TRAIN_LABELS)


def test_a_missing_file_is_named(folder):
    (folder / TEST_IMAGES).unlink()
    with pytest.raises(DataError, match=f"a part of MNIST, but {TEST_IMAGES} is missing"):
        find_or_download(MNIST, folder)


def test_an_unreadable_file_is_named(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(mnist_files.Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=rf"{TEST_IMAGES} cannot be read \(Permission denied\)"):
        unpack(MNIST, folder / TEST_IMAGES)


# Downloads


@pytest.mark.parametrize("kind", [MNIST, KMNIST])
def test_a_collection_is_downloaded_once_and_whole(tmp_path, mirror, kind):
    root, before = tmp_path / "new" / "data", socket.getdefaulttimeout()
    assert contents(kind, find_or_download(kind, root)) == CONTENTS
    assert list(dict.fromkeys(fetched(mirror))) == NAMES
    mirror.asked.clear()
    assert contents(kind, find_or_download(kind, root)) == CONTENTS and mirror.asked == []
    assert [path.name for path in root.iterdir()] == [kind.__name__]
    assert socket.getdefaulttimeout() == before
    assert not list(tmp_path.glob("**/.download-*"))


def test_a_proxy_is_asked_as_torchvision_asks_it(tmp_path, server, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://mirror.invalid/mnist/"])
    monkeypatch.setenv("http_proxy", server.url)
    assert contents(MNIST, find_or_download(MNIST, tmp_path / "new")) == CONTENTS
    assert all(path.startswith("http://mirror.invalid/mnist/") for _, path in server.asked)


def test_a_proxy_for_https_is_asked_too(tmp_path, server, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["https://mirror.invalid/"])
    monkeypatch.setenv("https_proxy", server.url)
    with pytest.raises(DataUnavailable, match="cannot be reached"):
        find_or_download(MNIST, tmp_path / "new")
    assert server.asked == [("CONNECT", "mirror.invalid:443")]


def hang_up(name, content):
    raise ConnectionError("the line is cut")


@pytest.mark.parametrize(
    "spoil",
    [hang_up, lambda name, content: content[:-1], lambda name, content: content[:-1] + b"x"],
    ids=["hangs up", "cut short", "changed"],
)
def test_a_download_that_fails_half_way_leaves_nothing_behind(tmp_path, mirror, spoil, monkeypatch):
    mirror.spoil = lambda name, content: spoil(name, content) if name == TEST_IMAGES else content
    mirror.handle_error = lambda *_: None
    monkeypatch.setattr(mnist_files, "CONNECT_SECONDS", 0.5)
    before = socket.getdefaulttimeout()
    with pytest.raises(DataUnavailable, match="and its download failed") as caught:
        find_or_download(MNIST, tmp_path / "new")
    assert "\n" not in str(caught.value) and TEST_IMAGES in fetched(mirror)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".download-*"))
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    ("death", "seen"),
    [(OSError(28, "No space left"), DataUnavailable), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_an_interrupted_download_leaves_nothing_behind(tmp_path, mirror, monkeypatch, death, seen):
    def dies(*_, **__):
        raise death

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", dies)
    with pytest.raises(seen):
        find_or_download(MNIST, tmp_path / "new")
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".download-*"))


def test_a_folder_that_was_emptied_as_told_is_filled_again(tmp_path, mirror):
    (tmp_path / "new" / "MNIST" / "raw").mkdir(parents=True)
    assert contents(MNIST, find_or_download(MNIST, tmp_path / "new")) == CONTENTS


def test_two_who_start_at_once_download_once(tmp_path, mirror):
    find_or_download(MNIST, tmp_path / "alone")
    alone, start = fetched(mirror), threading.Barrier(2, timeout=60)
    mirror.asked.clear()
    mirror.spoil = lambda name, content: time.sleep(0.05) or content

    def load(_):
        start.wait()
        return contents(MNIST, find_or_download(MNIST, tmp_path / "new"))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, range(2))) == [CONTENTS] * 2
    assert fetched(mirror) == alone


@pytest.mark.parametrize("root", ["files/" + TRAIN_IMAGES, f"files/{TRAIN_IMAGES}/x", "new" * 100])
def test_a_root_where_nothing_can_be_written_is_named(tmp_path, mirror, root):
    words = r"nothing can be written there \(.+\): choose another folder with MNIST_LAB_DATA"
    with pytest.raises(DataUnavailable, match=words) as caught:
        find_or_download(MNIST, tmp_path / root)
    assert str(tmp_path / root) in str(caught.value)
    assert not list(tmp_path.glob("**/.download-*"))


@pytest.fixture
def names_that_hang(monkeypatch):
    """Looking up a name that begins with "hangs" takes longer than anybody waits."""
    release, look_up = threading.Event(), socket.getaddrinfo

    def hang(host, *arguments, **options):
        if str(host).startswith("hangs"):
            release.wait(30)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(mnist_files, "CONNECT_SECONDS", 0.3)
    yield
    release.set()


def test_without_a_network_the_answer_comes_at_once(tmp_path, names_that_hang, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the call, and says nothing
        there = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        monkeypatch.setattr(MNIST, "mirrors", ["http://hangs.invalid/", there, *MNIST.mirrors])
        begun = time.monotonic()
        with pytest.raises(DataUnavailable, match="its mirrors cannot be reached"):
            find_or_download(MNIST, tmp_path / "new")
    assert time.monotonic() - begun < 5
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".download-*"))


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "nonsense://x y", "http://hangs.invalid"])
def test_a_proxy_that_does_not_answer_is_no_network(tmp_path, names_that_hang, monkeypatch, proxy):
    monkeypatch.setattr(MNIST, "mirrors", ["http://mirror.invalid/"])
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(DataUnavailable, match="its mirrors cannot be reached"):
        find_or_download(MNIST, tmp_path / "new")


def test_one_mirror_that_answers_is_enough(tmp_path, names_that_hang, server, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", server.url])
    monkeypatch.setattr(mnist_files, "CONNECT_SECONDS", 30)  # it is not waited for
    begun = time.monotonic()
    assert contents(MNIST, find_or_download(MNIST, tmp_path / "new")) == CONTENTS
    assert time.monotonic() - begun < 20
