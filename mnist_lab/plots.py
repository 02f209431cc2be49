"""Every picture of the course. Each function draws one and shows it with a text for the blind.

Colours are Okabe and Ito's (doi:10.1038/nmeth.1618), told apart without colour by line style,
marker or position.
"""

import base64
import html
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mnist_lab.data import Split
from mnist_lab.evaluation import Bin, Evaluation
from mnist_lab.interpret import bounding_box
from mnist_lab.layers import Layer
from mnist_lab.statistics import wilson_interval
from mnist_lab.training import History

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
COLUMN = 7.0  # width of a figure, inches: shown 600 pixels wide, 8 points are 9.5 pixels high
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


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


def show_images(images: Tensor, titles: Sequence[str], alt: str, columns: int = 10) -> None:
    """Small pictures in rows: `images` `[N, 1, 28, 28]` (any scale), one title for each."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(COLUMN, 1.15 * rows * 10 / columns)
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles):
        axis.imshow(image.squeeze(0).numpy(), cmap="gray")
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.3)
    show(figure, alt)


def show_digits(split: Split, count: int = 20) -> None:
    """The first digits of a split, their labels above them."""
    labels = [str(int(label)) for label in split.labels[:count]]
    show_images(split.images[:count], labels, f"Handwritten digits: {', '.join(labels)}.")


def plot_bars(names: Sequence[str], values: Sequence[float], label: str, alt: str,
              write: Callable[[float], str] = "{:,.0f}".format) -> None:  # fmt: skip
    """Horizontal bars, the value at the end of each; the first name on top."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 0.6 + 0.34 * len(names)))
        bars = axis.barh(names, values, color=BLUE)
        axis.bar_label(bars, [write(value) for value in values], padding=3)
        axis.invert_yaxis()
        axis.set_xlabel(label)
        axis.margins(x=0.12)
        show(figure, alt)


def plot_layers(rows: Sequence[Layer]) -> None:
    """Where a network keeps its parameters, and where it does its work."""
    rows = [row for row in rows if row.parameters or row.macs]
    names = [f"{row.kind}  {'×'.join(map(str, row.output))}" for row in rows]
    with plt.rc_context(STYLE):
        size = (COLUMN, 0.8 + 0.28 * len(rows))
        figure, axes = plt.subplots(1, 2, sharey=True, figsize=size)
        _bars(axes[0], names, [row.parameters for row in rows], BLUE, "parameters")
        _bars(axes[1], names, [row.macs / 1e3 for row in rows], ORANGE, "thousand MACs per image")
        axes[0].invert_yaxis()
        figure.tight_layout()
        most, costly = max(rows, key=lambda r: r.parameters), max(rows, key=lambda r: r.macs)
        show(figure, f"Parameters and multiply-accumulates per layer. Most parameters: "
             f"{most.kind} with output {most.output}; most work: {costly.kind} with output "
             f"{costly.output}.")  # fmt: skip


def _bars(axis: Axes, names, values, colour: str, label: str) -> None:
    bars = axis.barh(range(len(names)), values, color=colour)
    axis.set_yticks(range(len(names)), names)
    axis.bar_label(bars, [f"{value:,.0f}" for value in values], padding=2, fontsize=8)
    axis.set_xlabel(label)
    axis.margins(x=0.18)


def plot_receptive_field(image: Tensor, rows: Sequence[Layer]) -> None:
    """What the middle value of some layers sees of an image `[1, 28, 28]`: one frame for each."""
    figure, axes = plt.subplots(
        1, len(rows), squeeze=False, figsize=(COLUMN, 1.4 + COLUMN / len(rows))
    )
    size = image.shape[-1]
    outlined = [Stroke(linewidth=5, foreground="white"), Normal()]  # it lies on black and on grey
    for axis, row in zip(axes.flat, rows):
        side = min(row.field, size)
        corner = (size - side) / 2 - 0.5
        axis.imshow(image.squeeze(0).numpy(), cmap="gray")
        frame = plt.Rectangle((corner, corner), side, side, fill=False, ec=ORANGE, lw=2.5)
        frame.set_path_effects(outlined)
        axis.add_patch(frame)
        axis.set_title(f"{row.kind}\n{row.name}\nsees {row.field}×{row.field}", fontsize=9)
        axis.set_xticks([0, size - 1])
        axis.set_yticks([0, size - 1])
        axis.set_xlabel("pixels")
    figure.tight_layout()
    fields = ", ".join(str(row.field) for row in rows)
    show(figure, f"Frames on a digit grow layer by layer: {fields} pixels wide.")


