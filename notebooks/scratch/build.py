"""Builds notebook 11 (scratch). Cells in order; ids are stable."""
import nbformat, re, sys
from nbformat.v4 import new_notebook, new_markdown_cell, new_code_cell
cells = []
def md(id, text): cells.append(new_markdown_cell(text.strip("\n"), id=id))
def code(id, text, *tags):
    c = new_code_cell(text.strip("\n"), id=id)
    if tags: c.metadata["tags"] = list(tags)
    cells.append(c)
IGN = "nbval-ignore-output"

md("11-head", """
# 11 · Smaller and better

[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/mnist-lab/mnist-lab/blob/main/notebooks/11_smaller_and_better.ipynb) [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/mnist-lab/mnist-lab/main?urlpath=lab/tree/notebooks/11_smaller_and_better.ipynb)

**Question:** how good can a network of at most 20,000, 8,000, 2,000 or 700 parameters be? And how
do you look for one without fooling yourself?

**Cost:** about 4 minutes and 1,000 MB of memory on 1 core, measured with MNIST.

**You need:** about 80 minutes, exercises included. **Before:** notebooks 03, 06 and 09.

**After this you can**

- say what a separable convolution and a shared block save: parameters, operations, seconds;
- search on validation digits, and say how much the search has flattered what it found;
- put an idea to the test with paired seeds, and keep it or drop it;
- read a picture of error against parameters, and ask of every point how it came about.

The trainings of sections 1, 4, 5 and 7 are read from records: their accuracies are MNIST's,
whatever digits you have at hand. One network is trained here and now, in section 6.
""")
code("11-setup", """
# On Colab, install the course's library; everywhere else this cell does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("mnist_lab") is None:
    %pip install --quiet --no-deps anywidget psygnal git+https://github.com/mnist-lab/mnist-lab@main
""")
code("11-parameters", """
dataset = "auto"  # "auto", "mnist" or "digits"
num_epochs = None  # of the training in section 6; None: 20 on MNIST, 6 on the small digits
num_digits = 1_000  # test digits under each corruption in section 7
""", "parameters")
code("11-imports", """
import time
from dataclasses import replace
from statistics import mean, median

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from torch import nn
""")
code("11-course", """
from mnist_lab import (
    CORRUPTIONS,
    check_requirements,
    corrupt,
    count_macs,
    count_parameters,
    evaluate,
    fit,
    load_data,
    load_pretrained,
    paired_interval,
    predict,
    seed_interval,
)
from mnist_lab.exercises import guess, quick
from mnist_lab.layers import list_layers
from mnist_lab.networks import Net2k
from mnist_lab.plots import BLUE, COLUMN, GREEN, GREY, ORANGE, STYLE
from mnist_lab.plots import plot_dots, plot_history, plot_intervals, show
""")
code("11-studies", """
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.records import load_published, load_records, runs_of, select_runs
from mnist_lab.studies.public_networks import ANCHORS, anchor
from mnist_lab.studies.roofline import layer_costs
from mnist_lab.validation import Count, check, whole
""")
code("11-data", """
plt.rcParams.update(STYLE)
data = load_data(dataset)
if num_epochs is None:
    num_epochs = 20 if data.is_mnist else 6
check("num_epochs", num_epochs, Count)
check("num_digits", num_digits, whole(100))
print(data)
""", "mnist")
md("quick11text", """
**Before you start:** three quick questions. Put a letter in place of the dots and run the cell.
""")
code("quick11", """
quick("11", 1, answer=...)
quick("11", 2, answer=...)
quick("11", 3, answer=...)
""")

