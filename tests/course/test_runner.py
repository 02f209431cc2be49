"""The runner, with small functions as tasks: what it keeps, continues, refuses, leaves behind."""

import json
import multiprocessing
import signal
import threading
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import psutil
import pytest
from joblib import cpu_count
from runners import posix, processes_of, signal_when, wait_for

from mnist_lab.course import runner
from mnist_lab.course.outcomes import SUMMARY, Interrupted, load_outcomes
from mnist_lab.course.runner import Stop, Task, folder_name, only_runner, run_tasks, signals_pull
from mnist_lab.files import WriteError, folder_lock, read_json
from mnist_lab.speed import choose_threads
from mnist_lab.validation import UserError

WORK = """
import os, pathlib, resource, signal, subprocess, sys, time

def add(a, b=0):
    assert not pathlib.Path(f"unlucky {a}").exists(), "no luck"
    return {"sum": a + b, "source": os.environ["MNIST_LAB_SOURCE"]}

def wait(a):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    pathlib.Path("begun").write_text(str(os.getpid()))
    while not pathlib.Path("go on").exists():
        time.sleep(0.02)
    helper.kill()
    return {"sum": a}

def die(a, how):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    time.sleep(0.5)
    os.kill(os.getpid(), 9) if how == "killed" else os._exit(3)

def hold(a, megabytes):
    held = bytearray(10**6 * megabytes)
    held[::1024] = b"x" * len(held[::1024])
    time.sleep(0.5)
    return {}

def meet(a, others):
    pathlib.Path(f"here {a}").touch()
    deadline = time.monotonic() + 60
    while not all(pathlib.Path(f"here {other}").exists() for other in others):
        assert time.monotonic() < deadline, "the others did not come"
        time.sleep(0.02)
    return {"threads": os.environ.get("OMP_NUM_THREADS")}

def alone(a):
    before = sorted(path.name for path in pathlib.Path("runs").glob("[!.]*"))
    return {"threads": os.environ.get("OMP_NUM_THREADS"), "before": before}

def speak_and_fill_the_disk(a):
    print("no answer", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
    return {"sum": a, "long": "x" * 9_000}

def freeze(a):
    pathlib.Path("begun").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def verify(folder: Path) -> None:
    read_json(folder / "result.json")


def task(function: str, a: int = 0, alone: bool = False, **arguments) -> Task:
    """A task that calls a function of `work` and has a folder of its own."""
    order = {"function": f"work:{function}", "arguments": {"a": a, **arguments}, "conditions": {}}
    name = f"{function} {a}"
    return Task(name=name, order=order, target="result.json", digits="digits", verify=verify,
                home=name, alone=alone)  # fmt: skip


def result(folder: Path, of: Task) -> dict:
    return json.loads((folder / of.home / "result.json").read_text())["result"]


def rows(outcomes) -> list[tuple[str, str]]:
    return [(row.notebook, row.status) for row in outcomes]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The runner's folder, in one that holds the module `work` and that all stands in."""
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_failure_is_a_row_and_only_what_is_missing_is_done_again(folder, capsys):
    tasks = [task("add", a, b=1) for a in range(3)]
    Path("unlucky 1").touch()
    first = run_tasks(tasks, folder)
    assert rows(first) == [("add 0", "ok"), ("add 1", "failed"), ("add 2", "ok")]
    assert "AssertionError: no luck" in first[1].error and "Traceback" in first[1].error
    assert result(folder, tasks[2]) == {"sum": 3, "source": "digits"}
    assert files(folder) == {"add 0/result.json", "add 0/summary.json", "add 1/summary.json",
                             "add 2/result.json", "add 2/summary.json"}  # fmt: skip
    assert load_outcomes(folder / "add 0" / SUMMARY) == first[:1]
    assert first[0].seconds > 0 and first[0].digits == "small digits"

    Path("unlucky 1").unlink()
    second = run_tasks(tasks, folder)
    assert rows(second) == [("add 0", "ok"), ("add 1", "ok"), ("add 2", "ok")]
    assert second[0] == first[0] and second[2] == first[2], "done again for nothing"
    assert capsys.readouterr().out == "", "nothing was damaged"


