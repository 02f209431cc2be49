"""Pictures of many runs, in the manner of `figures`: each with a text for the blind.

Accuracies and differences come as fractions, and are drawn in per cent and in points.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from mnist_lab.figures import BLUE, COLUMN, GREY, ORANGE, STYLE, show

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
