"""Publishing: what a run measured reaches the repository, and nothing else does."""

import base64
import json
from dataclasses import asdict

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from safetensors.torch import save_file
from stand_ins import training

from conftest import ROOT
from mnist_lab.course.model_card import model_card
from mnist_lab.course.outcomes import Outcome
from mnist_lab.course.publish import PUBLISHED, newest_run, publish, publish_records, published_kind
from mnist_lab.course.tables import cost_line
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import PER_EPOCH, kind_of_run
from mnist_lab.validation import UserError

COST = "**Cost:** not measured yet"
NEED = "**You need:** about 35 minutes, exercises included."
PAGE = "# Title\n\n<!-- table -->\nold\n<!-- end -->\n\nText.\n"
PAGES = "notebooks", "results", "speed"


def table(root, name):
    return (root / "docs" / f"{name}.md").read_text()


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def notebook(*, executed: bool, injected: bool = False):
    png = base64.b64encode(b"picture").decode()
    image = f'<img alt="A curve." src="data:image/png;base64,{png}">'
    picture = new_output("display_data", {"text/html": image, "text/plain": "A curve."})
    cell = new_code_cell("plot()", metadata={"tags": ["readme-picture"]})
    if executed:
        cell.outputs, cell.execution_count = [picture], 7
        cell.metadata["papermill"] = {"duration": 1}
    cells = [new_markdown_cell(f"# 00\n\n{COST}\n\n{NEED}\n\nText."), cell]
    if injected:
        cells.insert(1, new_code_cell("seed = 5", metadata={"tags": ["injected-parameters"]}))
    return new_notebook(cells=cells)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "mnist_lab").mkdir()
    for name in ("00_a", "01_b"):
        nbformat.write(notebook(executed=False), tmp_path / f"notebooks/{name}.ipynb")
    (tmp_path / "docs").mkdir()
    for name in PAGES:
        (tmp_path / "docs" / f"{name}.md").write_text(PAGE)
    return tmp_path


