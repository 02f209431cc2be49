"""The site from a folder, as whoever has no network opens it: every page, and the pad on it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from pictures import SEVEN, THREE

from conftest import ROOT
from mnist_lab.course.slides import make_slides
from mnist_lab.data import load_data
from mnist_lab.drawing.images import classify, load_networks, prepare, rasterize

PAGES = ("index", "draw", "notebooks/04_building_the_gap_network", "reference/training", "results")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pytest.importorskip("myst_nb", reason='no Sphinx: pip install -e ".[site]"')
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    trees = ["-d", str(tmp_path_factory.mktemp("trees"))]
    done = subprocess.run([*command, *trees, "docs", str(folder)], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    make_slides(ROOT, folder / "slides")
    return folder


@pytest.fixture
def page(browser):
    """A page that remembers what went wrong on it, and what it asked other hosts for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("requestfailed", lambda request: page.wrong.append(f"failed: {request.url}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:"))
            else page.wrong.append(f"asks {request.url}"))  # fmt: skip
    yield page
    context.close()


def address(site: Path, name: str) -> str:
    return (site / f"{name}.html").as_uri()


def write(page, strokes) -> None:
    box = page.locator(".mnist-board").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def said(page) -> str:
    return page.locator(".mnist-status").inner_text()


def test_every_page_opens_without_an_error_or_another_host(site, page):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        assert page.wrong == [], path


def test_every_link_leads_somewhere(site):
    ids = {
        path: set(re.findall(r'\bid="([^"]+)"', path.read_text("utf-8")))
        for path in site.rglob("*.html")
    }
    for path in ids:
        for link in re.findall(r'(?:href|src)="([^"]+)"', path.read_text("utf-8")):
            parts = urlsplit(link.replace("&amp;", "&"))
            if parts.scheme in ("http", "https", "data", "mailto", "javascript"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), (path.name, link)
            if parts.fragment and target in ids:
                assert unquote(parts.fragment) in ids[target], (path.name, link)


def test_the_site_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 15e6


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(site, page, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.goto(address(site, name))
    if name == "draw":
        write(page, THREE)
        page.locator(".mnist-inside summary").click()
    page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


@pytest.mark.parametrize("width", [360, 600, 768, 1024, 1400])
def test_no_page_scrolls_sideways(site, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for name in PAGES:
        page.goto(address(site, name))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("name", ["index", "draw"])
def test_what_is_written_is_read_as_python_reads_it(site, page, name):
    page.goto(address(site, name))
    networks = load_networks()
    for strokes in (THREE, SEVEN):
        write(page, strokes)
        expected = classify(networks, prepare(rasterize(strokes))[None])
        for network, chances in expected.items():
            assert f"{network} reads {chances.argmax()}" in said(page)
        page.keyboard.press("Delete")
        assert said(page) == "Write a digit, from 0 to 9."
    assert page.wrong == []


def test_the_page_computes_in_the_browser_what_pytorch_does(site, page):
    """On all test digits: MNIST's where `MNIST_LAB_DATA` says where it is."""
    page.goto(address(site, "draw"))
    images = load_data("mnist" if os.environ.get("MNIST_LAB_DATA") else "digits").test.images
    for some in images.split(500):
        found = page.evaluate(
            """(images) => mnistLab.trained.map(mnistLab.loadNetwork).map(
              (one) => [one.name, images.map((pixels) => mnistLab.classify(one, pixels))])""",
            some.flatten(1).tolist(),
        )
        for name, expected in classify(load_networks(), some).items():
            answers = torch.tensor(dict(found)[name])
            assert torch.equal(answers.argmax(1), expected.argmax(1))
            assert (answers - expected).abs().max() < 1e-5


def test_the_keyboard_alone_writes_and_reads(site, page):
    page.goto(address(site, "draw"))
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "mnist-board":
            break
    for _ in range(15):
        page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    assert "GapNet reads 1, BottleneckNet reads 1" in said(page)
    page.keyboard.press("Control+z")
    assert said(page) == "Write a digit, from 0 to 9."
    assert page.wrong == []


def test_a_link_holds_the_drawing_and_a_file_all_that_were_kept(site, page, tmp_path):
    page.goto(address(site, "draw"))
    write(page, THREE)
    page.get_by_role("button", name="Link to it").click()
    link = page.url
    assert "#drawing=" in link
    page.get_by_label("This is a").select_option("3")
    page.get_by_role("button", name="Keep it").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download my drawings (1)").click()
    download.value.save_as(tmp_path / "my_digits.npz")
    mine = load_data(str(tmp_path / "my_digits.npz"))
    assert mine.test.labels.tolist() == [3]
    assert torch.equal(mine.test.images[0], prepare(rasterize(THREE)))
    page.goto("about:blank")
    page.goto(link)
    assert "GapNet reads 3" in said(page)


def test_layers_maps_and_products_can_be_looked_at(site, page):
    page.goto(address(site, "draw"))
    page.locator(".mnist-inside summary").click()
    assert "Write a digit first" in page.locator(".mnist-layers").inner_text()
    write(page, THREE)
    layers = page.locator(".mnist-layers button")
    for i in range(layers.count()):
        layers.nth(i).click()
        title = page.locator(".mnist-value .mnist-title").inner_text()
        total = page.locator(".mnist-value p").last.inner_text()
        if "Together" in total:
            assert abs(number(title) - number(total)) < 0.02, (title, total)
    assert page.wrong == []


def number(text: str) -> float:
    return float(re.findall(r"[−\d.]+", text)[-1].rstrip(".").replace("−", "-"))


def test_a_photo_is_read(site, page, tmp_path):
    from PIL import Image

    ink = rasterize(THREE).numpy()
    light = 120 + 100 * np.linspace(0, 1, 280)
    Image.fromarray((light * (1 - 0.8 * ink / 255)).astype(np.uint8)).resize((700, 700)).save(
        tmp_path / "a.png"
    )
    page.goto(address(site, "draw"))
    page.locator('input[type="file"]').set_input_files(tmp_path / "a.png")
    page.wait_for_function(
        "document.querySelector('.mnist-status').textContent.includes('reads 3')"
    )
    (tmp_path / "b.png").write_text("no picture")
    page.locator('input[type="file"]').set_input_files(tmp_path / "b.png")
    page.wait_for_function(
        "document.querySelector('.mnist-status').textContent.includes('no picture')"
    )
    assert page.wrong == []
