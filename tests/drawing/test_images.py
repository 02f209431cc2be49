"""From strokes and photos to MNIST's form: what is prepared already comes out unchanged."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from mnist_lab.drawing.images import (
    from_photo,
    load_networks,
    normalize_for,
    prepare,
    rasterize,
    read,
    shrink,
)
from mnist_lab.recipes import BOTTLENECK_RECIPE

SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.55, 0.5), (0.45, 0.85)]]
THREE = [[(0.35, 0.2), (0.55, 0.15), (0.65, 0.3), (0.5, 0.45), (0.65, 0.6), (0.6, 0.8),
          (0.35, 0.8)]]  # fmt: skip


@pytest.fixture(scope="module")
def readers():
    return load_networks()


def answers(readers, *images):
    return [chances.argmax(1).tolist() for chances in read(readers, torch.stack(images)).values()]


def moved(strokes, size, left, top):
    return [[(left + size * x, top + size * y) for x, y in stroke] for stroke in strokes]


def test_a_stroke_is_a_line_with_round_ends_and_a_dot_is_round():
    line = rasterize([[(0.5, 0.25), (0.5, 0.75)]], pen=0.1)
    assert line.shape == (280, 280) and line.dtype == torch.uint8
    assert line[140, 140] == 255 and line[140, 127] > 0 and line[140, 124] == 0
    assert line[58, 140] == 255 and line[54, 140] == 0 and line[58, 127] == 0, "not round"
    dot = rasterize([[(0.5, 0.5)]], pen=0.1) > 127
    assert abs(dot.sum() - np.pi * 14**2) < 40


def test_nothing_drawn_is_an_empty_picture_and_cannot_be_prepared():
    assert not rasterize([]).any() and not rasterize([[]]).any()
    with pytest.raises(ValueError, match="nothing to read: the picture is empty"):
        prepare(rasterize([]))
    assert not rasterize([[(9.0, 9.0), (9.0, 8.0)]]).any(), "outside of the pad"


@pytest.mark.parametrize(
    "strokes", [3, None, [1], [[1, 2]], [[(1,)]], [[("a", "b")]], [[(1, 2, 3)]], [[(0, None)]]]
)
def test_strokes_that_are_none_are_refused(strokes):
    with pytest.raises(ValueError, match="strokes must be lists of points"):
        rasterize(strokes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_points_are_finite(value):
    with pytest.raises(ValueError, match="must be finite"):
        rasterize([[(value, 0.5)]])


@pytest.mark.parametrize("size", [(30, 60), (60, 30), (7, 3), (200, 1), (1, 1)])
def test_the_digit_fills_a_box_of_20_and_its_mass_lies_in_the_middle(size):
    torch.manual_seed(0)
    image = torch.zeros(250, 250, dtype=torch.uint8)
    image[13 : 13 + size[0], 40 : 40 + size[1]] = torch.randint(60, 256, size)
    digit = prepare(image)
    assert digit.shape == (1, 28, 28) and digit.dtype == torch.uint8
    rows, columns = digit[0].any(1).nonzero(), digit[0].any(0).nonzero()
    sides = [int(places[-1] - places[0]) + 1 for places in (rows, columns)]
    factor = 20 / max(size)
    assert sides == [max(1, round(side * factor)) for side in size]
    places = torch.arange(28.0)
    mass = digit[0].float()
    middle = (places @ mass.sum(1) / mass.sum(), places @ mass.sum(0) / mass.sum())
    assert all(abs(value - 14) <= 0.51 for value in middle)


def test_what_is_prepared_comes_out_as_it_is_wherever_and_however_large_it_lies():
    digit = prepare(rasterize(THREE))
    assert torch.equal(prepare(digit[0]), digit)
    large = digit[0].repeat_interleave(10, 0).repeat_interleave(10, 1)
    sheet = torch.zeros(400, 500, dtype=torch.uint8)
    sheet[100:380, 7:287] = large
    assert torch.equal(prepare(sheet), digit)


def test_small_high_and_low_digits_are_read_alike_once_they_are_prepared(readers):
    places = [(1, 0, 0), (0.4, 0, 0), (0.4, 0.6, 0.55), (0.6, 0.4, 0)]
    for strokes, digit in ((SEVEN, 7), (THREE, 3)):
        images = [prepare(rasterize(moved(strokes, *place))) for place in places]
        assert answers(readers, *images) == [[digit] * 4] * 2
    corner = shrink(rasterize(moved(SEVEN, 0.3, 0, 0)))
    assert corner.shape == (1, 28, 28) and corner[0, :10, :10].sum() == corner.sum()
    assert answers(readers, corner) != [[7], [7]], "unprepared, it should be misread"


def photo(light=200, ink=40, mode="L", shadow=True, rotate=False, speck=False):
    """A seven on paper, in a slanting light, with the grain of a camera."""
    y, x = np.mgrid[:350, :450]
    paper = light + (30 * x / 450 - 40 * y / 350) * shadow
    noise = np.random.default_rng(0).normal(0, 4, paper.shape)
    picture = Image.fromarray((paper + noise).clip(0, 255).astype("uint8"))
    draw = ImageDraw.Draw(picture)
    points = [(150, 80), (290, 75), (250, 180), (215, 290)]
    draw.line(points, fill=ink, width=9, joint="curve")
    if speck:
        draw.ellipse((20, 20, 26, 26), fill=ink)
    return picture.filter(ImageFilter.GaussianBlur(1)).convert(mode)


def encoded(picture, kind="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "picture",
    [photo(), photo(shadow=False), photo(mode="RGB"), photo(speck=True), photo(light=120, ink=20),
     photo(light=50, ink=230), photo(mode="RGB").resize((2250, 1750))],
    ids=["shadow", "even", "colour", "speck", "dark paper", "chalk", "large"],
)  # fmt: skip
def test_a_photo_of_a_digit_is_read(picture, readers):
    assert answers(readers, prepare(from_photo(encoded(picture)))) == [[7], [7]]


def test_a_photo_lies_as_the_camera_says(readers):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    file = encoded(photo().rotate(90, expand=True), exif=exif)
    assert answers(readers, prepare(from_photo(file))) == [[7], [7]]


def test_what_is_transparent_is_paper(readers):
    ink = photo(shadow=False).point(lambda value: 255 if value < 100 else 0)
    clear = Image.new("RGBA", ink.size, "black")
    clear.putalpha(ink)
    assert answers(readers, prepare(from_photo(encoded(clear, "PNG")))) == [[7], [7]]


def test_empty_paper_holds_nothing_and_nonsense_is_no_picture():
    paper = Image.fromarray(np.full((200, 300), 190, "uint8"))
    with pytest.raises(ValueError, match="nothing to read"):
        prepare(from_photo(paper))
    for nonsense in (b"", b"nonsense", encoded(photo())[:200]):
        with pytest.raises(ValueError, match="no picture that can be read"):
            from_photo(nonsense)


def test_each_network_is_given_what_its_recipe_says(readers):
    assert list(readers) == ["GapNet", "BottleneckNet"]
    image = prepare(rasterize(THREE))[None]
    scaled = normalize_for("BottleneckNet", image)
    expected = (image.float() / 255 - BOTTLENECK_RECIPE.mean) / BOTTLENECK_RECIPE.std
    torch.testing.assert_close(scaled, expected)
    for chances in read(readers, image).values():
        assert chances.shape == (1, 10) and not chances.requires_grad
        assert chances.sum() == pytest.approx(1, abs=1e-5)
