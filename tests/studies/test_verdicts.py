"""What the records hold for each rule, in the direction in which its rule asks."""

import numpy as np
import pytest
from scipy.stats import f_oneway, fisher_exact, ttest_ind, ttest_rel

from mnist_lab.records import load_records, select_runs
from mnist_lab.studies import ablations, full_ablations, verdicts
from mnist_lab.studies.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNMEASURED,
    Estimate,
    load_rules,
    mean_of,
)
from mnist_lab.studies.verdicts import Measured
from mnist_lab.validation import UserError

RULES, _ = load_rules()
HANDED_IN = {"normalisation", "input", "norm costs", "fast", "diverse"}
NEVER = {"gap parts"}


@pytest.fixture(scope="module")
def records():
    return verdicts.from_records(np.arange(10_000) % 500)


def runs_of(case, values, key="case", **more):
    """A run for each value: its last accuracy."""
    return [
        {key: case, "seed": seed, "diverged": False, "validation_accuracy": [0.9, float(value)]}
        | more
        for seed, value in enumerate(values)
    ]


def whole(case, values, **more):
    gap = case.startswith("gap")
    return runs_of(case, values, num_epochs=19 if gap else 20, **more)


def luck(mean, seed, deviation=0.0005):
    return np.random.default_rng(seed).normal(mean, deviation, 12)


def test_every_rule_is_measured_or_waits_for_a_notebook(records):
    found = verdicts.form() | records
    assert not verdicts.form().keys() & records.keys()
    assert found.keys() | HANDED_IN | NEVER == RULES.keys()
    rows = verdicts.judge(found)
    assert list(rows) == list(RULES)
    for name, row in rows.items():
        assert row.rule is not None and row.measured == found.get(name, Measured())
        if row.verdict == UNMEASURED and name not in HANDED_IN | NEVER:
            assert " of 12 seeds" in row.measured.note, name


def test_what_is_counted():
    rows = verdicts.judge(verdicts.form())
    held = {name for name in verdicts.form() if rows[name].verdict == HOLDS}
    assert held == {"gap parameters", "gap table", "gap head", "parameters", "table", "head",
                    "most", "fewer"}  # fmt: skip
    assert verdicts.form()["gap head"].note == "160 of 5,770 parameters"
    assert [verdicts.form()[name].values[0] for name in ("gap norm", "norm")] == [6, 6]


def test_runs_as_published_say_what_they_say(records):
    rows = verdicts.judge(records)
    assert rows["99.58"].verdict == "consistent with"
    assert rows["trajectory"].verdict == FAILS and rows["trajectory"].judged.p < 0.001
    assert rows["stable"].judged == (FAILS, None, UNDECIDED)
    assert rows["epoch 8"].verdict == HOLDS
    assert len(rows["step"].measured.correlations) == 1


def test_a_question_counts_before_it_is_answered(records):
    alone = {"step": records["step"]}
    row = verdicts.judge(alone)["step"]
    assert row.judged.verdict == HOLDS and row.verdict == UNDECIDED
    assert verdicts.verdict(row) == "**undecided** (alone: holds)"
    with pytest.raises(UserError, match="no rule asks for speed"):
        verdicts.judge({"speed": Measured()})


def test_clothes_count_by_the_conditions_of_all_other_runs():
    """In fp32, on the random split: anything else is another experiment."""
    everything = load_records()
    clothes = [
        run | {"digits": "Fashion-MNIST"} for run in select_runs(everything, "BottleneckNet")
    ]
    others = [run | {"precision": "bf16"} for run in clothes]
    others += [run | {"split": run["split"] | {"name": "as published"}} for run in clothes]
    assert len(clothes) == 12
    assert verdicts.on_the_random_split(everything + others)["harder"].note == "0 of 12 seeds"
    found = verdicts.on_the_random_split(everything + others + clothes)["harder"]
    shares = [run["test"]["correct"] / 10_000 for run in clothes]
    assert found.values[0].value == pytest.approx(np.mean(shares))


def test_whole_trainings_decide_with_twelve_seeds_and_no_fewer():
    none, end = luck(0.996, 0), luck(0.992, 1)
    runs = whole("bottleneck without dropout", none) + whole("bottleneck as published", end)
    found = verdicts.full(runs)["dropout"]
    oracle = ttest_rel(end, none)
    assert found.values[0].value == pytest.approx(end.mean() - none.mean())
    assert found.values[0].interval() == pytest.approx(oracle.confidence_interval())
    assert verdicts.judge({"dropout": found})["dropout"].verdict == FAILS
    short = [run | {"num_epochs": 3} for run in runs]
    for fewer in (runs[:-1], runs[1:], runs[:12] + short, []):
        assert verdicts.full(fewer)["dropout"].values == ()
    assert verdicts.full(runs[:-1])["dropout"].note == "11 of 12 seeds"
    assert verdicts.full(runs)["too deep"].note == "0 of 12 seeds"


