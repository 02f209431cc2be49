"""MNIST's files: where they are found, how they are fetched, and every way that can go wrong."""

import gzip
import hashlib
import shutil
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from stand_ins import idx
from torchvision.datasets import MNIST

from mnist_lab import mnist_files
from mnist_lab.mnist_files import DataError, DataUnavailable, find_or_download, unpack

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = [name for name, _ in MNIST.resources]
UNPACKED = [name.removesuffix(".gz") for name in NAMES]
NOBODY = "http://127.0.0.1:9/"


CONTENTS = [idx(np.full(shape, i)) for i, shape in enumerate([(9, 28, 28), 9, (5, 28, 28), 5], 1)]


class SlowNames(urllib.request.BaseHandler):
    """Looking up a name that begins with "slow" takes longer than anybody waits."""

    handler_order = 100  # before urllib's own
    release = threading.Event()

    def http_open(self, request):
        if request.host.startswith("slow"):
            self.release.wait(30)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of four small files, packed, which pass for the originals of each collection."""
    folder = tmp_path / "files"
    folder.mkdir()
    packed = [gzip.compress(content, 1) for content in CONTENTS]
    pins = [hashlib.md5(content).hexdigest() for content in packed + CONTENTS]
    for name, content in zip(NAMES, packed):
        (folder / name).write_bytes(content)
    monkeypatch.setattr(MNIST, "resources", list(zip(NAMES, pins)))
    monkeypatch.setattr(mnist_files, "UNPACKED", dict(zip(UNPACKED, pins[4:])))
    no_proxies = urllib.request.ProxyHandler({})
    urllib.request.install_opener(urllib.request.build_opener(no_proxies, SlowNames))
    SlowNames.release.clear()
    yield folder
    SlowNames.release.set()
    urllib.request.install_opener(None)


@pytest.fixture
def server(folder):
    """Serves the files, also as a proxy. `asked`: what it was asked for; `spoil`: what it does to
    the content of a file; `status`: what it says when it is asked whether it is there."""

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
            self.send_response(server.status)
            self.end_headers()

        def do_CONNECT(self):
            server.asked.append(("CONNECT", self.path))
            self.send_error(502)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.spoil = [], lambda name, content: content
        server.status = 403  # an answer nevertheless
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def collection(*mirrors, name="MNIST", **methods):
    """A collection as torchvision knows it, with these mirrors."""
    return type(name, (MNIST,), {"mirrors": mirrors, **methods})


def fetched(server):
    return [path.rpartition("/")[2] for method, path in server.asked if method == "GET"]


def contents(kind, files):
    return [bytes(unpack(kind, file)) for file in files]


def refuses(root, kind, words):
    """Whether nothing is found or left behind."""
    with pytest.raises(DataUnavailable, match=f"^{kind.__name__} is not in {root}, and") as caught:
        find_or_download(kind, root)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not root.exists() and not list(root.parent.glob(".download-*"))


# What is there


@pytest.mark.parametrize("home", ["", "MNIST/raw"])
def test_mnist_is_found_in_both_folders_and_forms(folder, tmp_path, home):
    place = tmp_path / "root" / home
    place.mkdir(parents=True)
    for name, content in zip(UNPACKED, CONTENTS):
        (place / name).write_bytes(content)
    found = find_or_download(MNIST, tmp_path / "root")
    assert found == [place / name for name in UNPACKED] and contents(MNIST, found) == CONTENTS
    for name in NAMES:
        shutil.copy(folder / name, place)
    found = find_or_download(MNIST, tmp_path / "root")
    assert found == [place / name for name in NAMES] and contents(MNIST, found) == CONTENTS


def test_other_collections_lie_packed_in_folders_of_their_own(folder, tmp_path):
    fashion = collection(NOBODY, name="FashionMNIST")
    own = tmp_path / "root" / "FashionMNIST" / "raw"
    shutil.copytree(folder, own)
    found = find_or_download(fashion, tmp_path / "root")
    assert found == [own / name for name in NAMES] and contents(fashion, found) == CONTENTS
    with pytest.raises(DataUnavailable, match="FashionMNIST is not in"):
        find_or_download(fashion, folder)
    (own / TRAIN_LABELS).rename(own / UNPACKED[1])
    with pytest.raises(DataError, match=f"a part of FashionMNIST, but {TRAIN_LABELS} is missing"):
        find_or_download(fashion, tmp_path / "root")


@pytest.mark.parametrize("name", [TRAIN_IMAGES, UNPACKED[3]])
def test_a_file_that_is_not_the_original_to_the_bit_is_named(folder, name):
    changed = bytearray((folder / name).read_bytes() if name in NAMES else CONTENTS[3])
    changed[-1] ^= 1
    (folder / name).write_bytes(changed)
    with pytest.raises(DataError, match=f"{folder / name} has the wrong MD5.*download MNIST again"):
        unpack(MNIST, folder / name)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{folder / name} cannot be read"):
        unpack(MNIST, folder / name)


# Downloads


def test_a_collection_is_downloaded_once_and_again_where_it_was_deleted(tmp_path, server):
    root, before = tmp_path / "new" / "data", socket.getdefaulttimeout()
    kind = collection(server.url, name="KMNIST")
    assert contents(kind, find_or_download(kind, root)) == CONTENTS
    assert list(dict.fromkeys(fetched(server))) == NAMES
    server.asked.clear()
    found = find_or_download(kind, root)
    assert contents(kind, found) == CONTENTS and server.asked == []
    for file in found:
        file.unlink()
    assert contents(kind, find_or_download(kind, root)) == CONTENTS
    assert [path.name for path in root.iterdir()] == ["KMNIST"]
    assert socket.getdefaulttimeout() == before
    assert not list(tmp_path.glob("**/.download-*"))


def test_proxies_are_asked_as_torchvision_asks_them(tmp_path, server, monkeypatch):
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", server.url)
    urllib.request.install_opener(None)  # looks at these variables
    kind = collection("http://mirror.invalid/mnist/")
    assert contents(kind, find_or_download(kind, tmp_path / "new")) == CONTENTS
    assert all(path.startswith("http://mirror.invalid/mnist/") for _, path in server.asked)
    server.asked.clear()
    refuses(tmp_path / "other", collection("https://mirror.invalid/"), "cannot be reached")
    assert server.asked == [("CONNECT", "mirror.invalid:443")]
    monkeypatch.setenv("http_proxy", "http:/no-authority")
    urllib.request.install_opener(None)
    begun = time.monotonic()
    refuses(tmp_path / "other", collection("http://mirror.invalid/"), "cannot be reached")
    assert time.monotonic() - begun < mnist_files.CONNECT_SECONDS, "an answer was waited for"


def hang_up(name, content):
    raise ConnectionError("the line is cut")


@pytest.mark.parametrize("spoil", [hang_up, lambda name, content: content[:-1] + b"x"])
def test_a_download_that_fails_half_way_leaves_nothing_behind(tmp_path, server, spoil):
    server.spoil = lambda name, content: spoil(name, content) if name == TEST_IMAGES else content
    server.handle_error = lambda *_: None
    before = socket.getdefaulttimeout()
    refuses(tmp_path / "new", collection(server.url), "its download failed")
    assert TEST_IMAGES in fetched(server) and socket.getdefaulttimeout() == before


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, server):
    def interrupted(self):
        (tmp_path / "begun").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_download(collection(server.url, download=interrupted), tmp_path / "new")
    assert (tmp_path / "begun").exists() and not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".download-*"))


def test_two_who_start_at_once_download_once(tmp_path, server):
    kind = collection(server.url)
    find_or_download(kind, tmp_path / "alone")
    alone, start = fetched(server), threading.Barrier(2, timeout=60)
    server.asked.clear()
    server.spoil = lambda name, content: time.sleep(0.05) or content

    def load(_):
        start.wait()
        return contents(kind, find_or_download(kind, tmp_path / "new"))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, range(2))) == [CONTENTS] * 2
    assert fetched(server) == alone


@pytest.mark.parametrize("root", ["files/" + TRAIN_IMAGES, f"files/{TRAIN_IMAGES}/x", "new" * 100])
def test_a_root_where_nothing_can_be_written_is_named(tmp_path, server, root):
    words = rf"{tmp_path / root}, and nothing can be written there \(.+\): choose .*MNIST_LAB_DATA"
    with pytest.raises(DataUnavailable, match=words):
        find_or_download(collection(server.url), tmp_path / root)
    assert not list(tmp_path.glob("**/.download-*"))


def test_without_a_network_the_answer_comes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_files, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the call, and says nothing
        there = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        begun = time.monotonic()
        refuses(tmp_path / "new", collection("http://slow.invalid/", there, NOBODY), "be reached")
    assert time.monotonic() - begun < 5


def test_one_mirror_that_answers_is_enough(tmp_path, server):
    server.status = 200
    kind, begun = collection(NOBODY, server.url, "http://slow.invalid/"), time.monotonic()
    assert contents(kind, find_or_download(kind, tmp_path / "new")) == CONTENTS
    assert time.monotonic() - begun < mnist_files.CONNECT_SECONDS, "the slow one was waited for"