def plot_history(history: History) -> None:
    """Loss, accuracy and learning rate of a run, over its epochs."""
    epochs = range(1, len(history.seconds) + 1)
    with plt.rc_context(STYLE):
        figure, (loss, accuracy, lr) = plt.subplots(1, 3, figsize=(COLUMN * 1.1, 2.9))
        _two_lines(loss, epochs, history.train_loss, history.validation_loss, "loss")
        loss.set_yscale("log")
        runs = (history.train_accuracy, history.validation_accuracy)
        percent = [[100 * accuracy for accuracy in run] for run in runs]
        _two_lines(accuracy, epochs, *percent, "accuracy, %")
        _cut_below(accuracy, percent, max(90, min(percent[1]) - 1))
        figure.legend(*loss.get_legend_handles_labels(), frameon=False, ncol=2, loc="upper left")
        steps = len(history.batch_lr)
        lr.plot(
            [(i + 1) * len(epochs) / steps for i in range(steps)], history.batch_lr, color=GREEN
        )
        lr.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
        figure.tight_layout(rect=(0, 0, 1, 0.92))  # room for the legend
        show(figure, f"Loss, accuracy and learning rate over {len(epochs)} epochs on "
             f"{history.digits}: the validation loss ends at {history.validation_loss[-1]:.4f}, "
             f"the accuracy at {history.validation_accuracy[-1]:.2%}.")  # fmt: skip


def _cut_below(axis: Axes, runs: Sequence[Sequence[float]], lowest: float) -> None:
    """Begin the axis at `lowest`, and say what lies below it."""
    axis.set_ylim(lowest, 100)
    below = min(min(run) for run in runs)
    if below < lowest:
        axis.text(0.98, 0.03, f"not shown: down to {below:.0f} %", ha="right", fontsize=9,
                  transform=axis.transAxes)  # fmt: skip


def _two_lines(axis: Axes, epochs, train, validation, label: str) -> None:
    axis.plot(epochs, train, color=ORANGE, linestyle="--", label="training (augmented)")
    axis.plot(epochs, validation, color=BLUE, label="validation")
    axis.set(xlabel="epoch", ylabel=label)


def plot_confusion(evaluation: Evaluation) -> None:
    """The confusion matrix: mistakes shaded, right answers written on the diagonal."""
    counts = evaluation.confusion()
    mistakes = counts.clone().fill_diagonal_(0)
    figure, axis = plt.subplots(figsize=(5.2, 4.8))
    shade = axis.imshow(mistakes.numpy(), cmap="Blues")
    for i in range(10):
        for j in range(10):
            if counts[i, j]:
                dark = mistakes[i, j] > 0.6 * mistakes.max()
                axis.text(j, i, int(counts[i, j]), ha="center", va="center", fontsize=8,
                          color="white" if dark else GREY if i == j else "black")  # fmt: skip
    axis.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="written")
    figure.colorbar(shade, label="mistakes", shrink=0.8, ticks=MaxNLocator(integer=True))
    alt = f"Confusion matrix of {evaluation.total:,} digits with {int(mistakes.sum())} mistakes"
    if mistakes.any():
        i, j = divmod(int(mistakes.argmax()), 10)
        alt += f"; the most frequent: {i} read as {j}, {int(mistakes[i, j])} times"
    show(figure, alt + ".")


def show_mistakes(evaluation: Evaluation, split: Split, count: int = 12) -> None:
    """The surest mistakes: what was written, what was read, and how sure the network was."""
    worst = evaluation.mistakes()[:count]
    if not worst:
        print("There are no mistakes to show.")
        return
    titles = [f"{m.label} read as {m.guess}\n({m.guess_probability:.0%} sure)" for m in worst]
    images = split.images[torch.tensor([m.index for m in worst], dtype=torch.long)]
    alt = "The surest mistakes: " + ", ".join(title.replace("\n", " ") for title in titles)
    show_images(images, titles, alt, columns=6)