def test_another_network_is_no_pair():
    a, b = luck(0.992, 0), luck(0.9925, 1, 0.001)
    runs = whole("bottleneck with a direct 3×3", a) + whole("bottleneck as published", b)
    found = verdicts.full(runs)["same performance"]
    oracle = ttest_ind(b, a, equal_var=False)
    assert found.values[0].interval() == pytest.approx(oracle.confidence_interval())
    assert found.correlations == ()


def test_whole_trainings_in_the_direction_of_their_rules():
    better = {
        "bottleneck as published": 0.99, "bottleneck without conv4": 0.985,
        "bottleneck without conv6": 0.9899, "bottleneck with dropout throughout": 0.98,
        "bottleneck without batch norm": 0.8, "gap as published": 0.99, "gap without dropout": 0.99,
        "gap without batch norm": 0.5, "bottleneck without dropout": 0.99,
    }  # fmt: skip
    runs = []
    for number, (case, mean) in enumerate(better.items()):
        loss = [0.5, 0.02 + 0.01 * ("without dropout" in case) + 1e-4 * number]
        runs += whole(case, luck(mean, number, 1e-4), validation_loss=loss)
    for run in runs:
        before = 0.3 if "without batch norm" in run["case"] else 0.9
        rest = np.linspace(0.97, run["validation_accuracy"][-1], 18).tolist()
        run["validation_accuracy"] = [before + run["validation_accuracy"][-1] / 1e3, *rest]
    rows = verdicts.judge(verdicts.full(runs))
    expected = {"accelerates": HOLDS, "stabilises": HOLDS, "too deep": HOLDS, "overfitting": HOLDS,
                "dropout only at the end": FAILS, "dropout": HOLDS}  # fmt: skip
    assert {name: rows[name].verdict for name in expected} == expected
    assert rows["stabilises"].measured.cases == ("GAP", "bottleneck")


def test_a_run_that_diverged_has_learned_nothing():
    lost = {"diverged": True, "validation_accuracy": [], "validation_loss": []}
    assert verdicts.end(lost) == 0.1 and verdicts._unrest(lost) == 0.9
    calm = {"diverged": False, "validation_accuracy": [0.5, 0.9] + [0.95] * 5 + [0.97, 0.96, 0.99]}
    assert verdicts._unrest(calm) == pytest.approx(0.01)


def short(study, case, values):
    return runs_of(case, values, study=study)


def test_small_batches_compare_what_each_side_loses():
    four, two, four_normed, two_normed = (
        luck(m, n) for n, m in enumerate((0.96, 0.955, 0.97, 0.95))
    )
    runs = short("batch", "with norm, batches of 4", four_normed)
    runs += short("batch", "with norm, batches of 2", two_normed)
    runs += short("batch", "without norm, batches of 4", four)
    runs += short("batch", "without norm, batches of 2", two)
    found = verdicts.short_runs(runs)["small batches"]
    oracle = ttest_rel(four_normed - two_normed, four - two)
    assert found.values[0].interval() == pytest.approx(oracle.confidence_interval())
    assert verdicts.judge({"small batches": found})["small batches"].verdict == HOLDS
    assert verdicts.short_runs(runs[1:])["small batches"].values == ()


def test_rates_are_compared_by_fishers_test():
    runs = []
    for rate, other in ((0.003, 0.98), (0.01, 0.98), (0.03, 0.11), (0.1, 0.11)):
        runs += short("norm", f"with norm, lr {rate}", [0.98] * 12)
        runs += short("norm", f"without norm, lr {rate}", [other] * 12)
    found = verdicts.short_runs(runs)["higher rates"]
    assert found.values[0] == (1.0, 1.0)
    p = fisher_exact([[12, 0], [0, 12]]).pvalue
    assert found.values[2] == (pytest.approx(p), 1.0)
    assert verdicts.chances(3, 9, 12) == (1.0, pytest.approx(fisher_exact([[3, 9], [9, 3]]).pvalue))
    assert verdicts.judge({"higher rates": found})["higher rates"].verdict == HOLDS


