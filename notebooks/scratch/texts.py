TEXTS = {}
TEXTS["S4"] = """
## 4. One idea at a time

Every choice in this network was an idea that could have been wrong. Each is undone here, or another
one added, and everything else left as it is: notebook 09's ablations, five seeds in pairs, judged by
the validation digits after the last epoch.

```
python -m mnist_lab ideas 2k --epochs 12
```

Twelve epochs are a fifth of the whole training: so (09 §2) trust the order more than the sizes.

**Target:** predict before you look. What will each of these do: cost, gain, or nothing that five
pairs can see?

- **ReLU instead of SiLU.** SiLU, x · sigmoid(x), is smooth, and lets a little of what is negative
  through.
- **Pooling between the uses** instead of right behind the first convolution: finer maps, twice the
  time.
- **A full convolution, shared:** 13 channels instead of 28, which mix and look around at once.
- **A block of its own for each use:** five blocks, 13 channels.
- **Taught by two larger networks** (*distillation*): GapNet and BottleneckNet see the same turned
  digits, and their probabilities are learned instead of the labels.
- **Norms that share scale and shift, norms without a scale:** parameters saved for more channels.
"""
TEXTS["S5"] = """
## 5. What a search does to its judge

Where did the settings come from: channels, rates, decay, augmentation? From a search. Each *trial*
trains one network by one recipe, and validation judges. What to try next is chosen by Optuna: its
sampler (TPE, see the end) looks which settings the better half of the trials so far had in common,
and draws more like those; a trial that is worse than half of the others at half-time is ended.

```
python -m mnist_lab search 2k --trials 14 --epochs 12
```

**Target:** all trials were judged by the same 10,000 validation digits. What does that do to the
accuracy of the best?
"""
TEXTS["FLATTERY"] = """
The dashed line is the best trial: the best of *many*. It has won because its settings are good, and
because luck was with it: a lucky seed, and validation digits that happen to suit it. To see how much
was luck, train the best trial of each search again, with five seeds that no trial had, everything
else alike. New seeds leave out the first luck. The test digits, which have judged no trial, leave
out the second as well.

```
python -m mnist_lab best-trials
```

**Target:** by how many points will the fresh seeds' validation accuracy lie below the best trial's,
in the mean of the four?
"""
TEXTS["S8"] = """
## 8. Where the time goes

A separable convolution has a seventh of the weights and a seventh of the multiply-accumulates.

**Target:** does it take a seventh of the time? Time a step forward and back, as notebook 10 did, of
both, on the maps that the first use gets: 256 digits, 28 maps of 13×13.
"""
exec(open("/tmp/me/nb/texts2.py").read()) if __import__("os").path.exists("/tmp/me/nb/texts2.py") else None
