"""The site's pad computes what Python does: networks, preparation, photos, files of drawings."""

import json
import random
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import ROOT
from mnist_lab.augment import normalize
from mnist_lab.course.javascript import describe, to_javascript
from mnist_lab.data import load_data
from mnist_lab.drawing.images import prepare, rasterize
from mnist_lab.drawing.photos import from_photo
from mnist_lab.interpret import class_activation_maps
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
SMALL = load_data("digits").test.images


def run(program: str, given, folder, *more) -> object:
    """What a program makes of `given`: JSON in, JSON out, with the pad's scripts loaded."""
    names = ("network", "prepare", "photo", "drawings", "inside")
    scripts = [*(ROOT / "docs" / "pad" / f"{name}.js" for name in names), *more]
    loaded = "".join(
        f"(0, eval)(fs.readFileSync({json.dumps(str(path))}, 'utf8'));" for path in scripts
    )
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "run.js").write_text(
        f"const fs = require('fs'); {loaded}"
        "const given = JSON.parse(fs.readFileSync('given.json'));"
        f"process.stdout.write(JSON.stringify((() => {{ {program} }})()));"
    )
    done = subprocess.run(
        ["node", "run.js"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(name, folder):
    path = folder / f"{name}.js"
    path.write_text(to_javascript(name))
    return path


def compare(name: str, images, folder) -> None:
    """The same answers, and probabilities within 1e-4, which is asked for; 1e-5 is reached."""
    program = """
      const network = mnistLab.loadNetwork(mnistLab.trained[0]);
      return given.map((pixels) => mnistLab.classify(network, pixels));
    """
    found = torch.tensor(run(program, images.flatten(1).tolist(), folder, written(name, folder)))
    network, recipe = load_pretrained(name), NETWORKS[name].recipe
    with torch.no_grad():
        expected = network(normalize(images, recipe.mean, recipe.std)).softmax(1)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_answer_as_pytorch_does(name, tmp_path):
    compare(name, torch.cat([SMALL[:20], torch.randint(0, 256, (5, 1, 28, 28)).byte()]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gap", "bottleneck", "700"])
def test_on_all_test_digits(name, tmp_path):
    compare(name, load_data().test.images, tmp_path)


def test_where_gapnet_looks(tmp_path):
    program = """
      const network = mnistLab.loadNetwork(mnistLab.trained[0]);
      return given.map(([pixels, digit]) => mnistLab.activationMap(network, pixels, digit));
    """
    given = [(image.flatten().tolist(), digit) for digit, image in enumerate(SMALL[:10])]
    found = run(program, given, tmp_path, written("gap", tmp_path))
    recipe = NETWORKS["gap"].recipe
    images = normalize(SMALL[:10], recipe.mean, recipe.std)
    maps = class_activation_maps(load_pretrained("gap"), images)
    for digit, one in enumerate(found):
        expected = maps[digit, digit].clamp(min=0)
        values = torch.tensor(one["values"], dtype=torch.float32).view(one["side"], one["side"])
        torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def drawings(count):
    """Strokes of all kinds: long and short, in and out of the pad, dots, large and tiny ones."""
    draw, found = random.Random(1), []
    for _ in range(count):
        size, left, top = draw.choice([0.9, 0.7, 0.5, 0.3, 0.1]), draw.random(), draw.random()
        strokes = []
        for _ in range(draw.choice([1, 1, 2, 3])):
            x, y, points = draw.random(), draw.random(), []
            for _ in range(draw.choice([1, 3, 8, 20, 40])):
                x, y = (min(max(value + draw.gauss(0, 0.25), 0), 1) for value in (x, y))
                points.append([left + (x - 0.5) * size, top + (y - 0.5) * size])
            strokes.append(points)
        found.append(strokes)
    return found


@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.slow)])
def test_drawings_are_prepared_pixel_for_pixel(count, tmp_path):
    program = """
      return given.map((strokes) => {
        const ink = mnistLab.rasterize(strokes);
        const sum = ink.pixels.reduce((before, value, i) => before + value * (i + 1), 0);
        try { return [sum, [...mnistLab.prepare(ink)]]; }
        catch (error) { return [sum, error.message]; }
      });
    """
    given, read = drawings(count), 0
    for strokes, (mark, found) in zip(given, run(program, given, tmp_path)):
        ink = rasterize(strokes)
        try:
            expected = prepare(ink).flatten().tolist()
            read += 1
        except UserError as error:
            expected = str(error)
        assert found == expected
        assert mark == int(ink.flatten().long() @ (torch.arange(ink.numel()) + 1))
    assert read > count / 2


@pytest.mark.parametrize("size", [(9, 9), (20, 31), (28, 28), (61, 40)])
def test_images_of_other_sizes_are_prepared_alike(size, tmp_path):
    torch.manual_seed(sum(size))
    images = torch.randint(0, 256, (5, *size)).byte()
    program = """
      return given.map((image) => {
        const pixels = Uint8Array.from(image.pixels);
        return [...mnistLab.prepare({ ...image, pixels })];
      });
    """
    given = [
        {"width": size[1], "height": size[0], "pixels": image.flatten().tolist()}
        for image in images
    ]
    assert run(program, given, tmp_path) == [prepare(image).flatten().tolist() for image in images]


def photos():
    """Digits on unevenly lit paper and on boards, upright and broad, cropped tightly too."""
    rng, found = np.random.default_rng(3), []
    for k, (height, width) in enumerate([(150, 200), (200, 150), (120, 120), (400, 300)] * 3):
        side = min(height, width) if k % 4 == 0 else 100
        digit = np.asarray(Image.fromarray(SMALL[k, 0].numpy()).resize((side, side))) / 255
        ink = np.zeros((height, width))
        top, left = (height - side) // 2, (width - side) // 2
        ink[top : top + side, left : left + side] = digit
        light = 180 + 60 * np.linspace(0, 1, width) * np.linspace(0.5, 1, height)[:, None]
        grey = light * (1 - 0.7 * ink) + rng.normal(0, 2, ink.shape)
        found.append((255 - grey if k % 5 == 0 else grey).clip(0, 255).round().astype(np.uint8))
    for length, top in ((70, 60), (110, 60), (150, 0)):  # thin lines; the last touches an edge
        paper = np.full((200, 200), 230, np.uint8)
        paper[top : top + length, 90:92] = 40
        found.append(paper)
    return found


def test_photos_become_the_same_ink(tmp_path):
    program = """
      return given.map((grey) => {
        const ink = mnistLab.inkOf({ ...grey, values: Float64Array.from(grey.values) });
        return { ...ink, pixels: [...ink.pixels] };
      });
    """
    pictures = photos()
    given = [
        {"width": p.shape[1], "height": p.shape[0], "values": p.flatten().tolist()}
        for p in pictures
    ]
    for picture, found in zip(pictures, run(program, given, tmp_path)):
        expected = from_photo(Image.fromarray(picture)).numpy()
        pixels = np.reshape(found["pixels"], (found["height"], found["width"]))
        assert pixels.shape == expected.shape
        apart = np.abs(pixels - expected.astype(int))
        assert apart.max() <= 1 and (apart > 0).mean() < 0.001  # sums in another order


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 3, stride=2), nn.Conv2d(1, 2, 3, dilation=2), nn.Conv2d(1, 2, (3, 1)),
        nn.MaxPool2d(3, 2), nn.AvgPool2d(2, padding=1), nn.Tanh(),
    ],
    ids=str,
)  # fmt: skip
def test_a_layer_that_the_pad_would_compute_wrongly_is_refused(layer):
    with pytest.raises(UserError, match="the pad knows no"):
        describe(nn.Sequential(layer))


