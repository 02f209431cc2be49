"""Publishing a study replaces the runs that were done again, and nothing else."""

import json

import pytest

from mnist_lab.course.published_studies import STUDIES, load_studies, merge, study_text
from mnist_lab.records import PUBLISHED
from mnist_lab.validation import UserError


def measured(kind, *runs):
    return {"kind": kind, "digits": "MNIST", "runs": list(runs)}


def test_publishing_what_is_published_changes_nothing():
    studies = load_studies(PUBLISHED)
    assert {record["kind"] for record in studies.values()} == set(STUDIES)
    for path, record in studies.items():
        assert study_text(record) == path.read_text(encoding="utf-8")
        assert merge(studies, record, PUBLISHED) == studies


@pytest.mark.parametrize("kind", STUDIES)
def test_what_was_measured_again_is_replaced_in_its_place_and_the_rest_stays(kind):
    studies = load_studies(PUBLISHED)
    record = next(record for record in studies.values() if record["kind"] == kind)
    some = record["runs"][::2]
    again = merge(studies, measured(kind, *(run | {"torch": "9.9"} for run in some)), PUBLISHED)
    assert again.keys() == studies.keys()
    for path, runs in ((path, record["runs"]) for path, record in studies.items()):
        expected = [run | {"torch": "9.9"} if run in some else run for run in runs]
        assert again[path]["runs"] == expected
    assert studies == load_studies(PUBLISHED), "its argument was changed"


@pytest.mark.parametrize(
    ("kind", "file", "other"),
    [
        ("ablations", "ablate", {"seed": 99}),
        ("ablations", "ablate", {"study": "new"}),
        ("ablations", "ablate", {"case": "new"}),
        ("unseen_writers", "strangers", {"network": "GapNet"}),
        ("unseen_writers", "strangers", {"num_epochs": 3}),
        ("unseen_writers", "strangers", {"fold": 6}),
        ("epoch_time", "speed/bench-avx2", {"network": "StridedNet"}),
        ("epoch_time", None, {"processor": "Some CPU (R)"}),
        ("epoch_time", None, {"threads": 7}),
        ("epoch_time", None, {"precision": "fp64"}),
        ("contention", None, {"cores": 7}),
        ("contention", None, {"processor": "Some CPU (R)"}),
        ("fit_accuracy", "speed/compare-bottleneck", {"way": "another"}),
        ("fit_accuracy", "speed/compare-bottleneck", {"seed": 99}),
        ("fit_accuracy", None, {"network": "StridedNet"}),
        ("fit_accuracy", None, {"num_epochs": 4}),
        ("time_to_accuracy", "speed/race", {"goal": 0.995}),
        ("time_to_accuracy", "speed/race", {"seed": 99}),
        ("time_to_accuracy", None, {"processor": "Some CPU (R)"}),
    ],
)
def test_another_case_is_added_and_other_conditions_have_a_file_of_their_own(kind, file, other):
    studies = load_studies(PUBLISHED)
    path, record = next((p, r) for p, r in studies.items() if r["kind"] == kind)
    run = record["runs"][0] | other
    again = merge(studies, measured(kind, run), PUBLISHED)
    if file:
        path = PUBLISHED / f"{file}.json"
        assert again[path]["runs"] == [*studies[path]["runs"], run]
    else:
        (path,) = again.keys() - studies.keys()
        assert again[path] == measured(kind, run)
        assert path.is_relative_to(PUBLISHED / "speed") and list(again) == sorted(again)
        assert path.name == path.name.lower() and " " not in path.name
        assert again[path]["runs"][0] in merge(again, again[path], PUBLISHED)[path]["runs"]
    assert {name: again[name] for name in studies if name != path} == {
        name: studies[name] for name in studies if name != path
    }


def test_a_quick_look_at_the_time_is_not_published():
    studies = load_studies(PUBLISHED)
    for path, changed in (("bench-avx2", {"pairs": 4}), ("busy-avx512", {"rounds": 4})):
        record = studies[PUBLISHED / "speed" / f"{path}.json"]
        quick = [run | changed for run in record["runs"]]
        assert merge(studies, measured(record["kind"], *quick), PUBLISHED) == studies


def test_a_line_for_each_run_whatever_it_holds():
    record = measured("ablations", {"case": "[]}", "loss": [1, float("inf")]}, {"case": "é"})
    lines = study_text(record).splitlines()
    assert len(lines) == 4 and json.loads("".join(lines)) == record


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "ablate.json").write_text('{"kind": "ablations", "ru')
    with pytest.raises(UserError, match=r"ablate\.json "):
        load_studies(tmp_path)
