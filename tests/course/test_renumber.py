"""Notebooks get other numbers all at once, what names them follows, and nothing else does."""

import json
from pathlib import Path

import pytest

from mnist_lab.course.renumber import renumber
from mnist_lab.validation import UserError

TEXT = """\
# {b} · Building
It follows notebook {a}; notebooks {b}, {c} and {d}, or {b} to {c}, come later. ({b} alone, {c} §4,
{b}'s recipe.) [{d} · Draw a digit]({d}_draw.ipynb), **Next:** [{c} · Training]({c}_training.ipynb)
| [{d} draw a digit](notebooks/{d}_draw.ipynb) | 10 seconds |
python -m mnist_lab sweep {b} {d} --seeds 10 -p lr 0.03,0.04
solutions/solutions_{c}.ipynb, n{b}.py, test_n{d}.py, "q{b}-1-answer", "s{d}-top", "id": "{d}-pad"
q1 = questions("{d}", globals()); proofs("{b}", CASES), ["{a}", "{b}", "{d}"]
case = ("{d}", {{"seed": 1}})
"""
UNTOUCHED = """\
0.03, 10 of 03,5 and 2026-03-04T03:04:05, 03:10, 10 digits, 10_000, 1e-03, {:03d}, 04%, #030303
Linear(32, 10), range(10), "10", run 10 times, --seeds 10, lr10, (10, 3), notebook 10.5, [10, 03.1]
0.1**3**04
"image/png": "AAAA/03+n03/q04=zz03zz/s10+03"
"""
OLD = {"a": "01", "b": "03", "c": "04", "d": "10"}
NEW = {"a": "01", "b": "04", "c": "05", "d": "12"}
PAIRS = ["03=04", "04=05", "10=12"]


def write(root: Path, numbers: dict[str, str]) -> Path:
    a, b, c, d = numbers.values()
    text = TEXT.format(**numbers)
    files = {f"notebooks/{a}_digits.ipynb": text, f"notebooks/{b}_building.ipynb": text + "b"}
    files |= {f"notebooks/{c}_training.ipynb": text + "c", f"notebooks/{d}_draw.ipynb": text + "d"}
    files |= {f"notebooks/solutions/solutions_{n}.ipynb": f"{text} of {n}" for n in (b, c)}
    for name in ("n{}", "quick_{}", "experiments_{}"):
        files |= {f"mnist_lab/exercises/{name.format(n)}.md": f"Notebook {n}" for n in (b, d)}
    files |= {f"tests/exercises/test_n{d}.py": text, "README.md": text + UNTOUCHED}
    files |= {"mnist_lab/published/costs.json": json.dumps({"notebook": f"{d}_draw"})}
    files |= {"mnist_lab/published/a-seed0.json": TEXT.format(**OLD)}
    files |= {"mnist_lab/studies/rules.toml": TEXT.format(**OLD), "mnist_lab/x.png": "03_a"}
    files |= {"notebooks/.ipynb_checkpoints/03_x.ipynb": "03_x"}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


def everything(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}


def test_all_that_names_a_notebook_follows_at_once_and_nothing_else(tmp_path):
    course, wanted = write(tmp_path / "course", OLD), write(tmp_path / "wanted", NEW)
    changed = renumber(course, PAIRS)
    assert everything(course) == everything(wanted)
    assert course / "notebooks" / "12_draw.ipynb" in changed
    renumber(course, ["04=03", "05=04", "12=10"])
    assert everything(course) == everything(write(tmp_path / "back", OLD))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["3=4"], "'3=4' says no change of number: write OLD=NEW"),
        (["03=04", "05=06"], "there is no notebook 05; there are: 01, 03, 04, 10"),
        (["03=05", "04=05"], "two notebooks are given the number 05"),
        (["03=05", "03=06"], "notebook 03 is given two numbers, 05 and 06"),
        (["03=04"], "there is a notebook 04 already"),
    ],
)
def test_numbers_that_cannot_be_given_are_refused(tmp_path, pairs, message):
    before = everything(write(tmp_path, OLD))
    with pytest.raises(UserError, match=message):
        renumber(tmp_path, pairs)
    assert everything(tmp_path) == before


def test_nothing_is_written_unless_everything_can_be(tmp_path):
    write(tmp_path, OLD)
    (tmp_path / "notebooks" / "12_draw.ipynb").mkdir()
    before = everything(tmp_path)
    with pytest.raises(UserError):
        renumber(tmp_path, PAIRS)
    assert everything(tmp_path) == before
