"""Every notebook, as a student opens and runs it; how it looks is kept in runs/browser/."""

import shutil
from dataclasses import dataclass

import pytest
from judge import judge_pictures, judge_run, judge_width
from lab import THEMES, Cell, Lab
from server import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
NAMES = [path.relative_to(ROOT / "notebooks").as_posix() for path in NOTEBOOKS + SOLUTIONS]
PHOTOGRAPHS = ROOT / "runs" / "browser"


@dataclass(frozen=True)
class Visit:
    """A notebook that was opened and run, and what stood on its page before and after."""

    name: str
    lab: Lab
    delivered: list[Cell]
    run: list[Cell]


@pytest.fixture(scope="module", params=NAMES, ids=lambda name: name.removesuffix(".ipynb"))
def visit(request, open_notebook) -> Visit:
    lab = open_notebook(f"notebooks/{request.param}")
    delivered = lab.read()
    lab.run_all()
    return Visit(request.param.removesuffix(".ipynb"), lab, delivered, lab.read())


def test_every_cell_runs_without_a_warning(visit):
    complain(visit, judge_run(visit.run))


def test_every_picture_can_be_seen_and_has_its_alt_text(visit):
    delivered = [f"as delivered, {line}" for line in judge_pictures(visit.delivered)]
    complain(visit, delivered + judge_pictures(visit.run))


def test_no_output_is_wider_than_its_page(visit):
    delivered = [f"as delivered, {line}" for line in judge_width(visit.delivered)]
    complain(visit, delivered + judge_width(visit.run))


def complain(visit: Visit, found: list[str]) -> None:
    if found:
        pytest.fail("\n".join(f"{visit.name}, {line}" for line in found), pytrace=False)


def test_how_it_looks(visit):
    folder = PHOTOGRAPHS / visit.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for theme in THEMES:
        for width in (1400, 900):
            visit.lab.look(theme, width)
            assert visit.lab.photograph(folder, f"{theme}-{width}")


def test_nothing_comes_from_the_network(visit):
    complain(visit, [f"something was asked of {host}" for host in visit.lab.strays])