def test_what_is_damaged_is_named_and_done_again_and_nothing_old_stays(folder, capsys):
    tasks = [task("add", a) for a in range(4)]
    run_tasks(tasks, folder)
    homes = [folder / one.home for one in tasks]
    (homes[0] / "result.json").unlink()
    (homes[1] / "result.json").write_text('{"result": {"su')
    (homes[1] / "old.json").touch()
    (homes[2] / SUMMARY).write_text((homes[2] / SUMMARY).read_text()[:30])
    (homes[3] / SUMMARY).write_text('[{"notebook": "add 3", "status": "ok"}]')
    capsys.readouterr()
    assert {status for _, status in rows(run_tasks(tasks, folder))} == {"ok"}
    for one, file, said in zip(
        tasks, ["result.json"] * 2 + [SUMMARY] * 2, capsys.readouterr().out.splitlines()
    ):
        assert said.startswith(f"{one.name} is run again: ") and str(Path(one.home, file)) in said
    assert not (homes[1] / "old.json").exists()
    assert all(result(folder, one)["sum"] == a for a, one in enumerate(tasks))


def test_tasks_may_share_a_folder_and_its_summary(folder):
    tasks = [replace(task("add", a), home="", target=f"{a}.json") for a in (1, 0)]
    assert rows(run_tasks(tasks, folder)) == [("add 1", "ok"), ("add 0", "ok")]
    assert files(folder) == {"0.json", "1.json", SUMMARY}
    assert rows(load_outcomes(folder / SUMMARY)) == [("add 0", "ok"), ("add 1", "ok")]


@posix
def test_a_process_that_dies_is_a_row_and_what_it_had_started_ends(folder):
    tasks = [task("die", 0, how="killed"), task("die", 1, how="exits"), task("add"),
             task("speak_and_fill_the_disk")]  # fmt: skip
    *died, added, full = run_tasks(tasks, folder)
    assert rows(died) == [(f"die {n}", "failed: its process died") for n in (0, 1)]
    assert all("--jobs 1" in row.error for row in died)
    assert added.status == "ok" and full.status == "failed" and "File too large" in full.error
    assert "speak_and_fill_the_disk 0/result.json" not in files(folder)
    wait_for(lambda: not processes_of(folder), seconds=5)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_what_runs_and_keeps_what_had_finished(number, folder):
    tasks = [task("add"), task("wait", 1), task("add", 2)]
    ready = (folder / "add 0" / SUMMARY).exists
    begun = Path("begun").exists
    with signal_when(lambda: ready() and begun(), number), pytest.raises(Interrupted) as stopped:
        run_tasks(tasks, folder, jobs=1, to_continue="say it again.")
    assert stopped.value.exit_code == 128 + number
    assert signal.Signals(number).name in str(stopped.value)
    assert stopped.value.__notes__ == ["What had finished is kept: say it again."]
    assert not processes_of(folder)
    assert files(folder) == {"add 0/result.json", "add 0/summary.json"}
    kept = (folder / "add 0").stat().st_mtime_ns
    Path("go on").touch()
    assert {status for _, status in rows(run_tasks(tasks, folder))} == {"ok"}
    assert (folder / "add 0").stat().st_mtime_ns == kept


@posix
def test_nothing_outlives_a_runner_that_is_killed(folder):
    tasks = [task("add"), task("wait", 1)]
    process = multiprocessing.get_context("fork").Process(target=run_tasks, args=(tasks, folder, 1))
    process.start()
    try:
        wait_for(Path("begun").exists)
        assert processes_of(folder)
    finally:
        process.kill()
    wait_for(lambda: not processes_of(folder), seconds=10)
    assert files(folder) == {"add 0/result.json", "add 0/summary.json"}
    assert not list(folder.glob(".partial-*"))
    (folder / ".partial-left" / "by a killed worker").mkdir(parents=True)
    Path("go on").touch()
    assert rows(run_tasks([task("wait", 1)], folder)) == [("wait 1", "ok")]
    assert not list(folder.glob(".partial-*"))


@posix
def test_a_worker_that_does_not_let_go_is_killed(folder, monkeypatch):
    monkeypatch.setattr(runner, "LET_GO_SECONDS", 0.5)
    with signal_when(Path("begun").exists, signal.SIGTERM), pytest.raises(Interrupted):
        run_tasks([task("freeze")], folder)
    assert not processes_of(folder)


