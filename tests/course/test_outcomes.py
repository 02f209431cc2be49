"""Rows of a runner: written, read, refused when damaged, and shown as a table."""

import pytest

from mnist_lab.course.outcomes import Outcome, load_outcomes, summary_table, summary_text
from mnist_lab.validation import UserError

ROWS = [
    Outcome("04_a_name", "ok", 1.25, 2, 1234, "MNIST", {"test": "99 %", "seed": "0"}),
    Outcome(
        "05_another", "failed", 0.5, 1, 7, "small digits", {}, "cell [3]:\nx\n\nE: wrong \udcc3"
    ),
]


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "summary.json"
    assert load_outcomes(file) == []
    file.write_text(summary_text(ROWS), encoding="utf-8")
    assert load_outcomes(file) == ROWS


@pytest.mark.parametrize("content", ["[", "{}", '[{"notebook": "a", "status": "ok"}]', "\x00"])
def test_a_damaged_summary_is_named(content, tmp_path):
    file = tmp_path / "summary.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"summary\.json"):
        load_outcomes(file)


def test_the_table_has_a_row_for_each_and_the_failures_in_full():
    head, first, second, *rest = summary_table(ROWS).splitlines()
    assert head.split()[:3] == ["notebook", "status", "seconds"]
    assert first.split()[:4] == ["04_a_name", "ok", "1.2", "1,234"]
    assert first.endswith("test: 99 %; seed: 0") and "failed" in second
    assert head.index("status") == first.index("ok") == second.index("failed")
    assert "\n".join(rest) == "\n05_another, cell [3]:\nx\n\nE: wrong \udcc3"