md("11-s1", """
## 1. What is claimed

How few parameters does it take? People have competed in public, and most of the results are single
runs. Here are some, with what is said of how each came about.
""")
code("11-anchors", """
for one in ANCHORS:
    print(f"{one.parameters:>7,} parameters  {one.accuracy:.2%}  {one.protocol}")
""")
md("11-anchors-target", """
"Best epoch on the test digits" means: the test digits were read after every epoch, and the highest
figure was told. We trained three of these networks again, written afresh from their descriptions
(sources at the end), five seeds each, on all 60,000 digits as their authors did.

```
python -m mnist_lab public-networks
```

Each run read the test digits after every epoch, to have both figures: the **last** epoch, and the
**best** one.

**Target:** guess by how many points the best epoch lies above the last one, on average.
""")
code("11-guess-best", """
my_gap = ...  # points
""")
code("11-best-last", """
again = load_published("public")["runs"]
tests = {name: [r["test_accuracy"] for r in again if r["network"] == name] for name in
         dict.fromkeys(run["network"] for run in again)}
gaps = [max(run["test_accuracy"]) - run["test_accuracy"][-1] for run in again]
guess(my_gap, 100 * mean(gaps), "points", digits=2)
""")
code("11-public-dots", """
dots, claims = {}, {}
for name, runs in tests.items():
    dots[f"{name}, last epoch"] = [accuracies[-1] for accuracies in runs]
    dots[f"{name}, best epoch"] = [max(accuracies) for accuracies in runs]
    claims[f"{name}, best epoch"] = anchor(name).accuracy
plot_dots(dots, "test accuracy", claims)
""", IGN)
md("11-public-analysis", """
ANALYSIS-PUBLIC
""")