def plot_steps(names: Sequence[str], accuracies: Sequence[float], total: int) -> None:
    """Validation accuracy after each building step, as dots with their 95 % intervals."""
    percent = [100 * accuracy for accuracy in accuracies]
    intervals = [wilson_interval(round(accuracy * total), total) for accuracy in accuracies]
    below = [value - 100 * low for value, (low, _) in zip(percent, intervals)]
    above = [100 * high - value for value, (_, high) in zip(percent, intervals)]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 1.0 + 0.34 * len(names)))
        axis.errorbar(
            percent, range(len(names)), xerr=[below, above], fmt="o", color=BLUE, capsize=3
        )
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel(f"validation accuracy, % (bars: 95 % interval, {total:,} digits; one seed)")
        values = ", ".join(f"{name} {value:.1f} %" for name, value in zip(names, percent))
        show(figure, f"Validation accuracy after each step: {values}.")


def plot_batches(runs: dict[str, Sequence[float]]) -> None:
    """The loss of every batch, for one or several runs."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 2.8))
        styles = ((BLUE, "-", 2.5), (ORANGE, "--", 1.2), (GREEN, ":", 1.5))
        for (name, losses), (colour, dash, width) in zip(runs.items(), cycle(styles)):
            axis.plot(losses, color=colour, linestyle=dash, linewidth=width, label=name)
        axis.set(xlabel="batch", ylabel="loss", ylim=(0, None))
        axis.legend(frameon=False)
        ends = ", ".join(f"{name} from {run[0]:.2f} to {run[-1]:.2f}" for name, run in runs.items())
        show(figure, f"The loss of each batch falls: {ends}.")


def plot_difference(name: str, one: Sequence[float], other: Sequence[float]) -> None:
    """How far two runs that should be the same lie apart, batch by batch: `one` minus `other`."""
    apart = [a - b for a, b in zip(one, other)]
    largest = max(map(abs, apart))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 2.4))
        axis.plot(range(1, len(apart) + 1), apart, "o", color=BLUE, markersize=3)
        axis.axhline(0, color=GREY, linewidth=1)
        axis.set(xlabel="batch", ylabel=name)
        # An empty picture would hide that all is zero: show what float32 could tell apart.
        axis.set_ylim(-max(1.2 * largest, 1e-6), max(1.2 * largest, 1e-6))
        show(figure, f"The {name} of {len(apart)} batches: at most {largest:.1g} from zero.")


def plot_seeds(results: dict[str, Sequence[float]], total: int) -> None:
    """Accuracies of several seeds for each network, one dot a run, and a tick at the mean."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 0.9 + 0.5 * len(results)))
        for row, (accuracies, marker) in enumerate(zip(results.values(), cycle("osD^"))):
            percent = [100 * accuracy for accuracy in accuracies]
            axis.plot(percent, [row] * len(percent), marker, color=BLUE, alpha=0.7)
            axis.plot(sum(percent) / len(percent), row, "|", color=ORANGE, ms=22, mew=2)
        axis.set_yticks(range(len(results)), results)
        axis.set_ylim(len(results) - 0.5, -0.5)
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel(f"validation accuracy on {total:,} digits, % (dots: seeds, bar: mean)")
        runs = "; ".join(
            f"{name} {', '.join(f'{value:.2%}' for value in values)}"
            for name, values in results.items()
        )
        show(figure, f"Validation accuracy of each seed: {runs}.")


def plot_shares(seconds: dict[str, float], unit: str) -> None:
    """Where the time of one `unit` goes: a bar for each part, the longest first."""
    parts = sorted(seconds.items(), key=lambda part: part[1], reverse=True)
    total = sum(seconds.values())
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 0.9 + 0.32 * len(parts)))
        bars = axis.barh([name for name, _ in parts], [1000 * value for _, value in parts],
                         color=BLUE)  # fmt: skip
        axis.bar_label(bars, [f"{value / total:.0%}" for _, value in parts], padding=4)
        axis.invert_yaxis()
        axis.set_xlabel(f"milliseconds of {unit}")
        shares = ", ".join(f"{name} {value / total:.0%}" for name, value in parts)
        show(figure, f"Shares of the time of {unit}: {shares}.")


