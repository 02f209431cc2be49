"""Each corruption against PIL, SciPy, torchvision or plain arithmetic, and all of them as a set."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.stats import norm
from torchvision.transforms import functional

from mnist_lab import CORRUPTIONS, corrupt, load_data
from mnist_lab.validation import UserError

LEVELS = range(1, 6)
FIXED = {"scale", "blur", "contrast", "pixelation"}  # nothing is drawn for these
every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture(scope="module")
def images():
    return load_data("digits").train.images[:300]


def plain(value, count=300):
    return torch.full((count, 1, 28, 28), value, dtype=torch.uint8)


def strength(name, level):
    return CORRUPTIONS[name].strengths[level - 1]


def one_by_one(images, change, given):
    """What becomes of each image, changed alone as an array `[28, 28]`."""
    changed = [np.asarray(change(image[0].numpy(), given)) for image in images]
    return torch.from_numpy(np.stack(changed)).unsqueeze(1)


# All of them


@every_corruption
def test_every_level_changes_more_and_level_0_nothing(images, name):
    assert len(CORRUPTIONS[name].strengths) == 5
    before, some = images.clone(), images[:60]
    spoilt = [corrupt(some, name, level) for level in range(6)]
    assert torch.equal(images, before), "the stored digits were changed"
    assert torch.equal(spoilt[0], some) and spoilt[0].data_ptr() != images.data_ptr()
    assert all(one.dtype == torch.uint8 and one.shape == some.shape for one in spoilt)
    changes = [float((one.int() - some.int()).abs().float().mean()) for one in spoilt]
    assert changes == sorted(set(changes))


@every_corruption
def test_the_seed_alone_decides_and_each_image_for_itself(images, name):
    some = images[:40]
    for level in LEVELS:
        first = corrupt(some, name, level, seed=1)
        torch.manual_seed(5)
        assert torch.equal(first, corrupt(some, name, np.int64(level), seed=np.int64(1)))
        moved = torch.rand(1)
        torch.manual_seed(5)
        assert torch.equal(moved, torch.rand(1)), "the global generator was used"
        same = torch.equal(first, corrupt(some, name, level, seed=2))
        drawn = name not in FIXED and (name, level) != ("inversion", 5)
        assert same != drawn, "FIXED holds those for which nothing is drawn"
    for count in (0, 1, 7):
        assert torch.equal(corrupt(some[:count], name, 5, seed=1), first[:count])


# One of several ways


def turned(image, degrees):
    return functional.rotate(Image.fromarray(image), degrees)


def slanted(image, degrees):
    t = np.tan(np.deg2rad(degrees))
    shear, centre = np.array([[1, 0], [t, 1]]), np.array([13.5, 13.5])
    offset = centre - shear @ centre
    return ndimage.affine_transform(
        image.astype(float), shear, offset, order=1, mode="grid-constant"
    ).round()


def inverted(image, columns):
    image, part = image.copy(), slice(columns) if columns > 0 else slice(28 + columns, 28)
    image[:, part] = 255 - image[:, part]
    return image


def moved(image, pixels):
    return ndimage.shift(image, pixels, order=0)


BOTH = (-1, 1)
WAYS = {  # each change, and what it may be given at strength 1
    "rotation": (turned, BOTH),
    "shift": (moved, [np.array([y, x]) for y in BOTH for x in BOTH]),
    "shear": (slanted, BOTH),
    "inversion": (inverted, BOTH),
}


def way_of_each(images, name, level):
    """Which of its ways each image was changed, `[N]`; -1 for one that is none of them."""
    change, ways = WAYS[name]
    spoilt = corrupt(images, name, level)
    wanted = [one_by_one(images, change, strength(name, level) * way) for way in ways]
    rounding = 1 if name == "shear" else 0  # in grey levels: nothing is blended by the others
    different = (torch.stack(wanted).int() - spoilt.int()).abs().flatten(2) > rounding
    # PIL counts in fixed point: where a source lies on an edge, it may take the other neighbour.
    alike = different.sum(2) <= (3 if name == "rotation" else 0)
    return torch.where(alike.sum(0) == 1, alike.int().argmax(0), -1)


@pytest.mark.parametrize("name", WAYS)
def test_every_image_goes_one_of_the_ways_evenly_and_the_same_at_all_levels(images, name):
    some = images[:100]
    way = way_of_each(some, name, 1)
    evenly = 100 / len(WAYS[name][1])
    assert (torch.bincount(way) - evenly).abs().max() < 3 * evenly**0.5  # bincount refuses -1
    for level in range(2, 5 if name == "inversion" else 6):
        assert torch.equal(way_of_each(some, name, level), way)


def test_the_last_inversion_is_the_negative(images):
    assert torch.equal(corrupt(images, "inversion", 5), 255 - images)


# Noise


@pytest.mark.parametrize("level", [1, 5])
def test_gaussian_noise_is_distributed_as_it_should_be_and_clipped(level):
    noisy = corrupt(plain(128), "gaussian noise", level)
    for bound in (0, 64, 128, 192, 254):
        share = norm.cdf(bound + 0.5, 128, strength("gaussian noise", level))
        spread = (share * (1 - share) / noisy.numel()) ** 0.5
        assert abs((noisy <= bound).double().mean() - share) < 4 * spread + 1e-6


def test_impulse_noise_is_black_and_white_by_halves_and_grows():
    weaker = plain(100)
    for level in LEVELS:
        noisy = corrupt(plain(100), "impulse noise", level)
        half = strength("impulse noise", level) / 2
        spread = (half * (1 - half) / noisy.numel()) ** 0.5
        assert noisy.unique().tolist() == [0, 100, 255]
        assert abs((noisy == 0).double().mean() - half) < 4 * spread
        assert abs((noisy == 255).double().mean() - half) < 4 * spread
        assert torch.equal(noisy[weaker != 100], weaker[weaker != 100])
        weaker = noisy


# The same for every image


def small(image, side):
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(picture), (28 - side) // 2)


def coarse(image, side):
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return picture.resize((28, 28), Image.Resampling.NEAREST)


def faint(image, share):
    return image.mean() + share * (image - image.mean())


def blurred(image, deviation):
    wide = torch.from_numpy(np.pad(image, 28))[None]  # black around it
    return functional.gaussian_blur(wide, 2 * round(4 * deviation) + 1, deviation)[
        0, 28:-28, 28:-28
    ]


@pytest.mark.parametrize(
    ("name", "change"),
    [("scale", small), ("pixelation", coarse), ("contrast", faint), ("blur", blurred)],
)
def test_a_fixed_change_is_that_of_pil_torchvision_or_arithmetic(images, name, change):
    noise = torch.randint(256, (9, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    some = torch.cat([images[:30], noise.to(torch.uint8)])
    for level in LEVELS:
        wanted = one_by_one(some, change, strength(name, level))
        assert (corrupt(some, name, level) - wanted.float()).abs().max() <= 1


# Things in the way


def test_a_grey_square_grows_where_it_is():
    weaker = torch.zeros(300, 28, 28, dtype=torch.bool)
    for level in LEVELS:
        square = corrupt(plain(0), "occlusion", level)[:, 0] == 128
        side = strength("occlusion", level)
        rows, columns = square.any(2), square.any(1)
        assert torch.equal(square, rows.unsqueeze(2) & columns.unsqueeze(1))
        assert (rows.sum(1) == side).all() and (columns.sum(1) == side).all()
        assert not (rows[:, :4].any() or rows[:, -4:].any()), "outside the digit's 20×20 pixels"
        assert not (columns[:, :4].any() or columns[:, -4:].any())
        corners = {(int(a.int().argmax()), int(b.int().argmax())) for a, b in zip(rows, columns)}
        assert len(corners) > 80, "few of the 100 places are used"
        assert not (weaker & ~square).any()
        weaker = square


def test_an_occluded_digit_is_itself_elsewhere(images):
    spoilt = corrupt(images, "occlusion", 3)
    assert set(spoilt[spoilt != images].tolist()) == {128}


def straight(points):
    """How far off their best straight line the points `[N, 2]` lie, and how far it passes the
    picture's centre, in pixels."""
    middle = points.mean(0)
    across = torch.linalg.svd(points - middle).Vh[1]
    return ((points - middle) @ across).abs().max(), (across @ (middle - 13.5)).abs()


