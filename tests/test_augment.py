"""Each transform of a batch against its torchvision counterpart on PIL images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from mnist_lab.augment import (
    Affine,
    CropAndResize,
    Rotate,
    Shift,
    affine,
    crop_and_resize,
    normalize,
    rotate,
    textbook_transform,
)
from mnist_lab.data import load_data
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE
from mnist_lab.validation import UserError


@pytest.fixture(scope="module")
def images():
    return load_data("digits").train.images[:60]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, change):
    """What torchvision makes of each image, alone and as a PIL image."""
    changed = [change(Image.fromarray(image.squeeze(0).numpy())) for image in images]
    return torch.stack([torch.from_numpy(np.array(image)) for image in changed]).unsqueeze(1)


def test_every_image_turns_by_its_own_angle_as_torchvision_turns_a_pil_image():
    angles = torch.cat([torch.arange(-180, 181, 90), 2 * torch.arange(-90.3, 90)])
    noise = torch.randint(1, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=generator())
    theirs = torch.cat(
        [
            one_by_one(noise, lambda image, angle=angle: functional.rotate(image, angle, fill=0))
            for angle in angles.tolist()
        ]
    )
    ours = rotate(noise.expand(len(angles), -1, -1, -1), angles)
    assert ours.dtype == torch.uint8
    # PIL counts in fixed point: where a source lies on an edge, it may take the other neighbour.
    assert (ours != theirs).float().mean() < 0.001


@pytest.mark.parametrize("shape", [(28, 4), (1, 9), (28, 28)])
def test_no_angle_reaches_outside_the_margin_of_any_image(shape):
    angles, image = torch.linspace(-180, 180, 721), torch.arange(1.0, 1 + 28 * 28)
    image = image[: shape[0] * shape[1]].view(1, 1, *shape)
    turned = rotate(image.expand(721, -1, -1, -1), angles)
    assert set(turned.unique().tolist()) <= {0.0, *image.flatten().tolist()}
    assert torch.equal(turned[0], image[0].flip(1, 2)) and torch.equal(turned[360], image[0])


def test_angles_are_drawn_evenly_from_both_sides_of_zero():
    """A pixel at the right edge says where it was: how far the image was turned."""
    where = torch.arange(61 * 61.0).view(1, 1, 61, 61).expand(2_000, -1, -1, -1)

    def angles(degrees):
        was = Rotate(degrees)(where, generator())[:, 0, 30, 60].long()
        return torch.rad2deg(torch.atan2(was // 61 - 30.0, was % 61 - 30.0))

    quarters = torch.histc(angles(180), 4, -180, 180)
    assert (quarters - 500).abs().max() < 4 * (2_000 * 0.25 * 0.75) ** 0.5
    some = angles(30)
    assert -32 < some.min() < -28 and 28 < some.max() < 32 and abs(some.mean()) < 2


@pytest.mark.parametrize(
    ("make", "right", "wrong"),
    [
        (Rotate, (0, 180), (-1, 181, "7")),
        (Shift, (0, 28), (-1, 29, 1.5)),
        (lambda size: CropAndResize(size, 0.1), (1, 28), (0, 29, 22.0)),
        (lambda p: CropAndResize(22, p), (0, 1), (-0.1, 1.1)),
    ],
    ids=["degrees", "pixels", "size", "p"],
)
def test_a_value_out_of_range_is_refused(make, right, wrong, request):
    name = request.node.callspec.id
    assert all(getattr(make(value), name) == value for value in right)
    for value in wrong:
        with pytest.raises(UserError, match=f"^{name} must be .* from [01] to (1|28|180), not"):
            make(value)


@pytest.mark.parametrize("size", [22, 21])
def test_crop_and_resize_is_what_torchvision_does_to_a_pil_image(images, size):
    change = transforms.Compose([transforms.CenterCrop(size), transforms.Resize(28)])
    theirs, ours = one_by_one(images, change), crop_and_resize(images, size)
    assert ours.dtype == torch.uint8 and ours.shape == images.shape
    difference = ours.float() - theirs
    assert difference.abs().max() <= 1 and abs(difference.mean()) < 0.15, "not rounded"


@pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
def test_a_share_p_of_the_images_is_enlarged_and_the_others_are_left_alone(images, p):
    many = images.repeat(40, 1, 1, 1)
    before, enlarged = many.clone(), crop_and_resize(many, 22)
    changed = CropAndResize(22, p)(many, generator())
    whole = (changed == enlarged).flatten(1).all(1)
    assert ((changed == many).flatten(1).all(1) ^ whole).all(), "neither one nor the other"
    assert abs(whole.float().mean() - p) <= 4 * (p * (1 - p) / len(many)) ** 0.5
    assert torch.equal(many, before), "the stored digits were changed"


@pytest.mark.parametrize("pixels", [0, 2])
def test_images_move_evenly_to_every_place_where_torchvision_crops_the_padded_image(images, pixels):
    places = 2 * pixels + 1
    many = images[:1].repeat(100 * places**2, 1, 1, 1)
    before, moved = many.clone(), Shift(pixels)(many, generator())
    padded = functional.pad(images[:1], [pixels] * 4)
    crops = [functional.crop(padded, y, x, 28, 28) for y in range(places) for x in range(places)]
    counts = torch.tensor([int((moved == crop).flatten(1).all(1).sum()) for crop in crops])
    assert counts.sum() == len(many), "an image is where it cannot be"
    assert (counts - 100).abs().max() < 4 * 100**0.5
    assert moved.dtype == torch.uint8 and torch.equal(many, before)
    assert repr(Shift(pixels).torchvision()) == repr(transforms.RandomCrop(28, padding=pixels))


@pytest.mark.parametrize("tensors", [False, True], ids=["as Pillow", "as torchvision's tensors"])
def test_an_affine_map_is_what_torchvision_makes_of_each_image(images, tensors):
    """Of tensors, to the rounding; Pillow leaves a border pixel black where it has no neighbour."""
    count = len(images)
    degrees, shear = 60 * torch.rand(2, count, generator=generator()) - 30
    shift = torch.randint(-3, 4, (count, 2), generator=generator()).float()
    scale = 0.7 + 0.6 * torch.rand(count, generator=generator())
    ours = affine(images, degrees, shift, scale, shear)
    theirs = []
    for image, angle, (x, y), factor, slant in zip(images, degrees, shift, scale, shear):
        options = (angle.item(), [int(x), int(y)], factor.item(), [slant.item(), 0.0])
        image = image if tensors else Image.fromarray(image[0].numpy())
        moved = functional.affine(image, *options, functional.InterpolationMode.BILINEAR)
        theirs.append(moved if tensors else functional.pil_to_tensor(moved))
    difference = (ours.int() - torch.stack(theirs).int()).abs().float()
    assert ours.dtype == torch.uint8 and ours.shape == images.shape
    assert (difference.max() <= 1) if tensors else (difference > 8).float().mean() < 0.01


def test_an_affine_map_without_a_change_is_none(images):
    assert torch.equal(Affine()(images, generator()), images)


@pytest.mark.parametrize("name", ["degrees", "pixels", "scale", "shear"])
def test_each_amount_is_drawn_evenly_from_both_sides_of_none(name, monkeypatch):
    limit, seen = {"degrees": 20, "pixels": 3, "scale": 0.2, "shear": 10}[name], {}
    names = ("images", "degrees", "pixels", "scale", "shear")
    monkeypatch.setattr("mnist_lab.augment.affine", lambda *values: seen.update(zip(names, values)))
    Affine(**{name: limit})(torch.zeros(4_000, 1, 28, 28), generator())
    drawn = seen.pop(name).flatten() - float(name == "scale")
    assert drawn.abs().max() <= limit < 1.01 * drawn.abs().max()
    quarters = torch.histc(drawn, 4, -limit, limit)
    expected = len(drawn) / 4
    assert (quarters - expected).abs().max() < 4 * (expected * 0.75) ** 0.5
    del seen["images"]
    assert all((values == float(other == "scale")).all() for other, values in seen.items())
    if name == "pixels":
        right, down = drawn.view(-1, 2).T
        assert abs(torch.corrcoef(torch.stack([right, down]))[0, 1]) < 0.07, "the same for both"


every_transform = pytest.mark.parametrize(
    "transform",
    [Rotate(15), CropAndResize(22, 0.5), Shift(2), Affine(10, 1.5, 0.1, 5)],
    ids=repr,
)


@every_transform
def test_the_generator_alone_decides(images, transform):
    state = torch.get_rng_state()
    first = transform(images, generator(1))
    assert torch.equal(torch.get_rng_state(), state), "the global one was asked"
    assert torch.equal(first, transform(images, generator(1)))
    assert not torch.equal(first, transform(images, generator(2)))


@every_transform
def test_on_another_device_nothing_waits_for_a_value(images, transform):
    moved = transform(images.to("meta"), generator())  # has no values: whoever needs one fails
    assert (moved.shape, moved.dtype, moved.device.type) == (images.shape, images.dtype, "meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_transform
def test_on_a_gpu_every_image_becomes_what_it_may_become(images, transform):
    draws = torch.Generator("cuda").manual_seed(0)
    on_gpu = images.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        changed = transform(on_gpu, draws)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert changed.dtype == torch.uint8 and (changed.cpu() != images).any()
    if isinstance(transform, CropAndResize):
        enlarged = crop_and_resize(images, transform.size).int()
        rounding = (changed.cpu().int() - enlarged).flatten(1).abs().amax(1) <= 1
        assert (rounding | (changed.cpu() == images).flatten(1).all(1)).all()


@pytest.mark.parametrize(("mean", "std"), [(0.1407, 0.4081), (0.0, 1.0)])
def test_normalize_is_totensor_and_normalize(images, mean, std):
    textbook = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    theirs = torch.stack([textbook(Image.fromarray(image[0].numpy())) for image in images])
    before, ours = images.clone(), normalize(images, mean, std)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
    assert torch.equal(images, before)


GAP = [
    transforms.RandomRotation((-7.0, 7.0), fill=0),
    transforms.ToTensor(),
    transforms.Normalize(0.1307, 0.3081),
]
CROP = transforms.RandomApply([transforms.CenterCrop(22)], p=0.1)
BOTTLENECK = [
    transforms.Compose([CROP, transforms.Resize(28)]),
    transforms.RandomRotation(15, fill=0),
    transforms.ToTensor(),
    transforms.Normalize(0.1407, 0.4081),
]


@pytest.mark.parametrize(
    ("recipe", "published"),
    [(GAP_RECIPE, GAP), (BOTTLENECK_RECIPE, BOTTLENECK)],
    ids=["gap", "bottleneck"],
)
def test_the_textbook_transform_is_the_published_list(images, recipe, published):
    ours = textbook_transform(recipe.augment, recipe.mean, recipe.std)
    assert repr(ours) == repr(transforms.Compose(published))
    tensor = ours(Image.fromarray(images[0, 0].numpy()))
    assert tensor.shape == (1, 28, 28) and tensor.dtype == torch.float32
