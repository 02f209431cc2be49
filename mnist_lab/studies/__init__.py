"""Studies: how fast training is, whether speed costs accuracy, what a part of a network is worth.

A study is a module with three functions, and it neither prints nor saves:

- `cases(**options) -> list[dict]`: the arguments of `run` for every case, as JSON can hold them.
  Raises `UserError` for an option that cannot be used.
- `run(**case) -> dict`: do one case and return its result, as JSON can hold it, with what it was
  measured with: the digits, the precision, the processor and PyTorch's version. It expects a
  process of its own.
- `table(runs) -> str`: the results of all cases as text.

`python -m mnist_lab` does so for every case, one that is timed after the other, others side by side
(`course/study.py`), and keeps the results as a record: `{"kind": the module's name, "digits": …,
"runs": [the results]}`.

Beside the studies stand `textbook`, the way of training that `fit` is compared with; `roofline`,
the limit of the machine; `rules`, by which the published claims are judged, and `verdicts`, which
gathers what was measured for each; and `measuring`, what several studies need.
"""
