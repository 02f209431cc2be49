"""What is practised and what is not, and that a run says what it reads."""

import pytest
import torch

from mnist_lab.corruptions import CORRUPTIONS
from mnist_lab.recipes import BOTTLENECK_RECIPE, shortened
from mnist_lab.studies import remedies
from mnist_lab.studies.remedies import CASES, RELATIVES, Spoil, cases, run, table

IMAGES = torch.randint(256, (1_200, 1, 28, 28), dtype=torch.uint8)


def spoilt(seed=0, **options):
    return Spoil(**options)(IMAGES, torch.Generator().manual_seed(seed))


def test_every_corruption_is_practised_or_the_relative_of_one_that_is():
    assert sorted([*RELATIVES, *RELATIVES.values()]) == sorted(CORRUPTIONS)


def test_about_half_of_the_images_are_spoilt_and_the_given_ones_stay():
    before, after = IMAGES.clone(), spoilt()
    assert torch.equal(IMAGES, before)
    assert after.shape == IMAGES.shape and after.dtype == torch.uint8
    changed = (after != IMAGES).flatten(1).any(1).float().mean()
    assert 0.45 < changed < 0.55
    assert torch.equal(after, spoilt()) and not torch.equal(after, spoilt(1))


def test_only_what_was_asked_for_is_done():
    changed = spoilt(kinds=("occlusion",)) != IMAGES
    grey = spoilt(kinds=("occlusion",))[changed]
    assert len(grey) and (grey == 128).all()


def test_the_recipe_names_what_is_practised():
    assert all(kind in repr(Spoil()) for kind in RELATIVES)
    assert CASES["as published"] == () and len(cases(2)) == 4


def test_a_run_reads_the_digits_under_each_corruption(monkeypatch):
    monkeypatch.setattr(remedies, "SHORT_RECIPE", shortened(BOTTLENECK_RECIPE, 1))
    result = run("with spoilt digits", 1)
    assert list(result["accuracy"]) == ["none", *CORRUPTIONS]
    assert all(0 <= accuracy <= 1 for accuracy in result["accuracy"].values())
    assert "Spoil(kinds=" in result["recipe"] and "seed=1" in result["recipe"]


def test_the_table_compares_the_seeds_that_both_have():
    def made(case, seed, accuracy):
        every = dict.fromkeys(("none", *CORRUPTIONS), accuracy)
        return {"case": case, "seed": seed, "accuracy": every}

    first, second = CASES
    runs = [made(first, 0, 0.5), made(first, 1, 0.7), made(second, 0, 0.8), made(second, 2, 0.1)]
    row = table(runs).splitlines()[1].split()
    assert row == ["none", "50.00%", "80.00%", "+30.00"]
    both = table([*runs, made(second, 1, 1.0)]).splitlines()
    assert both[1].split()[1:4] == ["60.00%", "90.00%", "+30.00"]

    assert sum(" * " in line for line in both) == len(RELATIVES)


def test_without_seeds_in_common_there_is_only_the_heading():
    assert table([{"case": "as published", "seed": 0, "accuracy": {}}]).count("\n") == 0


@pytest.mark.parametrize("kind", RELATIVES)
def test_each_kind_is_practised_at_every_level(kind):
    images = [Spoil((kind,))(IMAGES[:60], torch.Generator().manual_seed(s)) for s in range(12)]
    assert len({image.double().sum().item() for image in images}) > 3