def test_signals_are_given_back_and_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_pull(Stop()):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, before)
        stop = Stop()
        with signals_pull(stop):
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.raise_signal(number)
        assert stop.is_set() and "SIGTERM" in str(stop.reason), "the first counts"
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_folder_has_one_runner_and_its_lock_stays(folder):
    def refuses() -> bool:
        with ThreadPool(1) as pool, pytest.raises(UserError, match=f"at work in {folder}"):
            pool.apply(run_tasks, ([task("add")], folder))
        return True

    for _ in range(2):
        with only_runner(folder):
            assert refuses()
    assert Path(folder_lock(folder).lock_file).exists()


def test_a_result_that_cannot_be_put_in_its_place_stops_the_runner(folder):
    one = task("add")
    shared = [replace(one, home="", target="a.json"), task("add", 1)]
    (folder / "a.json").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"a\.json") as stopped:
        run_tasks(shared, folder, jobs=1)
    assert files(folder) == set(), "the runner went on"
    assert stopped.value.__notes__
    Path("file").touch()
    with pytest.raises(WriteError, match="file"):
        run_tasks([one], Path("file") / "runs")


@pytest.mark.skipif(cpu_count() < 2, reason="one core does one task at a time")
def test_tasks_share_the_cores_but_those_that_measure_time(folder, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    tasks = [task("alone", 3, alone=True), task("meet", 1, others=[2]), task("meet", 2, others=[1]),
             task("alone", 4, alone=True)]  # fmt: skip
    outcomes = run_tasks(tasks, folder, jobs=2)
    assert [row.error for row in outcomes] == [""] * 4
    share = min(cpu_count() // 2, choose_threads())
    assert [row.cores for row in outcomes] == [cpu_count(), share, share, cpu_count()]
    first, *others, second = (result(folder, one) for one in tasks)
    assert first == {"threads": None, "before": ["meet 1", "meet 2"]}
    assert second == {"threads": None, "before": ["alone 3", "meet 1", "meet 2"]}
    assert others == [{"threads": str(share)}] * 2
    (row,) = run_tasks([task("meet", 4, others=[])], folder, cores=1)
    assert row.cores == 1 and result(folder, task("meet", 4)) == {"threads": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (row,) = run_tasks([task("meet", 5, others=[])], folder)
    assert row.cores == 1 and result(folder, task("meet", 5)) == {"threads": "1"}


def test_the_memory_is_that_of_the_task(folder):
    small, large = run_tasks([task("hold", 0, megabytes=1), task("hold", 1, megabytes=200)], folder)
    assert 5 < small.peak_mb < 150 and 200 < large.peak_mb < small.peak_mb + 250


def test_what_cannot_begin_is_refused(folder, monkeypatch):
    for jobs in (0, -1, True):
        with pytest.raises(UserError, match="jobs must be"):
            run_tasks([task("add")], folder, jobs=jobs)
    pytest.importorskip("distributed")
    monkeypatch.setattr(runner, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"no Dask at tcp://127\.0\.0\.1:9 "):
        run_tasks([task("add")], folder, cluster="tcp://127.0.0.1:9")


def test_every_task_has_a_folder_name_of_its_own():
    names = [
        folder_name("05", digits, arguments, *identity)
        for digits in ("digits", "mnist")
        for identity in ((), ("a",))
        for arguments in ({"lr": 0.1}, {"lr": "0.1"}, {"lr": "0/1"}, {"lr": "x" * 300}, {"r": 0.1})
    ]
    assert len(set(names)) == len(names)
    assert all(len(Path(name).parts) == 1 and len(name) < 100 for name in names)
    assert folder_name("05", "digits", {"lr": 0.1}) == names[0]


@posix
@pytest.mark.slow
def test_a_cluster_does_the_same_and_outlives_a_worker_that_is_killed(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    tasks = [task("add"), task("wait", 1), task("add", 2)]

    def kill_the_worker_that_waits():
        wait_for(lambda: Path("begun").exists() and Path("begun").read_text(), seconds=300)
        dask_worker = psutil.Process(int(Path("begun").read_text())).parent()
        Path("go on").touch()
        dask_worker.kill()

    killer = threading.Thread(target=kill_the_worker_that_waits)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        killer.start()
        outcomes = run_tasks(tasks, folder, cluster=cluster.scheduler_address)
        killer.join()
    assert {row.status for row in outcomes} == {"ok"}
    assert [result(folder, one)["sum"] for one in tasks] == [0, 1, 2]
