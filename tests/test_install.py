"""What is installed on which machine; the script itself needs nothing but Python."""

import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest

from conftest import ROOT
from mnist_lab import install

PINS = (ROOT / "requirements.txt").read_text(encoding="utf-8")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Set what the machine has; returned: what was run on it."""
    ran = []

    def has(*, nvidia=False, index=False, uv=None):
        monkeypatch.setattr(install, "has_nvidia", lambda: nvidia)
        monkeypatch.setattr(install, "index_answers", lambda: index)
        monkeypatch.setattr(install.shutil, "which", lambda name: uv)
        monkeypatch.setattr(
            install.subprocess, "run", lambda command, check: ran.append([*map(str, command)])
        )
        return ran

    return has


@pytest.mark.parametrize(("nvidia", "index"), [(True, True), (True, False), (False, False)])
def test_the_pins_are_taken_as_they_are_with_a_card_or_without_the_index(nvidia, index, machine):
    machine(nvidia=nvidia, index=index)
    assert install.wanted_pins() == PINS


def test_elsewhere_pytorchs_cpu_build_is_taken_and_nothing_of_cuda(machine):
    machine(index=True)
    first, *lines = install.wanted_pins().splitlines()
    assert first == f"--extra-index-url {install.CPU_INDEX}"
    names = [line.split("==")[0] for line in lines]
    assert not [name for name in names if name.startswith(("cuda", "nvidia", "triton"))]
    before = [line for line in PINS.splitlines() if line.split("==")[0] in names]
    assert [line.replace("+cpu", "") for line in lines] == before
    own = [line.split(";")[0].strip() for line in lines if "+cpu" in line]
    assert len(own) == 2 and all(line.endswith("+cpu") for line in own)


def test_wheels_beside_the_course_come_before_any_index(machine, monkeypatch, tmp_path):
    ran = machine(index=True)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "pins.txt").write_text("torch==1\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    install.main(str(tmp_path / ".venv"))
    assert (tmp_path / ".venv" / "pins.txt").read_text() == "torch==1\n"
    assert len(ran) == 2
    for command in ran:
        assert command[command.index("--find-links") + 1] == str(tmp_path / "wheels")
        assert "--no-index" in command


@pytest.mark.parametrize("uv", [None, "/usr/bin/uv"])
def test_uv_is_used_where_it_is_and_installs_the_same(uv, machine, tmp_path):
    ran = machine(uv=uv)
    install.main(str(tmp_path), "site")
    assert ran[0][1:] == ["-m", "venv", str(tmp_path)]
    for command in ran[1:]:
        assert command[:3] == ([uv, "pip", "install"] if uv else [*command[:1], "-m", "pip"])
        assert command[0] == uv or Path(command[0]).parent.parent == tmp_path
    pins = str(tmp_path / "pins.txt")
    assert ran[1][-2:] == ["-r", pins]
    site_pins = str(ROOT / "docs" / "requirements.txt")
    assert ran[2][-6:] == ["-c", pins, "-c", site_pins, "-e", f"{ROOT}[site]"]


@pytest.mark.parametrize("error", [URLError("no network"), TimeoutError(), ValueError()])
def test_an_index_that_cannot_be_reached_does_not_answer(error, monkeypatch):
    def fail(*_, timeout):
        assert timeout <= 3
        raise error

    monkeypatch.setattr(install.urllib.request, "urlopen", fail)
    assert install.index_answers() is False


def test_the_script_needs_nothing_but_python(tmp_path):
    code = f"import runpy; runpy.run_path({str(ROOT / 'mnist_lab/install.py')!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd=tmp_path)
