"""From strokes to MNIST's form: what is prepared already comes out unchanged."""

import numpy as np
import pytest
import torch
from pictures import SEVEN, THREE, answers

from mnist_lab.drawing.images import (
    classify,
    load_networks,
    normalize_for,
    prepare,
    rasterize,
    shrink,
)
from mnist_lab.recipes import BOTTLENECK_RECIPE
from mnist_lab.validation import UserError


@pytest.fixture(scope="module")
def readers():
    return load_networks()


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
    "strokes",
    [3, [1], [[1, 2]], [[("1", "2")]], [[(1, 2, 3)]], [[(0, None)]], [[(1, 2), (3,)]], [[(1j, 2)]],
     [[(float("nan"), 0.5)]], [[(0.5, float("inf"))]]],
)  # fmt: skip
def test_strokes_of_another_form_are_refused(strokes):
    with pytest.raises(UserError, match=r"strokes must be lists of points, .* finite numbers"):
        rasterize(strokes)


@pytest.mark.parametrize("kind", [np.float16, np.int8])
def test_numpys_numbers_and_arrays_are_points(kind):
    wanted = rasterize([[(0, 0), (1, 1), (1, 0)]])
    points = np.array([(0, 0), (1, 1), (1, 0)], kind)
    assert torch.equal(rasterize([points]), wanted)
    assert torch.equal(rasterize([[tuple(point) for point in points]]), wanted)


@pytest.mark.parametrize("size", [(30, 60), (7, 3), (200, 1), (1, 4)])
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


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (40, 50)])
def test_a_spot_is_too_little_ink_to_be_a_digit(size):
    sheet = torch.zeros(100, 100, dtype=torch.uint8)
    sheet[20 : 20 + size[0], 30 : 30 + size[1]] = 200
    with pytest.raises(UserError, match="too little ink to be a digit"):
        prepare(sheet)


@pytest.mark.parametrize("pen", [0.03, 0.2])
def test_a_dot_is_too_little_ink_and_a_dash_is_not(pen):
    with pytest.raises(UserError, match="too little ink to be a digit"):
        prepare(rasterize([[(0.5, 0.5)]], pen))
    assert prepare(rasterize([[(0.5, 0.5 - pen), (0.5, 0.5 + pen)]], pen)).any()


def test_each_network_is_given_what_its_recipe_says(readers):
    assert list(readers) == ["GapNet", "BottleneckNet"]
    image = prepare(rasterize(THREE))[None]
    scaled = normalize_for("BottleneckNet", image)
    expected = (image.float() / 255 - BOTTLENECK_RECIPE.mean) / BOTTLENECK_RECIPE.std
    torch.testing.assert_close(scaled, expected)
    with pytest.raises(UserError, match=r"name must be one of GapNet, BottleneckNet, .*not 'gap'"):
        normalize_for("gap", image)
    for chances in classify(readers, image).values():
        assert chances.shape == (1, 10) and not chances.requires_grad
        assert chances.sum() == pytest.approx(1, abs=1e-5)