def plot_ladder(seconds: dict[str, float], limit: float) -> None:
    """Seconds per epoch after each step of a list of improvements, and the limit as a line."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 1.2 + 0.36 * len(seconds)))
        bars = axis.barh(list(seconds), list(seconds.values()), color=BLUE)
        texts = [f"{value:.{0 if value >= 10 else 1}f} s" for value in (*seconds.values(), limit)]
        axis.bar_label(bars, texts[:-1], padding=4)
        axis.axvline(limit, color=ORANGE, linestyle="--", label=f"limit: {texts[-1]}")
        axis.invert_yaxis()
        axis.set_xlabel("seconds per epoch of 50,000 digits (medians, scaled from some batches)")
        axis.legend(frameon=False, loc="lower right")
        steps = ", ".join(f"{name} {text}" for name, text in zip(seconds, texts))
        show(figure, f"Seconds per epoch after each step: {steps}; the limit is {texts[-1]}.")


Interval = tuple[float, float, float]  # the mean, and the ends


def plot_dots(
    results: Mapping[str, Sequence[float]], label: str, published: Mapping[str, float]
) -> None:
    """A row of dots for each name, one a run; a bar at its mean, a cross where it was published."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 0.9 + 0.5 * len(results)))
        for row, (name, values) in enumerate(results.items()):
            percent = [100 * value for value in values]
            axis.plot(percent, [row] * len(percent), "o", color=BLUE, alpha=0.5)
            axis.plot(sum(percent) / len(percent), row, "|", color="black", ms=22, mew=2)
            if name in published:
                axis.plot(100 * published[name], row, "X", color=ORANGE, ms=10)
        _rows(axis, results)
        axis.set_xlabel(f"{label}, % (dots: runs, bar: mean, cross: published)")
        claims = {name: f", published {claim:.2%}" for name, claim in published.items()}
        texts = [f"{name} {_range(values)}{claims.get(name, '')}"
                 for name, values in results.items()]  # fmt: skip
        show(figure, f"{label} of each run: {'; '.join(texts)}.")