md("11-s2", """
## 2. A convolution in two steps

Where do the parameters go? A 3×3 convolution from 28 maps to 28 has a window for each *pair* of an
incoming and an outgoing map. It does two things at once: it looks around, and it mixes the maps. A
**separable** convolution does one after the other. First, **depthwise**: every map is convolved by
itself, with one window of its own (`groups=28` makes 28 convolutions side by side). Then,
**pointwise**: a 1×1 convolution mixes the maps, as the bottleneck did in notebook 06.
""")
code("11-links", '''
def draw_links(axis, between, title):
    """Four maps above and four below; a thick line is a 3×3 window, a thin one a single weight."""
    for row, (width, pairs) in enumerate(between):
        look = {"color": BLUE if width > 1 else ORANGE, "lw": width, "ls": "-", "zorder": 1}
        for before, after in pairs:
            axis.plot([before, after], [-row, -row - 1], **look)
    for row in range(len(between) + 1):
        axis.scatter(range(4), [-row] * 4, s=180, color="white", ec="black", zorder=2)
    axis.set(title=title, ylim=(-2.3, 0.3))
    axis.axis("off")


everything = [(before, after) for before in range(4) for after in range(4)]
itself = [(place, place) for place in range(4)]
''')
code("11-links-figure", """
figure, axes = plt.subplots(1, 2, figsize=(COLUMN, 2.4), layout="constrained")
draw_links(axes[0], [(4, everything)], "full: 16 windows of 3×3")
draw_links(axes[1], [(4, itself), (1, everything)], "separable: 4 windows of 3×3, then 16 weights")
show(figure, "Four maps to four: full, 16 windows of 9; separable, 4 windows of 9 and 16 weights.")
""")
md("11-count-target", """
**Target:** how many weights have the two ways from 28 maps to 28? Compute both before you run this.
""")
code("11-guess-separable", """
my_weights = ...  # of the separable one
""")
code("11-count", """
full = nn.Conv2d(28, 28, kernel_size=3, bias=False)
separable = nn.Sequential(
    nn.Conv2d(28, 28, kernel_size=3, groups=28, bias=False),
    nn.Conv2d(28, 28, kernel_size=1, bias=False),
)
guess(my_weights, count_parameters(separable))
print(f"full {count_parameters(full):,}, separable {count_parameters(separable):,}")
""")
md("11-count-analysis", """
**Analysis:** a seventh of the weights, and a seventh of the multiply-accumulates, since every
weight is used once at every place. What is lost? A full convolution has a window of its own for
every pair; in a separable one all windows on one incoming map are the same but for a factor. Whether
that matters, only training tells. (Whether it takes a seventh of the time: section 8.)

## 3. The same weights again

A budget of 2,000 parameters holds a single such block beside a first convolution and a linear layer.
One block sees
little of the digit. But a block that makes 28 maps of 28 can be applied to what it has made
*itself*: again and again, always the same weights, as a loop in a program runs the same lines. Let
us build that.
""")
code("11-first", """
torch.manual_seed(0)
first = nn.Conv2d(1, 28, kernel_size=3, bias=False)
pool = nn.MaxPool2d(2)
x = pool(first(torch.randn(1, 1, 28, 28)))
print("after the first convolution and the pooling:", *x.shape[1:])
""")
code("11-again", """
for use in range(1, 6):
    x = separable(x)
    print(f"after use {use}:", *x.shape[1:])
""")
md("11-norms-text", """
Each use takes a border of one pixel away. Five uses leave 3×3 places, whose mean a linear layer
turns into ten numbers.

One thing is not shared. Batch norm brings each map to mean 0 and deviation 1 by figures that it
learns from the maps that come. What comes out of the first use is another thing than what comes out
of the fifth. So each use has **a norm of its own**: 56 parameters that tell the uses apart.

**Target:** the whole network: the first convolution with its norm, a block with five norms, a linear
layer from 28 to 10 with its bias. Add it up.
""")
code("11-guess-2k", """
my_total = ...
""")
code("11-2k", """
network = Net2k()
guess(my_total, count_parameters(network))
""")
code("11-2k-lines", """
for layer in list_layers(network):
    if layer.kind in ("Conv2d", "BatchNorm2d", "Linear"):
        print(f"{layer.name:<12}{'×'.join(map(str, layer.output)):<10}{layer.parameters:>5}"
              f"   sees {layer.field}×{layer.field}")
""")
md("11-2k-analysis", """
**Analysis:** the block's weights are counted where they stand first; its other uses cost nothing
but their norms. Yet each use sees further: from the last maps on a value depends on a square that
covers most of the digit.

How different are the uses to the norms? These are the deviations that each norm has learned to
divide by, in the trained network:
""")
code("11-deviations", """
trained = load_pretrained("2k")
for use, norm in enumerate(trained.norms):
    low, middle, high = np.quantile(norm.running_var.sqrt(), (0.1, 0.5, 0.9))
    which = f"use {use} of the block" if use else "first convolution"
    print(f"{which:<20}median {middle:.2f}, four of five channels {low:.2f} to {high:.2f}")
""")
md("11-s4", "S4")
code("11-ideas", '''
ideas = load_published("ideas")["runs"]


def ends(network, case):
    """The validation accuracy after the last epoch, by seed."""
    these = [run for run in ideas if (run["network"], run["case"]) == (network, case)]
    return {run["seed"]: run["validation_accuracy"][-1] for run in these if not run["diverged"]}


def effects(network):
    """What each case changes against the network as chosen: mean, and the interval's ends."""
    cases = dict.fromkeys(run["case"] for run in ideas if run["network"] == network)
    chosen, found = ends(network, "as chosen"), {}
    for case in [case for case in cases if case != "as chosen"]:
        pairs = [(chosen[seed], end) for seed, end in ends(network, case).items()]
        change = paired_interval(*zip(*pairs), cases=len(cases) - 1)
        found[case] = change.mean, change.low, change.high
    return dict(sorted(found.items(), key=lambda item: item[1][0]))
''')
code("11-guess-idea", """
my_idea = ...  # the change that costs most, such as "no linear layer"
""")
code("11-effects-2k", """
changes = effects("2k")
guess(my_idea, next(iter(changes)))
plot_intervals(changes, "validation accuracy against Net2k as chosen", bound=0)
""", IGN)
md("11-effects-2k-analysis", "IDEAS-2K")
code("11-effects-others", """
for name in ("20k", "8k", "700"):
    plot_intervals(effects(name), f"against the network of {name} as chosen", bound=0)
""", IGN)
md("11-ideas-analysis", "IDEAS-REST")

