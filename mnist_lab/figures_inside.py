"""Pictures of what goes on inside a network. Styles and `show` are those of `figures.py`."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from mnist_lab.anatomy import Layer
from mnist_lab.calibration import Bin
from mnist_lab.figures import BLUE, COLUMN, GREY, ORANGE, STYLE, show
from mnist_lab.inside import frame_of


def show_maps(maps: Tensor, titles: Sequence[str], alt: str, columns: int = 8) -> None:
    """Filters or feature maps `[N, h, w]` in rows, each on a scale of its own: dark is low."""
    rows = -(-len(maps) // columns)
    size = (COLUMN, 1.2 * rows * 8 / columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=size)
    for axis in axes.flat:
        axis.axis("off")
    for axis, one, title in zip(axes.flat, maps, titles):
        axis.imshow(one.detach().numpy(), cmap="gray")
        axis.set_title(title, fontsize=10)
    figure.tight_layout(pad=0.4)
    show(figure, alt)


def show_class_maps(
    images: Tensor,
    maps: Tensor,
    titles: Sequence[str],
    alt: str,
    jump: int = 1,
    columns: int = 6,
) -> None:
    """Where each picture `[N, 1, 28, 28]` speaks for a digit: `maps` `[N, h, w]`, as contours.

    The places of a map lie `jump` pixels apart (the layer table knows), around the middle of the
    picture. Inside the solid line lies the highest tenth of them, inside the dashed line the
    highest third.
    """
    rows = -(-len(images) // columns)
    size = (COLUMN, 1.55 * rows * 6 / columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=size)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, one, title in zip(axes.flat, images, maps, titles):
        axis.imshow(255 - image.squeeze(0).numpy(), cmap="gray")
        _contours(axis, one.detach(), jump)
        axis.set_title(title, fontsize=10)
    figure.tight_layout(pad=0.4)
    show(figure, alt)


def _contours(axis, one: Tensor, jump: int) -> None:
    if one.max() - one.min() > 1e-4:  # what is even has no contours
        places = [13.5 + jump * (torch.arange(n) - (n - 1) / 2) for n in one.shape]
        levels = torch.quantile(one.flatten(), torch.tensor([2 / 3, 0.9])).tolist()
        if levels[0] < levels[1]:
            axis.contour(places[1], places[0], one.numpy(), levels=levels, colors=[BLUE, ORANGE],
                         linestyles=["--", "-"], linewidths=[1.5, 2.2])  # fmt: skip


def plot_measured_fields(rows: Sequence[Layer], fields: Sequence[Tensor]) -> None:
    """How far each pixel moves the middle value of some layers, and the computed frame around it.

    `fields`: for each row of the layer table, `[28, 28]` of `mnist_lab.inside.measured_field`.
    """
    size = (COLUMN, 1.0 + COLUMN / len(rows))
    figure, axes = plt.subplots(1, len(rows), squeeze=False, figsize=size)
    for axis, row, field in zip(axes.flat, rows, fields):
        axis.imshow((field / field.max()).numpy(), cmap="gray_r", vmin=0, vmax=1)
        top, left, height, width = frame_of(field)
        axis.set_title(f"{row.name}\ncomputed: {row.field}\nmeasured: {height}", fontsize=10)
        frame = plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=ORANGE, lw=2)
        axis.add_patch(frame)
        axis.set_xticks([0, 27])
        axis.set_yticks([0, 27])
        axis.set_xlabel("pixels")
    figure.tight_layout()
    sides = ", ".join(f"{row.name} {frame_of(field)[2]}" for row, field in zip(rows, fields))
    show(figure, "Which pixels move the middle value of a layer: a square, darkest in the middle, "
         f"with a side in pixels of {sides}.")  # fmt: skip


def plot_reliability(bins: Sequence[Bin]) -> None:
    """How often the network is right, by how sure it is; on the diagonal it is calibrated."""
    names = [f"up to {100 * bin.upper:g} %\n{bin.count:,}" for bin in bins]
    accuracy = [100 * bin.accuracy for bin in bins]
    errors = [[100 * (bin.accuracy - bin.low) for bin in bins],
              [100 * (bin.high - bin.accuracy) for bin in bins]]  # fmt: skip
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 3.4))
        places = range(len(bins))
        axis.errorbar(places, accuracy, yerr=errors, fmt="o", color=BLUE, capsize=4,
                      label="share that is right, 95 % interval")  # fmt: skip
        axis.plot(places, [100 * bin.confidence for bin in bins], "_", color=ORANGE, ms=28, mew=2.5,
                  label="how sure it says it is (mean)")  # fmt: skip
        axis.set_xticks(places, names)
        axis.set(xlabel="how sure (probability), and how many digits", ylabel="%", ylim=(0, 104))
        axis.legend(frameon=False, loc="lower right")
        figure.tight_layout()
        said = "; ".join(
            f"of {bin.count:,} digits of which it is {bin.confidence:.1%} sure {bin.accuracy:.1%} "
            "are right"
            for bin in bins
        )
        show(figure, f"Reliability diagram: {said}.")


def plot_embedding(points: Tensor, labels: Tensor, alt: str) -> None:
    """Points `[N, 2]` of digits: a cloud of dots, and each digit's name where its middle is."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 5.0))
        shades = plt.get_cmap("cividis")(torch.linspace(0, 0.9, 10).numpy())
        for digit in range(10):
            mine = points[labels == digit]
            if len(mine):
                axis.scatter(*mine.T.numpy(), s=5, color=shades[digit], alpha=0.6, linewidths=0)
        for digit in range(10):
            mine = points[labels == digit]
            if len(mine):
                middle = mine.median(0).values.tolist()
                axis.annotate(str(digit), middle, ha="center", va="center", fontsize=16,
                              fontweight="bold", bbox={"boxstyle": "circle", "fc": "white",
                                                       "ec": GREY, "alpha": 0.9})  # fmt: skip
        axis.set(xlabel="first direction", ylabel="second direction")
        figure.tight_layout()
        show(figure, alt)