def test_each_level_draws_one_more_white_line_through_the_digit(images):
    drawn = [corrupt(plain(0, 60), "lines", level)[:, 0] for level in range(6)]
    assert drawn[5].unique().tolist() == [0, 255]
    for before, after in pairwise(drawn):
        assert not ((before > 0) & (after == 0)).any()
        for new in after - before:
            points = new.nonzero().double()
            assert len(points) == 0 or straight(points)[0] < 1
    slopes = [straight(line.nonzero().double()) for line in drawn[1]]
    assert max(distance for _, distance in slopes) < 8.5
    lengths = (drawn[1] > 0).sum((1, 2))
    assert lengths.min() > 20 and lengths.max() < 43, "a line crosses the whole picture, thinly"
    assert len(drawn[1].flatten(1).unique(dim=0)) > 50
    spoilt = corrupt(images, "lines", 3)
    assert set(spoilt[spoilt != images].tolist()) == {255}


# What is refused


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "nonsense"}, "rotation, .*'nonsense'"),
        *(({"level": level}, "level .* from 0 to 5") for level in (-1, 6, 1.0)),
        ({"seed": -1}, "seed"),
        ({"images": torch.zeros(2, 1, 28, 28)}, r"uint8 \[2, 1, 28, 28\], not float32"),
        ({"images": plain(0, 2)[..., 1:]}, "images"),
    ],
)
def test_a_value_of_another_kind_is_refused(change, named):
    with pytest.raises(UserError, match=named):
        corrupt(**{"images": plain(0, 2), "name": "blur", "level": 1, **change})