def plot_intervals(
    rows: Mapping[str, Interval], label: str, bound: float | None = None, unit: str = "points"
) -> None:
    """Dots with their 95 % intervals, one row for each name, and a dashed line at a bound."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 1.0 + 0.34 * len(rows)))
        middle, low, high = ([100 * row[part] for row in rows.values()] for part in range(3))
        below = [value - end for value, end in zip(middle, low)]
        above = [end - value for value, end in zip(middle, high)]
        axis.errorbar(middle, range(len(rows)), xerr=[below, above], fmt="o", color=BLUE, capsize=3)
        line = ""
        if bound is not None:
            axis.axvline(100 * bound, color=ORANGE, linestyle="--")
            line = f" A line at {100 * bound:.2f}."
        _rows(axis, rows)
        axis.set_xlabel(f"{label}, {unit} (bars: 95 % interval)")
        texts = [
            f"{name} {value:.2f} [{start:.2f}, {end:.2f}]"
            for name, value, start, end in zip(rows, middle, low, high)
        ]
        show(figure, f"{label}, {unit}: {'; '.join(texts)}.{line}")


def plot_trajectories(
    runs: Sequence[Sequence[float]], published: Mapping[int, float], label: str
) -> None:
    """The accuracy of each run over its epochs, their mean, and crosses where it was published."""
    epochs = range(1, len(runs[0]) + 1)
    mean = [100 * sum(values) / len(runs) for values in zip(*runs)]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 3.2))
        for number, run in enumerate(runs):
            axis.plot(epochs, [100 * value for value in run], color=GREY, lw=0.8,
                      label=None if number else "each run")  # fmt: skip
        axis.plot(epochs, mean, color=BLUE, lw=2.5, label="mean")
        axis.plot(published.keys(), [100 * value for value in published.values()], "X",
                  color=ORANGE, ms=10, label="published")  # fmt: skip
        axis.set(xlabel="epoch", ylabel=f"{label}, %")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False)
        claims = ", ".join(f"epoch {epoch} {value:.2%}" for epoch, value in published.items())
        show(figure, f"{label} of {len(runs)} runs over {len(mean)} epochs: the mean rises from "
             f"{mean[0]:.2f} to {mean[-1]:.2f} %. Published: {claims}.")  # fmt: skip


def plot_grid(tables: Mapping[str, Sequence[Sequence[float]]], rows: Sequence, columns: Sequence,
              row_label: str, column_label: str, label: str) -> None:  # fmt: skip
    """Accuracies over two settings, a field for each pair, its value in it; one table a name."""
    values = [100 * value for table in tables.values() for row in table for value in row]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(tables), squeeze=False, sharey=True, figsize=(COLUMN, 2.6)
        )
        for axis, (name, table) in zip(axes.flat, tables.items()):
            percent = [[100 * value for value in row] for row in table]
            axis.imshow(percent, cmap="Blues", vmin=min(values) - 1, vmax=max(values), alpha=0.6)
            for y, row in enumerate(percent):
                for x, value in enumerate(row):
                    axis.text(x, y, f"{value:.1f}", ha="center", va="center")
            axis.set(xticks=range(len(columns)), yticks=range(len(rows)), title=name)
            axis.set_xticklabels(columns)
            axis.set_yticklabels(rows)
            axis.set_xlabel(column_label)
        axes[0, 0].set_ylabel(row_label)
        figure.tight_layout()
        show(figure, f"{label}, %, over {row_label} and {column_label}: from {min(values):.1f} to "
             f"{max(values):.1f}.")  # fmt: skip


def plot_curves(
    panels: Mapping[str, Mapping[str, Sequence[Interval]]], x_label: str, label: str
) -> None:
    """Small pictures, one a name: curves over 0, 1, 2, … with their 95 % intervals."""
    columns = 4
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            -(-len(panels) // columns), columns, squeeze=False, sharex=True, sharey=True,
            figsize=(COLUMN, 1.7 * -(-len(panels) // columns)),
        )  # fmt: skip
        for axis in axes.flat[len(panels) :]:
            axis.axis("off")
        for axis, (title, curves) in zip(axes.flat, panels.items()):
            axis.set_title(title, fontsize=10)
            styles = cycle(((BLUE, "-o"), (ORANGE, "--s")))
            for (name, points), (colour, style) in zip(curves.items(), styles):
                middle, low, high = ([100 * point[part] for point in points] for part in range(3))
                axis.plot(middle, style, color=colour, ms=3.5, label=name)
                axis.fill_between(range(len(points)), low, high, color=colour, alpha=0.25, lw=0)
        axes[0, 0].legend(frameon=False, fontsize=8)
        figure.supxlabel(x_label)
        figure.supylabel(f"{label}, %")
        figure.tight_layout()
        ends = "; ".join(_end(title, curves) for title, curves in panels.items())
        show(figure, f"{label} at the last of {x_label}: {ends}.")


def _end(title: str, curves: Mapping[str, Sequence[Interval]]) -> str:
    return f"{title}: " + ", ".join(
        f"{name} {points[-1][0]:.0%}" for name, points in curves.items()
    )


def _rows(axis, names: Mapping) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2%} to {max(values):.2%}"


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


def show_class_activation_maps(
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


def plot_measured_receptive_fields(rows: Sequence[Layer], fields: Sequence[Tensor]) -> None:
    """How far each pixel moves the middle value of some layers, and the computed frame around it.

    `fields`: for each row of the layer table, `[28, 28]` of `measure_receptive_field`.
    """
    size = (COLUMN, 1.0 + COLUMN / len(rows))
    figure, axes = plt.subplots(1, len(rows), squeeze=False, figsize=size)
    for axis, row, field in zip(axes.flat, rows, fields):
        axis.imshow((field / field.max()).numpy(), cmap="gray_r", vmin=0, vmax=1)
        top, left, height, width = bounding_box(field)
        axis.set_title(f"{row.name}\ncomputed: {row.field}\nmeasured: {height}", fontsize=10)
        frame = plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=ORANGE, lw=2)
        axis.add_patch(frame)
        axis.set_xticks([0, 27])
        axis.set_yticks([0, 27])
        axis.set_xlabel("pixels")
    figure.tight_layout()
    sides = ", ".join(f"{row.name} {bounding_box(field)[2]}" for row, field in zip(rows, fields))
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