md("11-s5", "S5")
code("11-trials", """
BUDGETS = ("20k", "8k", "2k", "700")
trials = {budget: load_published(f"search-{budget}")["runs"] for budget in BUDGETS}
for budget, runs in trials.items():
    ended = sum(run["state"] == "pruned" for run in runs)
    print(f"{budget:>4}: {len(runs)} trials, {ended} of them ended early")
""")
code("11-trials-figure", """
figure, axes = plt.subplots(2, 2, figsize=(COLUMN, 4.4), layout="constrained")
told = []
for axis, (budget, runs) in zip(axes.flat, trials.items()):
    for number, run in enumerate(runs):
        whole_one = run["state"] == "complete"
        height = max(100 * run["validation_accuracy"][-1], 97)
        axis.plot(number, height, "o" if whole_one else "x", color=BLUE if whole_one else GREY)
    complete = [100 * run["validation_accuracy"][-1] for run in runs if run["state"] == "complete"]
    axis.axhline(max(complete), color=ORANGE, ls="--", lw=1)
    axis.set(title=f"{budget}: best {max(complete):.2f} %", xlabel="trial")
    told.append(f"{budget} {max(complete):.2f}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
figure.supylabel("validation accuracy, % (at 97: or lower)", fontsize=10)
show(figure, f"Validation accuracy of each trial; the best, in %: {', '.join(told)}.")
""", IGN)
md("11-flattery-target", "FLATTERY")
code("11-guess-flattery", """
my_flattery = ...  # points
""")
code("11-flattery", """
fresh = load_published("best-trials")["runs"]
rows, best, lost = {}, {}, []
for budget in BUDGETS:
    mine = [run for run in fresh if run["budget"] == budget]
    validation = [run["validation_accuracy"][-1] for run in mine]
    test = [run["test_accuracy"] for run in mine]
    rows[f"{budget}, validation"] = mean(validation), *seed_interval(validation)
    rows[f"{budget}, test"] = mean(test), *seed_interval(test)
    best[f"{budget}, validation"] = mine[0]["before"]
    lost.append(mine[0]["before"] - mean(validation))
guess(my_flattery, 100 * mean(lost), "points", digits=2)
""")
code("11-flattery-figure", """
plot_intervals(rows, "accuracy of fresh seeds; cross: the best trial", unit="%", crosses=best)
""", IGN)
md("11-flattery-analysis", "FLATTERY-ANALYSIS")

md("11-s6", "S6")
code("11-train", """
torch.manual_seed(0)
smallest = Net2k()
recipe = shortened(NETWORKS["2k"].recipe, num_epochs)
if not data.is_mnist:  # too few batches to average weights over hundreds of them
    recipe = replace(recipe, ema_decay=0.0, batch_size=32)
history = fit(smallest, data, recipe)
""", IGN)
code("11-train-figure", """
plot_history(history)
""", IGN)
code("11-train-check", """
result = evaluate(smallest, data.validation, recipe)
assert result.accuracy > (0.985 if data.is_mnist else 0.7)
print(f"validation: {result}")
""", IGN)
md("11-train-analysis", "TRAIN-ANALYSIS")

