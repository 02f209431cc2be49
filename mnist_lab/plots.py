"""Every picture of the course: each function draws one, and shows it with its alternative text.

Colours are Okabe and Ito's (doi:10.1038/nmeth.1618), told apart without colour by line style,
marker or position. Accuracies are given as fractions and drawn as per cent.
"""

import base64
import html
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.pyplot import Axes, Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from torch import Tensor

from mnist_lab.data import Split
from mnist_lab.evaluation import Bin, Evaluation
from mnist_lab.interpret import bounding_box
from mnist_lab.layers import Layer
from mnist_lab.training import History

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
COLUMN = 7.0  # width of a figure, inches: shown 600 pixels wide, 8 points are 9.5 pixels high
STYLE = {"font.size": 10, "axes.titlesize": 9, "axes.axisbelow": True, "axes.spines.top": False,
         "axes.spines.right": False, "axes.prop_cycle": plt.cycler(
             color=[BLUE, ORANGE, GREEN], linestyle=["-", "--", ":"])}  # fmt: skip


def show(figure: Figure, alt: str) -> None:
    """Show a figure, with `alt` to say what is on it, and close it.

    A notebook gets it as HTML, because JupyterLab shows a bare PNG without its alternative text.
    """
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        png = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png}">'
        ipython.display.display({"text/html": picture, "text/plain": alt}, raw=True)
    else:
        figure.show(warn=False)
    plt.close(figure)


