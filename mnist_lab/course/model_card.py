"""The model card of a trained network, every number of it from the records.

Its headings are those of Hugging Face's template; what they are for: Mitchell et al., "Model Cards
for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Mapping

from mnist_lab.course.tables import results_table
from mnist_lab.recipes import NETWORKS
from mnist_lab.statistics import wilson_interval

CARD = """\
---
license: mit
library_name: pytorch
pipeline_tag: image-classification
datasets: [ylecun/mnist]
metrics: [accuracy]
---

# {run[network]}, trained on MNIST with seed {run[seed]}

## Model Details

- **Network:** `{module}.{run[network]}`, a convolutional network of {run[parameters]:,} parameters
- **Weights:** `{weights}`, as they were after the last epoch of \
[one run](../published/{record})
- **Input:** images `[N, 1, 28, 28]`, normalised as in the recipe below
- **Output:** {outputs} `[N, 10]`, for the digits 0 to 9
- **Licence:** MIT, as the repository

## Uses

For learning how such a network is built, trained and judged, and as a baseline on MNIST. Not for \
reading anything that matters to somebody, such as forms, cheques or post.

## Bias, Risks, and Limitations

It knows images like MNIST's and no others: one digit, 28×28 pixels, white on black, scaled and \
centred as MNIST's, written by employees of the American Census and by American high-school \
students. To any other image, a letter or noise too, it gives a digit, and often a high \
probability. Notebook 09 shows how its accuracy falls where images are corrupted.

## How to Get Started with the Model

```python
from mnist_lab import evaluate, load_data, load_pretrained
from mnist_lab.recipes import NETWORKS

recipe = NETWORKS["{name}"].recipe
print(evaluate(load_pretrained("{name}"), load_data("mnist").test, recipe))
```

`python -m mnist_lab export {name}` writes it as an ONNX file.

## Training Details

**Data:** {split[train]:,} of the 60,000 training digits of MNIST (by Y. LeCun, C. Cortes \
and C. J. C. Burges; described in doi:10.1109/5.726791), chosen by the split "{split[name]}"; \
the other {split[validation]:,} are for validation.

**Recipe:** `mnist_lab.recipes.NETWORKS["{name}"].recipe`

| | |
|---|---|
{recipe}

**Run:** {run[precision]} on {run[processor]}, threads: {run[threads]}, \
{minutes:.0f} minutes; {versions}.

## Evaluation

This network, whose seed was declared and not chosen:

- **Validation:** {validation}
- **Test:** {test}

The intervals are Wilson's, for the luck of the digits. All published seeds of the recipe:

{results}

The intervals of their mean test accuracy are Student's, for the luck of the seeds (Wilson's for a \
single seed), and a bootstrap over whoever wrote the test digits.
"""


def model_card(name: str, first: str, runs: Mapping[str, dict]) -> str:
    """The card of a network of `NETWORKS`.

    `runs`: the records of all its seeds, by their file names; its weights are from the `first`.
    """
    run, split, entry = runs[first], runs[first]["split"], NETWORKS[name]
    validated = split["validation"]
    return CARD.format(
        name=name,
        run=run,
        split=split,
        weights=entry.weights,
        record=first,
        outputs="log-probabilities" if run["recipe"]["loss"] == "nll" else "logits",
        module=entry.network.__module__,
        recipe="\n".join(f"| {word} | {value} |" for word, value in run["recipe"].items()),
        minutes=sum(run["seconds_per_epoch"]) / 60,
        versions=", ".join(f"{tool} {number}" for tool, number in run["versions"].items()),
        validation=_accuracy(round(run["validation_accuracy"][-1] * validated), validated),
        test=_accuracy(run["test"]["correct"], run["test"]["total"]),
        results=results_table(runs.values()),
    )


def _accuracy(correct: int, total: int) -> str:
    low, high = wilson_interval(correct, total)
    share = f"{correct / total:.2%} ({correct:,} of {total:,})"
    return f"{share}, 95 % interval {low:.2%} to {high:.2%}"