def make_run(root, *, injected=False, **changes):
    """A finished run of both notebooks, the second of them changed as asked."""
    run = root / "runs" / "2026-01-01T00-00-00"
    (run / "records").mkdir(parents=True)
    outcomes = [Outcome(name, "ok", 12.4, 2, 345, "MNIST") for name in ("00_a", "01_b")]
    for name, value in changes.items():
        setattr(outcomes[1], name, value)
    nbformat.write(notebook(executed=True), run / "00_a.ipynb")
    nbformat.write(notebook(executed=True, injected=injected), run / "01_b.ipynb")
    (run / "summary.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    return run


def test_outputs_costs_and_tables_are_taken_over(root):
    publish(make_run(root), root)
    published = nbformat.read(root / "notebooks/00_a.ipynb", as_version=4)
    line = cost_line(Outcome("00_a", "ok", 12.4, 2, 345, "MNIST"))
    assert (
        "12 seconds and 345 MB of memory on 2 cores" in line and line in published.cells[0].source
    )
    assert COST not in published.cells[0].source and "Text." in published.cells[0].source
    assert published.cells[1].outputs and "papermill" not in published.cells[1].metadata
    assert (root / PUBLISHED / "picture.png").read_bytes() == b"picture"
    page = table(root, "notebooks")
    assert (
        "| [00 a](../notebooks/00_a.ipynb) | 35 minutes | 12 seconds | 2 cores | 345 MB |" in page
    )
    assert "old" not in page and page.startswith("# Title") and page.endswith("Text.\n")
    assert table(root, "results") == table(root, "speed") == PAGE, "the other tables stay"


def test_a_run_of_one_notebook_leaves_the_others_as_they_were_published(root):
    run = make_run(root)
    publish(run, root)
    before = tree(root)
    outcome = Outcome("01_b", "ok", 60.0, 1, 500, "MNIST")
    (run / "summary.json").write_text(json.dumps([asdict(outcome)]))
    publish(run, root)
    changed = {path.name for path, content in tree(root).items() if before.get(path) != content}
    assert changed == {"01_b.ipynb", "costs.json", "notebooks.md", "summary.json"}
    page = table(root, "notebooks")
    assert (
        "| [00 a](../notebooks/00_a.ipynb) | 35 minutes | 12 seconds | 2 cores | 345 MB |" in page
    )
    assert "| [01 b](../notebooks/01_b.ipynb) | 35 minutes | 60 seconds | 1 core | 500 MB |" in page


def edit(root, run):
    path = root / "notebooks/01_b.ipynb"
    path.write_text(path.read_text().replace("Text.", "Text, edited since."))


def forget_the_student(root, run):
    for path in (root / "notebooks/01_b.ipynb", run / "01_b.ipynb"):
        path.write_text(path.read_text().replace(NEED, ""))


def drop_pictures(root, run):
    for path in run.glob("*.ipynb"):
        copy = nbformat.read(path, as_version=4)
        copy.cells[1].outputs = [new_output("stream", name="stdout", text="no picture")]
        nbformat.write(copy, path)


def unmark(root, run):
    path = root / "docs" / "notebooks.md"
    path.write_text(path.read_text().replace("<!-- table -->", ""))


def block_the_folder(root, run):
    (root / PUBLISHED).write_text("a file where the folder should be")


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ({"status": "failed"}, "no finished run of 01_b on MNIST"),
        ({"digits": "small digits"}, "no finished run of 01_b on MNIST"),
        ({"notebook": "01_other"}, "no run of 01_b, which was never published"),
        ({"injected": True}, "01_b.ipynb was run with other parameters"),
        (edit, "01_b.ipynb differs from .* in more than outputs"),
        (forget_the_student, r"must say: \*\*You need"),
        (drop_pictures, "no cell tagged readme-picture has made a picture"),
        (unmark, "notebooks.md needs one <!-- table -->"),
        (lambda root, run: (run / "01_b.ipynb").unlink(), "01_b.ipynb cannot be read"),
        (block_the_folder, "cannot be written"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_flawed_run_is_refused_and_changes_nothing(root, flaw, sentence):
    run = make_run(root, **(flaw if isinstance(flaw, dict) else {}))
    if callable(flaw):
        flaw(root, run)
    before = tree(root)
    with pytest.raises(UserError, match=sentence):
        publish(run, root)
    assert tree(root) == before


def test_what_an_execution_and_a_publication_write_is_no_difference(root):
    run = make_run(root)
    publish(run, root)
    before = tree(root)
    publish(run, root)
    assert tree(root) == before


def make_sweep(root):
    """Two seeds that count, and what does not: other digits, bf16, a run that was interrupted."""
    sweep = root / "runs" / "sweep"
    found = {
        "05-a/g-seed0": training(0),
        "05-b/g-seed1": training(1),
        "05-c/s-seed0": training(0, digits="small digits"),
        "05-d/h-seed0": training(0, precision="bf16"),
        ".partial-04-e/g-seed2": training(2),
    }
    for name, content in found.items():
        write(sweep / f"{name}.json", content)
        write((sweep / name).with_name("outcome.json"), [])
    return sweep


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_records_of_a_sweep_are_taken_over_and_the_results_follow(root):
    write(root / PUBLISHED / "g-seed0.json", training(0, parameters=1))
    write(root / PUBLISHED / "g-seed3.json", training(3))
    changed = publish_records(make_sweep(root), root)
    names = ["g-seed0.json", "g-seed1.json", "g-seed3.json"]
    assert sorted(path.name for path in (root / PUBLISHED).iterdir()) == names
    assert json.loads((root / PUBLISHED / "g-seed0.json").read_text()) == training(0)
    assert sorted(path.name for path in changed) == [*names[:2], "results.md", "speed.md"]
    row = "| GapNet | 13,808 | 50,000 of MNIST | fp32 | 1 | 0 | 3 | 50.00% |"
    assert row in table(root, "results")
    assert table(root, "notebooks") == PAGE, "only the table of notebooks stays"
    assert publish_records(root / "runs" / "sweep", root) == []


def test_the_studies_of_mnist_are_taken_over_and_their_tables_follow(root):
    def run(study, seconds, **changes):
        seconds = {"textbook": [3 * seconds] * 5, "fit": [seconds] * 5}
        return {"study": study, "network": "GapNet", "threads": 1, "processor": "P",
                "precision": "fp32", "digits_per_epoch": 50_000, "seconds_per_epoch": seconds,
                "pairs": 5} | changes  # fmt: skip

    def leave(kind, stamp, *runs, digits="MNIST"):
        record = {"kind": kind, "digits": digits, "runs": runs}
        write(root / "runs" / kind / f"{stamp}.json", record)

    def published(name):
        return json.loads((root / PUBLISHED / f"{name}.json").read_text())["runs"]

    leave("ablations", "2026-01-01", run("norm", 1), run("layers", 2))
    leave("ablations", "2026-01-02", run("norm", 3), run("dropout", 4))
    leave("ablations", "2026-01-03", run("norm", 5), digits="small digits")
    leave("epoch_time", "2026-01-01", run("", 6.0))
    publish_records(root / "runs" / "sweep", root)
    assert published("ablate") == [run("norm", 3), run("layers", 2), run("dropout", 4)]
    row = "| GapNet, fp32, threads: 1, P | 18.0 | 6.0 | 3.0 (3.0 to 3.0) |"
    assert row in table(root, "speed")
    leave("ablations", "2026-01-04", run("layers", 7))
    leave("epoch_time", "2026-01-02", run("", 8.0, network="BottleneckNet"))
    (root / "runs" / "ablations" / "2026-01-01.json").unlink()
    publish_records(root / "runs" / "sweep", root)
    assert published("ablate") == [run("norm", 3), run("layers", 7), run("dropout", 4)]
    assert row in table(root, "speed")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("runs/sweep/04-b/g-seed1.json", "{"),
        (PUBLISHED / "old-seed7.json", json.dumps(training(7) | {"validation_accuracy": []})),
        ("runs/ablations/2026.json", '{"kind": "ablations", "digits": "MN'),
        (PUBLISHED / "speed" / "bench-x.json", '{"kind": "epoch_time"}'),
        (PUBLISHED, "a file where the folder should be"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_changed(root, name, content):
    sweep, path = make_sweep(root), root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    before = tree(root)
    with pytest.raises(UserError, match=path.name):
        publish_records(sweep, root)
    assert tree(root) == before


# Trained networks


def published(name, seed):
    """A record of the published recipe, as the repository has it, and its file name."""
    (path,) = (ROOT / PUBLISHED).glob(f"*-{published_kind(name)}-seed{seed}.json")
    return path.name, json.loads(path.read_text())


def leave(root, name, seed, *, weights=True, network=None, said=None):
    """Let the sweep have done a run; `network`, `said`: whose weights it has left, of which run."""
    file, content = published(name, seed)
    folder = root / "runs" / "sweep" / f"05-{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content))
    path = (folder / file).with_suffix(".safetensors")
    if weights:
        save_file(NETWORKS[network or name][0]().state_dict(), path, {"record": said or file})
    return path


def test_the_weights_of_seed_0_are_taken_over_with_a_card_of_all_seeds(root):
    sweep, folder = root / "runs" / "sweep", root / "mnist_lab" / "weights"
    runs = dict(published("gap", seed) for seed in (0, 1))
    first = leave(root, "gap", 0)
    kept = first.read_bytes()
    leave(root, "bottleneck", 1)
    shorter = json.loads(first.with_suffix(".json").read_text())
    shorter["recipe"]["num_epochs"] = 1
    shorter |= {curve: shorter[curve][:1] for curve in PER_EPOCH}
    write(sweep / "05-other" / f"gapnet-mnist-{kind_of_run(shorter)}-seed0.json", shorter)
    publish_records(sweep, root)
    assert sorted(path.name for path in folder.iterdir()) == ["gap.md", "gap.safetensors"]
    assert (folder / "gap.safetensors").read_bytes() == kept

    first.unlink()  # a sweep without weights leaves them as they are, and renews the card
    leave(root, "gap", 1, weights=False)
    publish_records(sweep, root)
    assert (folder / "gap.safetensors").read_bytes() == kept
    text = (folder / "gap.md").read_text(encoding="utf-8")
    assert text == model_card("gap", next(iter(runs)), runs)
    leave(root, "gap", 0)  # the run was done again, and has other weights
    publish_records(sweep, root)
    assert (folder / "gap.safetensors").read_bytes() != kept


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ({"network": "bottleneck"}, r"gapnet-.*-seed0\.safetensors does not fit GapNet"),
        ({"said": "x-seed0.json"}, "must be from seed 0 of the published gap recipe, not from x-"),
        (None, r"-seed0\.safetensors holds no weights that can be read"),
    ],
    ids=["another's", "of another run", "damaged"],
)
def test_flawed_weights_are_refused_and_nothing_is_changed(root, flaw, sentence):
    weights = leave(root, "gap", 0, **flaw or {})
    if flaw is None:
        weights.write_bytes(weights.read_bytes()[:-1])
    before = tree(root)
    with pytest.raises(UserError, match=sentence):
        publish_records(root / "runs" / "sweep", root)
    assert tree(root) == before


def test_weights_whose_record_is_not_published_are_refused(root):
    folder = root / "mnist_lab" / "weights"
    folder.mkdir(parents=True)
    weights = leave(root, "gap", 0)
    weights.rename(folder / "gap.safetensors")
    weights.with_suffix(".json").unlink()
    leave(root, "gap", 1)
    with pytest.raises(UserError, match=r"gap\.safetensors must be from seed 0 of the published"):
        publish_records(root / "runs" / "sweep", root)


def test_the_newest_run_is_found_and_its_absence_is_said(root):
    with pytest.raises(UserError, match="execute the course first"):
        newest_run(root)
    run = make_run(root)
    (root / "runs" / "bench").mkdir()
    assert newest_run(root) == run