def test_a_link_holds_a_drawing(tmp_path):
    strokes = [[[0.123, 0.5], [1.2, -0.03]], [[0, 1]]]
    given = {"strokes": strokes, "texts": ["", "abc", "1.2.3", "!", "1.2_", "<script>"]}
    program = """
      const link = mnistLab.toLink(given.strokes);
      return [link, mnistLab.fromLink(link), given.texts.map(mnistLab.fromLink)];
    """
    link, found, others = run(program, given, tmp_path)
    assert found == strokes and link.isascii() and not set(link) & set('#&%<>" ')
    assert others == [None] * 6


def test_drawings_are_a_data_set(tmp_path):
    program = """
      const drawings = given.map(([pixels, label]) => ({ pixels: Uint8Array.from(pixels), label }));
      return [...mnistLab.toNpz(drawings)];
    """
    given = [(image.flatten().tolist(), k) for k, image in enumerate(SMALL[:7])]
    path = tmp_path / "my_digits.npz"
    path.write_bytes(bytes(run(program, given, tmp_path)))
    mine = load_data(str(path))
    assert torch.equal(mine.test.images, SMALL[:7]) and mine.test.labels.tolist() == list(range(7))
    assert str(mine) == "my_digits.npz: 0 train, 0 validation, 7 test" and not mine.is_mnist
