TEXTS["S6"] = """
## 6. Train it yourself

2,000 parameters train quickly. Here are 20 of the recipe's epochs on MNIST, its schedule in
proportion, so that it still ends calmly. (The test digits stay closed: they are for whole trainings,
and those are in the records.)

**Target:** write down the validation accuracy that you expect of it. GapNet, with seven times the
parameters, comes to 99.39 % in its author's single run.
"""
TEXTS["TRAIN-ANALYSIS"] = """
**Analysis:** look at the two lines of the accuracy. If training lies well below validation at the
end, the network is too small for what augmentation asks of it; if it lies above, it begins to learn
its digits by heart, even at this size. And look how the validation line shakes as long as the rate
is high, and settles when it falls: who picks the best epoch picks a lucky shake.
"""
TEXTS["FRONTIER"] = """
**The frontier.** Error against parameters, both logarithmic: each step down or to the left is a
factor. A point without a bar is a single published figure.

**Target:** where would a network lie that is as good as GapNet with a tenth of its parameters?
"""
TEXTS["FRONTIER-FIGURE"] = """
LOOKS = {
    "public: the best epoch on the test digits": ("x", ORANGE),
    "public: one run, or the mean of many": ("^", ORANGE),
    "public, trained again: mean of five last epochs": ("D", GREY),
    "of this course: mean of last epochs": ("o", BLUE),
}
best_epoch, single, retrained, own = LOOKS
BESIDE = {"GapNet": (-14, -28), "BottleneckNet": (-30, 12), "Net8k": (-40, -4), "Net2k": (-40, -4)}
SMALL = {"textcoords": "offset points", "fontsize": 9}
figure, axis = plt.subplots(figsize=(COLUMN, 5), layout="constrained")
for one in ANCHORS:
    marker, colour = LOOKS[best_epoch if "best epoch" in one.protocol else single]
    axis.plot(one.parameters, 100 * (1 - one.accuracy), marker, color=colour, ms=8)
for name, (size, test) in points.items():
    marker, colour = LOOKS[retrained if name.endswith("again") else own]
    middle, below, above = errors(test)
    axis.errorbar(size, middle, [[below], [above]], fmt=marker, color=colour, capsize=3)
    if colour == BLUE:
        axis.annotate(name, (size, middle), BESIDE.get(name, (8, 2)), **SMALL)
for label, (marker, colour) in LOOKS.items():
    axis.plot([], [], marker, color=colour, label=label)
axis.set(xscale="log", yscale="log", xlabel="parameters", ylabel="test error, % (bar: 95 %)")
axis.set_yticks((0.3, 0.4, 0.5, 0.7, 1, 1.5, 2), ("0.3", "0.4", "0.5", "0.7", "1", "1.5", "2"))
axis.minorticks_off()
axis.xaxis.set_major_formatter("{x:,.0f}")
axis.grid(alpha=0.3)
axis.legend(frameon=False, fontsize=9)
told = [f"{name} {size:,}: {errors(test)[0]:.2f}" for name, (size, test) in points.items()]
show(figure, f"Mean test error in % by parameters: {'; '.join(told)}.")
"""
TEXTS["ROBUST"] = """
**And on spoilt digits?** The largest of the four beside the two published networks, each with the
weights of its seed 0, under the twelve corruptions of notebook 09, section 5.

**Target:** Net20k practised more ways of turning and shifting than GapNet. Where will that help?
"""
TEXTS["ROBUST-FIGURE"] = """
figure, axis = plt.subplots(figsize=(COLUMN, 3), layout="constrained")
told = []
styles = zip(("20k", "bottleneck", "gap"), ("o-", "s--", "^:"), (BLUE, ORANGE, GREEN))
for name, style, colour in styles:
    curve = 100 * bears(name)
    axis.plot(curve, style, color=colour, label=NETWORKS[name].network.__name__)
    told.append(f"{name} {', '.join(f'{value:.0f}' for value in curve)}")
axis.set(xlabel="strength (0: nothing is spoilt)", ylabel="mean accuracy, %", ylim=(0, 103))
axis.legend(frameon=False)
show(figure, f"Mean accuracy in % at the strengths 0 to 5: {'; '.join(told)}.")
"""
TEXTS["CLOCK"] = """
maps = torch.randn(256, 28, 13, 13)
for layout in (torch.contiguous_format, torch.channels_last):
    x = maps.to(memory_format=layout).requires_grad_()
    for name, block in (("full", full), ("separable", separable)):
        taken = milliseconds(block.to(memory_format=layout), x)
        print(f"{str(layout).removeprefix('torch.'):<20}{name:<11}{taken:5.1f} ms")
"""
TEXTS["S7"] = """
## 7. How good are they?

The four networks, trained whole: ten seeds each on 50,000 digits, the last epoch counts, and each
run read the test digits once, after it. Architecture and recipe of each were fixed by a commit
before its first such run (Net20k and Net8k first, then Net2k, Net700 last).

```
python -m mnist_lab trainings 20k 8k 2k 700 --seeds 10
```

**What had been seen before.** The validation digits, by all trials of section 5 and those made by
hand; they are published beside each other. Before these, nine architectures had been tried on a
GPU, on the same validation digits. Test digits had been read by none of the four before it was
fixed; but when the later ones were, test accuracies of the earlier ones had been seen. And nobody is
innocent of MNIST: the published claims of section 1, some of them chosen on the test digits, had
been read before the first trial, and so had the test accuracies of the two published networks.
"""
TEXTS["ANALYSIS-PUBLIC"] = """
**Analysis:** look at each network's two rows. The dots of "best epoch" lie to the right of those of
"last epoch": that is what reading the test digits after each epoch buys, and it is bought for
nothing, because in use nobody knows which epoch would have been best. And look where the cross
lies among the dots: one run, told as *the* accuracy, is one of these dots.
"""
TEXTS["IDEAS-2K"] = """
**Analysis:** ANALYSIS-IDEAS-TO-WRITE
"""
TEXTS["IDEAS-REST"] = """
**Analysis:** ANALYSIS-IDEAS-REST-TO-WRITE
"""
TEXTS["FLATTERY-ANALYSIS"] = """
**Analysis:** each cross that lies to the right of its interval is a winner that was lucky. Its
settings are not worse for that: only its figure was. And it is the more lucky, the more trials it
had to beat. That is why no figure of a search is a result: what was chosen is trained again, and
read by digits that chose nothing.
"""
TEXTS["FRONTIER-ANALYSIS"] = """
**Analysis:** FRONTIER-TO-WRITE
"""
TEXTS["ROBUST-ANALYSIS"] = """
**Analysis:** ROBUST-TO-WRITE
"""
TEXTS["CLOCK-ANALYSIS"] = """
**Analysis:** the seventh is not what you get. Notebook 10 has the reason: a depthwise convolution
does little with each number that it fetches. So it waits for memory, and so do the norms and SiLU:
"""
TEXTS["RECAP"] = """
## Recap

- A separable convolution looks around and mixes in two steps; a shared block is used again and
  again, with a norm of its own for each use.
- Fewer operations are not fewer seconds: what does little with each number waits for memory.
- Ask every accuracy how it came about: how many runs, which epoch, which digits, chosen how.
- The best of many trials is also the luckiest. Train it again, and read digits that chose nothing.
- One idea at a time, in pairs, with an interval; most ideas do nothing that five pairs can see.
"""