md("11-s7", "S7")
code("11-ledger", '''
everything = load_records()
OURS = {"20k": "Net20k", "8k": "Net8k", "2k": "Net2k", "700": "Net700"}


def figures(network, split="random"):
    """The runs of a network, their test accuracies, and the interval of the mean."""
    runs = select_runs(everything, network, split)
    test = [run["test"]["correct"] / run["test"]["total"] for run in runs]
    return runs, test, seed_interval(test)
''')
code("11-ten-seeds", """
plot_dots({name: figures(name)[1] for name in OURS.values()}, "test accuracy")
""", IGN)
code("11-ledger-lines", """
for name in OURS.values():
    runs, test, (low, high) = figures(name)
    minutes = median(sum(run["seconds_per_epoch"]) for run in runs) / 60
    print(
        f"{name:<7}{runs[0]['parameters']:>7,} parameters  {len(runs)} seeds  "
        f"{mean(test):.2%} [{low:.2%}, {high:.2%}]  {minutes:.0f} minutes"
    )
""")
md("11-frontier-text", "FRONTIER")
code("11-points", '''
race = load_published("speed/race")["runs"]
strided = [run["test"] for run in race if run.get("goal") == 0.994]
points = {"StridedNet": (23_658, strided)}
for name in ("GapNet", "BottleneckNet", *OURS.values()):
    runs, test, _ = figures(name)
    points[name] = runs[0]["parameters"], test
for name, runs in tests.items():
    points[f"{name} again"] = anchor(name).parameters, [run[-1] for run in runs]


def errors(test):
    """The mean error in %, and how far the interval reaches below and above it."""
    low, high = seed_interval(test)
    return 100 * (1 - mean(test)), 100 * (high - mean(test)), 100 * (mean(test) - low)
''')
code("11-frontier", """FRONTIER-FIGURE""", IGN)
md("11-frontier-analysis", "FRONTIER-ANALYSIS")
code("11-requirements", """
for key, name in OURS.items():
    runs, test, (low, high) = figures(name)
    epochs = runs[0]["recipe"]["num_epochs"]
    rows = check_requirements(NETWORKS[key].network(), epochs, mean(test), low, high)
    print(name, *(f"  {row}" for row in rows), sep="\\n")
""")
md("11-robust-text", "ROBUST")
code("11-robust", '''
shuffled = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
sample = data.test.take(shuffled[:num_digits])


def bears(name):
    """The mean accuracy over all corruptions, at the strengths 0 to 5."""
    net, recipe = load_pretrained(name), NETWORKS[name].recipe
    found = []
    for kind in CORRUPTIONS:
        spoilt = [sample] + [
            replace(sample, images=corrupt(sample.images, kind, s)) for s in range(1, 6)
        ]
        answers = [predict(net, one, recipe).argmax(1) for one in spoilt]
        found.append([(a == sample.labels).float().mean().item() for a in answers])
    return np.mean(found, 0)
''')
code("11-robust-figure", "ROBUST-FIGURE", IGN)
md("11-robust-analysis", "ROBUST-ANALYSIS")

md("11-s8", "S8")
code("11-clock", '''
def milliseconds(module, x, turns=7, count=4):
    """Of a forward and a backward pass, the median of some turns."""
    taken = []
    for _ in range(turns):
        start = time.perf_counter()
        for _ in range(count):
            module(x).sum().backward()
        taken.append(1000 * (time.perf_counter() - start) / count)
    return median(taken[1:])  # the first warms up
''')
code("11-clock-blocks", "CLOCK", IGN)
md("11-clock-analysis", "CLOCK-ANALYSIS")
code("11-intensity", """
for cost in layer_costs(Net2k(), batch_size=256)[:7]:
    layer = cost.layer
    size = "×".join(map(str, layer.output))
    print(f"{layer.name:<12}{size:<10}{cost.operations / cost.bytes:6.1f} operations per byte")
""")
md("11-limit", """
So what helps is to move less, or nearer: **pooling right behind the first convolution**, which
leaves a quarter of the values to all that follows; **channels last**, where the numbers that belong
together lie together (`fit` does that for every network); and **batches** whose maps fit in the
cache. Could the two steps be folded into one 3×3 convolution, whose windows are the products of
both? That is exact, and it is the full convolution again: compare its rows above.

**Target:** a whole step of Net2k in batches of different sizes. Which will be the cheapest per digit?
""")
code("11-batches", """
shared = Net2k().to(memory_format=torch.channels_last)
for size in (32, 64, 128, 256, 512, 1024):
    x = torch.randn(size, 1, 28, 28).to(memory_format=torch.channels_last)
    taken = milliseconds(shared, x, turns=5, count=2)
    print(f"batches of {size:>5}: {taken:6.1f} ms, {1000 * taken / size:4.0f} µs for a digit")
""", IGN)
md("11-batches-analysis", """
**Analysis:** small batches pay for every call, large ones for maps that no cache holds; between them
is a broad valley. Where it lies depends on your machine. The recipe takes 256 digits.
""")
md("11-recap", "RECAP")
exec(open("/tmp/me/nb/texts.py").read())
for c in cells:
    if c.source in TEXTS: c.source = TEXTS[c.source].strip("\n")
missing = [c.id for c in cells if re.fullmatch(r"[A-Z0-9-]+", c.source)]
print("missing", missing)
nb = new_notebook(cells=cells)
nb.metadata = nbformat.read("/work/main/notebooks/10_where_does_the_time_go.ipynb", 4).metadata
out = sys.argv[1] if len(sys.argv) > 1 else "/tmp/me/nb/11_smaller_and_better.ipynb"
nbformat.write(nb, out)
