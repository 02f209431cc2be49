"""Photos of a seven, as cameras, scanners and drawing apps give them, are read."""

import math

import numpy as np
import pytest
from pictures import SEVEN, THREE, answers, encoded, photo
from PIL import Image, ImageOps

from mnist_lab.drawing.images import load_networks, prepare, rasterize
from mnist_lab.drawing.photos import from_photo
from mnist_lab.validation import UserError

INK = photo(shadow=False).point(lambda value: 255 if value < 100 else 0)


@pytest.fixture(scope="module")
def readers():
    return load_networks()


def coloured(colour):
    """Ink of this colour on a transparent ground."""
    picture = Image.new("RGBA", INK.size, colour)
    picture.putalpha(INK)
    return picture


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


def test_empty_paper_holds_nothing_and_nonsense_is_no_picture():
    paper = Image.fromarray(np.full((200, 300), 190, "uint8"))
    with pytest.raises(UserError, match="nothing to read"):
        prepare(from_photo(paper))
    for nonsense in (b"", b"nonsense", encoded(photo())[:200]):
        with pytest.raises(UserError, match="no picture that can be read"):
            from_photo(nonsense)


@pytest.mark.parametrize(
    ("kind", "pixel", "white"),
    [("PNG", np.uint16, 4_095), ("PNG", np.uint16, 65_535), ("TIFF", np.uint16, 4_095),
     ("TIFF", ">u2", 65_535), ("TIFF", np.int32, 65_535), ("TIFF", np.float32, 65_535),
     ("TIFF", np.float32, 1)],
)  # fmt: skip
def test_a_photo_of_more_than_8_bits_is_read(readers, kind, pixel, white):
    picture = Image.fromarray((np.asarray(photo(), float) / 255 * white).astype(pixel))
    for photo_of_it in (encoded(picture, kind), picture):
        assert answers(readers, prepare(from_photo(photo_of_it))) == [[7], [7]]


@pytest.mark.parametrize("pixel", [np.uint16, np.float32])
def test_empty_paper_of_more_than_8_bits_is_empty(pixel):
    noise = np.random.default_rng(0).normal(0.8, 0.01, (200, 300))
    for paper in (noise, noise * 0, noise * float("nan")):
        with np.errstate(invalid="ignore"), pytest.raises(UserError, match="nothing to read"):
            prepare(from_photo(Image.fromarray((paper * 65_535).astype(pixel))))


@pytest.mark.parametrize("colour", ["black", "white", "yellow", (128, 128, 128)])
def test_ink_of_any_colour_on_a_transparent_ground_is_read(readers, colour):
    assert answers(readers, prepare(from_photo(encoded(coloured(colour), "PNG")))) == [[7], [7]]


def test_a_paper_cut_out_of_its_photo_is_paper(readers):
    paper = photo(mode="RGBA")
    cut = Image.new("RGBA", (500, 500), (0, 0, 0, 0))
    cut.paste(paper, (25, 75))
    assert answers(readers, prepare(from_photo(encoded(cut, "PNG")))) == [[7], [7]]


def test_what_is_transparent_everywhere_is_empty():
    with pytest.raises(UserError, match="nothing to read"):
        prepare(from_photo(Image.new("RGBA", (50, 50), (255, 0, 0, 0))))


@pytest.mark.parametrize(("kind", "fullest"), [("GIF", 0), ("PNG", 1), ("WEBP", 2)])
def test_of_an_animation_the_fullest_frame_is_read(readers, kind, fullest):
    empty = Image.new("L", INK.size, 200)
    begun = empty.copy()
    begun.paste(20, (150, 70, 220, 84))  # the beginning of a seven
    frames = [empty, begun]
    frames.insert(fullest, photo(shadow=False))
    file = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert answers(readers, prepare(from_photo(file))) == [[7], [7]]


def test_of_pages_the_first_is_read_and_the_callers_picture_stays_where_it_is(readers, tmp_path):
    pages = encoded(photo(), "TIFF", save_all=True, append_images=[ImageOps.invert(photo())] * 2)
    assert np.array_equal(from_photo(pages), from_photo(encoded(photo(), "TIFF")))
    frames = {"save_all": True, "append_images": [Image.new("L", INK.size, 200)], "duration": 9}
    (tmp_path / "a.gif").write_bytes(encoded(photo(), "GIF", **frames))
    with Image.open(tmp_path / "a.gif") as picture:
        picture.seek(1)
        assert answers(readers, prepare(from_photo(picture))) == [[7], [7]]
        assert picture.tell() == 1


ROUND = [(math.cos(angle), math.sin(angle)) for angle in np.linspace(0, 2 * math.pi, 25)]
DRAWN = {
    0: [[(0.5 + 0.2 * x, 0.5 + 0.35 * y) for x, y in ROUND]],
    1: [[(0.55, 0.15), (0.45, 0.85)]],
    2: [[(0.3, 0.3), (0.5, 0.15), (0.68, 0.3), (0.3, 0.82), (0.7, 0.82)]],
    3: THREE,
    7: SEVEN,
    8: [[(0.5 + 0.15 * x, 0.32 + 0.17 * y) for x, y in ROUND],
        [(0.5 + 0.18 * x, 0.67 + 0.18 * y) for x, y in ROUND]],
}  # fmt: skip


@pytest.mark.parametrize("board", [False, True])
def test_a_photo_cropped_tightly_is_read_as_one_with_a_margin(readers, board):
    noise = np.random.default_rng(0)
    for crop in (0, 100, 200):  # the ink from which on it is kept
        images = []
        for strokes in DRAWN.values():
            ink = rasterize(strokes, pen=0.12).numpy()
            rows, columns = (np.nonzero((ink >= crop).any(axis))[0] for axis in (1, 0))
            ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / 255
            light = 170 + np.linspace(0, 60, ink.shape[1])  # a lamp on the right
            grey = light * (1 - ink) + 40 * ink + noise.normal(0, 3, ink.shape)
            grey = (255 - grey if board else grey).clip(0, 255).astype(np.uint8)
            images.append(prepare(from_photo(Image.fromarray(grey))))
        assert answers(readers, *images) == [list(DRAWN)] * 2, crop