def test_the_nine_pairs_share_one_variance():
    cases = list(ablations.CASES["grid"])
    values = [luck(0.98 - 0.001 * place, place) for place in range(9)]
    runs = [run for case, some in zip(cases, values) for run in short("grid", case, some)]
    found = verdicts.short_runs(runs)["step and gamma"]
    within = sum(((one - one.mean()) ** 2).sum() for one in values) / (9 * 11)
    assert len(found.values) == 8 and found.values[0].df == 99
    assert found.values[0].error == pytest.approx(np.sqrt(2 * within / 12))
    between = 12 * np.var([one.mean() for one in values], ddof=1)
    assert f_oneway(*values).statistic == pytest.approx(between / within)
    assert found.values[-1].value == pytest.approx(values[8].mean() - values[0].mean())
    assert found.cases[0] == "gamma 0.1, step 3"


def test_adam_has_two_cases():
    cases = ("adam", "adam, betas 0.8 and 0.9", "adam, weight decay 0.0001")
    runs = [r for n, case in enumerate(cases) for r in short("optimizer", case, luck(0.98, n))]
    found = verdicts.short_runs(runs)["adam"]
    assert len(found.values) == len(found.cases) == len(found.correlations) == 2


def test_more_than_half_of_the_corruptions_must_cost():
    draws, writers = np.random.default_rng(0), np.arange(1_000) % 100
    before, worse = np.ones(1_000, bool), draws.random(1_000) < 0.5
    for bad, expected in ((7, HOLDS), (6, FAILS), (0, FAILS), (12, HOLDS)):
        costs = {n: (before, worse if n < bad else before) for n in range(12)}
        found = verdicts.corruptions(costs, writers)
        assert found.note == f"{bad} of 12 surely cost over five points"
        assert verdicts.judge({"diverse": found})["diverse"].verdict == expected
    near = before & (np.arange(1_000) % 20 > 0)  # five points: nobody can say
    costs = {n: (before, worse if n < 6 else near) for n in range(12)}
    assert verdicts.judge({"diverse": verdicts.corruptions(costs, writers)})["diverse"].verdict == (
        UNDECIDED
    )


def test_a_row_shows_its_intervals_and_what_its_runs_could_show():
    each = tuple(mean_of(luck(mean, 3)) for mean in (0.001, -0.002))
    found = {"adam": Measured(each, ("betas", "decay"), correlations=(0.4, 0.25)),
             "gap parameters": Measured((13_808,), unit="")}  # fmt: skip
    text = verdicts.table({name: verdicts.judge(found)[name] for name in found})
    header, _, adam, counted = text.splitlines()
    low, high = (100 * end for end in each[0].interval(2))
    assert f"betas: {100 * each[0].value:+.2f} [{low:+.2f}, {high:+.2f}] points<br>decay: " in adam
    assert "r = 0.40, 0.25" in adam
    assert f"{100 * each[0].smallest_effect(2):.2f}<br>" in adam
    assert counted == "| GapNet | 13,808 parameters, fewer than 20,000 | 13,808 | – | **holds** |"
    assert header.count("|") == counted.count("|")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9939, "%", "99.39 %"),
        (Estimate(0.995, 0.0001), "%", "99.50 [99.48, 99.52] %"),
        (Estimate(-0.002, 0.0), "points", "-0.20 [-0.20, -0.20] points"),
        (Estimate(0.01, 0.001), "loss", "+0.0100 [+0.0080, +0.0120]"),
        (Estimate(1.2, 0.01), "", "1.20 [1.18, 1.22]"),
        ([28, 29], "", "28, 29"),
        ((0.01, 1.0), "", "p = 0.01"),
        ((1.0, 2e-9), "", "p < 0.0001"),
    ],
)
def test_values_as_a_person_reads_them(value, unit, text):
    assert verdicts.shown(value, unit) == text


def test_the_five_verdicts_are_counted(records):
    found = verdicts.counts(verdicts.judge(verdicts.form() | records))
    assert sum(found.values()) == len(RULES)
    assert list(found) == ["holds", "does not hold", "consistent with", "undecided", "not measured"]


def test_the_cases_of_whole_trainings_are_those_that_are_run():
    named = {
        case for _, cases in verdicts.FULL.values() for pair in cases.values() for case in pair
    }
    assert named == full_ablations.CASES.keys()


def test_a_count_reads_on():
    row = verdicts.judge(verdicts.form())["norm"]
    assert verdicts.measured(row) == "6 of 7 convolutions"