@contextmanager
def _drawing(alt: str, height: float, rows=1, columns=1, **options) -> Iterator[list[Axes]]:
    """The axes of a figure as wide as the page, in the course's style; it is shown afterwards."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(COLUMN, height), squeeze=False,
                                    layout="constrained", **options)  # fmt: skip
        try:
            yield list(axes.flat)
            show(figure, alt)
        finally:
            plt.close(figure)


def show_images(images: Tensor, titles: Sequence[str], alt: str, columns: int = 10,
                maps: Tensor | None = None, jump: int = 1) -> None:  # fmt: skip
    """Pictures `[N, 1, h, w]` or `[N, h, w]`, each on a scale of its own: what is low is dark.

    `maps` `[N, h, w]` lie over them as contours: inside the solid line lies the highest tenth of a
    map's places, inside the dashed line the highest third. The places lie `jump` pixels apart (the
    layer table knows), around the middle of the picture.
    """
    rows, lines = -(-len(images) // columns), max(title.count("\n") for title in titles) + 1
    height = rows * (COLUMN / columns + 0.1 + 0.17 * lines)
    with _drawing(alt, height, rows, columns) as axes:
        for axis in axes:
            axis.axis("off")
        for number, (axis, title) in enumerate(zip(axes, titles)):
            picture = images[number].detach().cpu().squeeze(0).numpy()
            axis.imshow(picture, cmap="gray")
            axis.set_title(title)
            if maps is not None:
                _draw_contours(axis, maps[number].detach().cpu().numpy(), picture.shape, jump)


def _draw_contours(axis: Axes, values: np.ndarray, size: tuple[int, ...], jump: int) -> None:
    levels = np.quantile(values, [2 / 3, 0.9])
    if np.ptp(values) > 1e-4 and levels[0] < levels[1]:  # what is even has no contours
        y, x = ((side - 1) / 2 + jump * (np.arange(count) - (count - 1) / 2)
                for side, count in zip(size, values.shape))  # fmt: skip
        axis.contour(x, y, values, levels=levels, colors=[BLUE, ORANGE], linestyles=["--", "-"],
                     linewidths=[1.5, 2.2])  # fmt: skip


def show_digits(split: Split, count: int = 20) -> None:
    """The first digits of a split, their labels above them."""
    labels = list(map(str, split.labels[:count].tolist()))
    show_images(split.images[:count], labels, f"Handwritten digits: {', '.join(labels)}.")


def show_mistakes(evaluation: Evaluation, split: Split, count: int = 12) -> None:
    """The surest mistakes: what was written, what was read, and how sure the network was."""
    worst = evaluation.mistakes()[:count]
    if not worst:
        print("There are no mistakes to show.")
        return
    titles = [f"{m.label} read as {m.guess}\n({m.guess_probability:.0%} sure)" for m in worst]
    alt = "The surest mistakes: " + ", ".join(title.replace("\n", " ") for title in titles)
    show_images(split.images[[m.index for m in worst]], titles, alt, columns=6)


def plot_receptive_fields(rows: Sequence[Layer], image: Tensor | None = None,
                          fields: Sequence[Tensor] = ()) -> None:  # fmt: skip
    """What the middle value of some layers sees: a frame around it for each.

    On an `image` `[1, 28, 28]` the computed frame; or on the `fields` `[28, 28]` that
    `measure_receptive_field` gave, the measured ones, of the same value. It stands a pixel off.
    """
    pictures = fields or [image[0]] * len(rows)
    kind, far = "measured" if fields else "computed", pictures[0].shape[-1] - 1
    sides = [bounding_box(field)[2] for field in fields] or [row.field for row in rows]
    texts = ", ".join(f"{row.name} {side}" for row, side in zip(rows, sides))
    alt = f"The {kind} receptive fields of layers, squares with a side in pixels of {texts}."
    with _drawing(alt, 1.2 + COLUMN / len(rows), columns=len(rows)) as axes:
        for axis, row, picture, side in zip(axes, rows, pictures, sides):
            axis.imshow(picture.cpu().numpy(), cmap="gray_r" if fields else "gray")
            count = (1, *row.output)[-1]  # of the places; the first begins as far out as the last
            first = (far + 1 - side - (count - 1) * row.jump) / 2 + count // 2 * row.jump
            top, left, *_ = bounding_box(picture) if fields else [max(first, 0)] * 2
            wide = min(side, far + 1) + 2
            for colour, width in (("white", 3), (ORANGE, 1.5)):  # it lies on black and on grey
                axis.add_patch(plt.Rectangle((left - 1.5, top - 1.5), wide, wide, fill=False,
                                             ec=colour, lw=width, clip_on=False))  # fmt: skip
            axis.set(title=f"{row.kind}\n{row.name}\n{kind}: {side}", xlabel="pixels",
                     xticks=[0, far], yticks=[0, far])  # fmt: skip


def plot_bars(names: Sequence[str], panels: Mapping[str, Sequence[float]], alt: str,
              write: Callable[[float], str] = "{:,.0f}".format,
              limit: float | None = None) -> None:  # fmt: skip
    """Horizontal bars, the value at the end of each; the first on top, a dashed line at a limit.

    `panels`: under each label, which has its unit, a value for each name.
    """
    with _drawing(alt, 0.7 + 0.3 * len(names), columns=len(panels), sharey=True) as axes:
        for axis, colour, (label, values) in zip(axes, (BLUE, ORANGE), panels.items()):
            bars = axis.barh(range(len(names)), values, color=colour)
            axis.bar_label(bars, fmt=write, padding=3, fontsize=9)
            _name_rows(axis, names, label, None)
            axis.margins(x=0.18)  # room for the texts
        if limit is not None:
            axis.axvline(limit, color=ORANGE, linestyle="--", label=f"limit: {write(limit)}")
            axis.legend(frameon=False, loc="lower right")


def plot_shares(seconds: Mapping[str, float], unit: str) -> None:
    """Where the time of one `unit` goes: a bar for each part, the longest first."""
    names, total = sorted(seconds, key=seconds.get, reverse=True), sum(seconds.values())
    shares = ", ".join(f"{name} {seconds[name] / total:.0%}" for name in names)
    milliseconds = {f"milliseconds of {unit}": [1000 * seconds[name] for name in names]}
    plot_bars(names, milliseconds, f"Shares of the time of {unit}: {shares}.",
              lambda value: f"{value / 1000 / total:.0%}")  # fmt: skip


def plot_layers(rows: Sequence[Layer]) -> None:
    """Where a network keeps its parameters, and where it does its work."""
    rows = [row for row in rows if row.parameters or row.macs]
    names = [f"{row.kind}  {'×'.join(map(str, row.output))}" for row in rows]
    texts = (f"{row.kind} {row.name} {row.parameters:,} and {row.macs:,}" for row in rows)
    panels = {"parameters": [row.parameters for row in rows],
              "thousand MACs per image": [row.macs / 1e3 for row in rows]}  # fmt: skip
    alt = f"Parameters and multiply-accumulates of each layer: {'; '.join(texts)}."
    plot_bars(names, panels, alt, lambda x: f"{x:,.0f}" if x >= 10 or x == 0 else f"{x:.2g}")


def plot_dots(results: Mapping[str, Sequence[float]], label: str,
              published: Mapping[str, float] | None = None) -> None:  # fmt: skip
    """A row of dots for each name, one a run; a bar at its mean, a cross where it was published."""
    claims = {name: f", published {claim:.2%}" for name, claim in (published or {}).items()}
    texts = "; ".join(f"{name} {min(values):.2%} to {max(values):.2%}{claims.get(name, '')}"
                      for name, values in results.items())  # fmt: skip
    with _drawing(f"{label} of each run: {texts}.", 0.9 + 0.5 * len(results)) as (axis,):
        for row, values in enumerate(results.values()):
            axis.plot(100 * np.array(values), [row] * len(values), "o", color=BLUE, alpha=0.5)
            axis.plot(100 * np.array(values).mean(), row, "|", color="black", ms=22, mew=2)
        cross = ", cross: published" if published else ""
        _name_rows(axis, list(results), f"{label}, % (dots: runs, bar: mean{cross})", published)


def plot_intervals(rows: Mapping[str, Sequence[float]], label: str, bound: float | None = None,
                   unit: str = "points",
                   crosses: Mapping[str, float] | None = None) -> None:  # fmt: skip
    """Dots with their 95 % intervals, a row for each name: mean, low, high. A line at a bound.

    `crosses`: another value of a row; `label` says what it is.
    """
    middle, low, high = 100 * np.array(list(rows.values())).T
    others = {name: f", cross {100 * value:.2f}" for name, value in (crosses or {}).items()}
    texts = "; ".join(f"{name} {value:.2f} [{start:.2f}, {end:.2f}]{others.get(name, '')}"
                      for name, value, start, end in zip(rows, middle, low, high))  # fmt: skip
    line = "" if bound is None else f" A line at {100 * bound:.2f}."
    with _drawing(f"{label}, {unit}: {texts}.{line}", 1.0 + 0.34 * len(rows)) as (axis,):
        lengths = middle - low, high - middle
        axis.errorbar(middle, range(len(rows)), xerr=lengths, fmt="o", capsize=3)
        if bound is not None:
            axis.axvline(100 * bound, color=ORANGE, linestyle="--")
        _name_rows(axis, list(rows), f"{label}, {unit} (bars: 95 % interval)", crosses)


def plot_reliability(networks: Mapping[str, Sequence[Bin]]) -> None:
    """How often each network errs, by how sure it is: calibrated, if the crosses lie near.

    Errors are drawn on a logarithmic axis, because most answers are very sure. A bin without any
    has no dot: its interval begins beyond the axis.
    """
    edges = sorted({b.upper for bins in networks.values() for b in bins})
    texts = "; ".join(
        f"{name}, up to {100 * b.upper:g} % sure, {b.count:,} digits: {100 * (1 - b.accuracy):.2g} "
        f"[{100 * (1 - b.high):.2g}, {100 * (1 - b.low):.2g}], cross {100 * (1 - b.confidence):.2g}"
        for name, bins in networks.items() for b in bins)  # fmt: skip
    with _drawing(f"Wrong answers, %: {texts}.", 1.3 + 0.34 * len(edges), columns=len(networks),
                  sharex=True, sharey=True) as axes:  # fmt: skip
        for axis, (name, bins) in zip(axes, networks.items()):
            for b in bins:
                row, share = edges.index(b.upper), 100 * (1 - b.accuracy)
                reach = [max(100 * (1 - b.high), 1e-3), 100 * (1 - b.low)]
                axis.plot(reach, [row] * 2, "|-", color=BLUE)
                axis.plot(share or reach[1], row, "o" if share else "|", color=BLUE, ms=7)
                axis.plot(100 * (1 - b.confidence), row, "x", color=ORANGE, ms=9, mew=2.5)
                axis.text(
                    1,
                    row,
                    f"{b.count:,}",
                    va="center",
                    fontsize=8,
                    transform=axis.get_yaxis_transform(),
                )
            label = "wrong, % (cross: as it says)"
            _name_rows(axis, [f"up to {100 * edge:g} % sure" for edge in edges], label, None)
            axis.set(title=f"{name}; right: digits", xscale="log", xlim=(1e-3, 100))
            axis.xaxis.set_major_locator(LogLocator(numticks=9))
            axis.xaxis.set_major_formatter("{x:g}")


def _name_rows(axis: Axes, names: Sequence[str], label: str, crosses: Mapping | None) -> None:
    for row, name in enumerate(names):
        if crosses and name in crosses:
            axis.plot(100 * crosses[name], row, "X", color=ORANGE, ms=10)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))  # the first on top
    axis.grid(axis="x", alpha=0.3)


def plot_history(history: History) -> None:
    """Loss, accuracy and learning rate of a run, over its epochs."""
    epochs = range(1, len(history.seconds) + 1)
    train, validation = 100 * np.array([history.train_accuracy, history.validation_accuracy])
    losses, shares = history.validation_loss, history.validation_accuracy
    alt = (f"Loss, accuracy and learning rate over {len(epochs)} epochs on {history.digits}: on "
           f"validation the loss goes from {losses[0]:.4f} to {losses[-1]:.4f}, the accuracy from "
           f"{shares[0]:.2%} to {shares[-1]:.2%}.")  # fmt: skip
    with _drawing(alt, 2.8, columns=3) as (loss, accuracy, rate):
        lines = (loss, history.train_loss, history.validation_loss), (accuracy, train, validation)
        for axis, of_training, of_validation in lines:
            axis.plot(epochs, of_training, "--o", ms=3, color=ORANGE, label="training (augmented)")
            axis.plot(epochs, of_validation, "-s", ms=3, color=BLUE, label="validation")
        for axis in (loss, accuracy, rate):  # an epoch's figures stand at its end
            axis.set(xlabel="epoch", xlim=(0, len(epochs) + 0.5))
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        loss.set(ylabel="loss", yscale="log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_formatter("")
        # The first epochs of the training may lie so low that the rest would look like one line.
        shown = [*validation, *np.sort(train)[len(train) // 2 :]]
        margin = max(0.05 * np.ptp(shown), 0.2)
        low, high = min(shown) - margin, max(shown) + margin
        accuracy.set(ylabel="accuracy, %", ylim=(low, high))
        accuracy.set_yticks([y for y in accuracy.get_yticks() if low <= y <= 100])
        if min(train) < low:
            accuracy.set_title(f"not shown: down to {min(train):.0f} %")
        at = np.linspace(0, len(epochs), len(history.batch_lr) + 1)[1:]
        rate.plot(at, history.batch_lr, ".-", ms=1, color=GREEN)
        rate.set(ylabel="learning rate", ylim=(0, None))
        loss.figure.legend(*loss.get_legend_handles_labels(), frameon=False, ncol=2,
                           loc="outside upper left")  # fmt: skip


def plot_batches(runs: Mapping[str, Sequence[float]], name: str = "loss") -> None:
    """What each batch gave, in one or several runs: its loss, or how far two losses lie apart."""
    ends = "; ".join(f"{run} from {values[0]:.2g} to {values[-1]:.2g}, at most {max(values):.2g}"
                     for run, values in runs.items())  # fmt: skip
    with _drawing(f"The {name} of each batch: {ends}.", 2.8) as (axis,):
        for run, values in runs.items():
            axis.plot(range(1, len(values) + 1), values, label=run)
        # An empty picture would hide that all is zero: show what float32 could tell apart.
        lowest, highest = min(map(min, runs.values())), max(map(max, runs.values()))
        axis.set_ylim(0 if lowest > 0 else min(1.1 * lowest, -1e-6), max(1.1 * highest, 1e-6))
        axis.set(xlabel="batch", ylabel=name)
        axis.legend(frameon=False)


def plot_trajectories(runs: Sequence[Sequence[float]], published: Mapping[int, float],
                      label: str) -> None:  # fmt: skip
    """The accuracy of each run over its epochs, their mean, and crosses where it was published."""
    epochs, mean = range(1, len(runs[0]) + 1), 100 * np.array(runs).mean(0)
    claims = ", ".join(f"epoch {epoch} {value:.2%}" for epoch, value in published.items())
    alt = (f"{label} of {len(runs)} runs over {len(mean)} epochs: the mean rises from "
           f"{mean[0]:.2f} to {mean[-1]:.2f} %. Published: {claims}.")  # fmt: skip
    with _drawing(alt, 3.2) as (axis,):
        labels = ["each run", *["_"] * (len(runs) - 1)]  # one entry in the legend
        axis.plot(epochs, 100 * np.array(runs).T, "-", color=GREY, lw=0.8, label=labels)
        axis.plot(epochs, mean, "-", color=BLUE, lw=2.5, label="mean")
        crosses = [100 * value for value in published.values()]
        axis.plot(published.keys(), crosses, "X", color=ORANGE, ms=10, label="published")
        axis.set(xlabel="epoch", ylabel=f"{label}, %")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False)


def plot_confusion(evaluation: Evaluation) -> None:
    """The confusion matrix: mistakes shaded, right answers written on the diagonal."""
    counts = evaluation.confusion()
    mistakes = counts.clone().fill_diagonal_(0)
    alt = f"Confusion matrix of {evaluation.total:,} digits with {int(mistakes.sum())} mistakes"
    if mistakes.any():
        i, j = divmod(int(mistakes.argmax()), 10)
        alt += f"; the most frequent: {i} read as {j}, {int(mistakes[i, j])} times"
    with _drawing(f"{alt}.", 4.6) as (axis,):
        shade = axis.imshow(mistakes.numpy(), cmap="Blues")
        for i, j in counts.nonzero().tolist():
            dark = mistakes[i, j] > 0.6 * mistakes.max()
            axis.text(j, i, int(counts[i, j]), ha="center", va="center", fontsize=8,
                      color="white" if dark else GREY if i == j else "black")  # fmt: skip
        axis.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="written")
        axis.figure.colorbar(shade, label="mistakes", shrink=0.8, ticks=MaxNLocator(integer=True))


def plot_embedding(points: Tensor, labels: Tensor, alt: str, count: int = 80) -> None:
    """Points `[N, 2]` of digits, each drawn as the numeral that it is; the first of each class."""
    # The numeral tells two of one colour apart; digits that are often confused have different ones.
    colours = [BLUE, ORANGE, GREEN, "black", GREY, GREEN, GREY, BLUE, ORANGE, "black"]
    with _drawing(alt, 5.0) as (axis,):
        for digit in labels.unique().tolist():
            x, y = points[labels == digit][:count].cpu().T.numpy()
            axis.scatter(x, y, s=30, color=colours[digit], marker=f"${digit}$", linewidths=0.2)
        axis.set(xlabel="first direction", ylabel="second direction")
