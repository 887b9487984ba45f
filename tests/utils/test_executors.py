"""Where trainings run. Names of accelerators in the environment stand for accelerators."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.parallel import InlineExecutor, make_executors, run_tasks
from dcase2018.utils.signals import Interrupted, catch_stop_signals

VISIBLE = "CUDA_VISIBLE_DEVICES"


def note(folder: Path, accelerator: str) -> None:
    """Stand for what prepares a process: a file tells that it was called, where, and what it saw."""
    (folder / f"prepared-{os.getpid()}").write_text(f"{accelerator} {os.environ.get(VISIBLE)}")


def look() -> tuple[int, str | None]:
    return os.getpid(), os.environ.get(VISIBLE)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def meet(mine: Path, other: Path) -> tuple[int, str | None]:
    """End only if another task runs at the same time."""
    mine.write_text("here")
    wait_for(other)
    return look()


def work(folder: Path, name: str) -> None:
    """Work until a signal comes, and end in order."""
    with catch_stop_signals() as stop_flag:
        (folder / f"begun-{name}").write_text(str(os.getpid()))
        while not stop_flag.signum:
            time.sleep(0.01)
        (folder / f"kept-{name}").touch()
        raise Interrupted(stop_flag.signum, "stopped after step 3")


def fail(begun: Path, error: Exception) -> None:
    wait_for(begun)
    raise error


def die(begun: Path) -> None:
    wait_for(begun)
    os.kill(os.getpid(), signal.SIGKILL)


def hold(path: Path) -> None:
    """Heed no SIGTERM, but tell by a file that it came."""
    signal.signal(signal.SIGTERM, lambda *_: path.with_suffix(".told").write_text("told"))
    path.write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def lives(pid: int) -> bool:
    """Whether there is such a process; one that waits to be reaped is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-a,GPU-b")


@pytest.mark.parametrize(("visible", "most"), [("", 5), ("0", 5), ("0,1", 1)])
def test_one_after_the_other_here(
    visible: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    with make_executors(most, partial(note, tmp_path)) as executors:
        assert list(run_tasks([look, look], executors)) == [(os.getpid(), visible)] * 2
    assert [path.read_text() for path in tmp_path.iterdir()] == [f" {visible}"]


def test_a_task_is_taken_when_what_ended_before_is_known() -> None:
    known: list[int] = []

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(4):
            assert known == list(range(number))
            yield partial(int, number)

    for number in run_tasks(tasks(), [InlineExecutor()]):
        known.append(number)  # noqa: PERF402
    assert known == [0, 1, 2, 3]


@pytest.mark.usefixtures("two")
def test_each_accelerator_has_a_process_that_sees_it_alone(tmp_path: Path) -> None:
    with make_executors(3, partial(note, tmp_path)) as executors:
        a, b = tmp_path / "a", tmp_path / "b"
        met = list(run_tasks([partial(meet, a, b), partial(meet, b, a)], executors))
        later = list(run_tasks([look] * 4, executors))
    assert sorted(seen or "" for _, seen in met) == ["GPU-a", "GPU-b"]
    assert os.getpid() not in dict(met)
    assert set(later) <= set(met)
    for pid, seen in met:
        assert (tmp_path / f"prepared-{pid}").read_text() == f"{seen} {seen}"
        assert not lives(pid)
    assert os.environ[VISIBLE] == "GPU-a,GPU-b"


@pytest.mark.usefixtures("two")
def test_an_error_is_told_and_the_others_end_in_order(tmp_path: Path) -> None:
    error = InputError("fold 2 has no clips")
    tasks = [partial(work, tmp_path, "other"), partial(fail, tmp_path / "begun-other", error)]
    with pytest.raises(InputError, match="fold 2 has no clips"), make_executors(2, str) as executors:
        list(run_tasks(tasks, executors))
    assert (tmp_path / "kept-other").exists()
    assert not lives(int((tmp_path / "begun-other").read_text()))


@pytest.mark.usefixtures("two")
def test_a_process_that_the_system_ends(tmp_path: Path) -> None:
    tasks = [partial(work, tmp_path, "other"), partial(die, tmp_path / "begun-other")]
    with (
        pytest.raises(Dcase2018Error, match="the system ended a process"),
        make_executors(2, str) as executors,
    ):
        list(run_tasks(tasks, executors))
    assert (tmp_path / "kept-other").exists()


@pytest.mark.usefixtures("two")
def test_what_cannot_be_prepared_is_told() -> None:
    error = InputError("KERAS_BACKEND=abacus cannot be loaded")
    with pytest.raises(InputError, match="abacus"), make_executors(2, partial(_refuse, error)):
        pass


def _refuse(error: Exception, accelerator: str) -> None:
    raise error


def test_an_error_of_another_process_says_the_same() -> None:
    error = pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM, "stopped after step 3")))
    assert (str(error), error.exit_code) == ("stopped after step 3", 143)


class Parent:
    """A process with one of its own an accelerator: they work, or heed no SIGTERM."""

    def __init__(self, folder: Path, task: str) -> None:
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"  # for shells' &
            "import sys, functools, pathlib, test_executors as t; folder = pathlib.Path(sys.argv[1]);"
            f"tasks = [{task} for name in 'abc'];"
            "from dcase2018.utils.parallel import make_executors, run_tasks\n"
            "if __name__ == '__main__':\n"
            "    try:\n"
            "        with make_executors(3, str) as places: list(run_tasks(tasks, places))\n"
            "    except Exception as error: print(error); sys.exit(error.exit_code)\n"
        )
        paths = os.pathsep.join(filter(None, sys.path))
        environment = os.environ | {VISIBLE: "0,1", "PYTHONPATH": paths}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        for name in "ab":
            wait_for(folder / f"begun-{name}")
        self.children = [int((folder / f"begun-{name}").read_text()) for name in "ab"]

    def end(self) -> tuple[int, str, str]:
        said, problems = self.process.communicate(timeout=60)
        return self.process.returncode, said, problems


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_ends_all_in_order(number: signal.Signals, whole_group: bool, tmp_path: Path) -> None:
    parent = Parent(tmp_path, "functools.partial(t.work, folder, name)")
    send = os.killpg if whole_group else os.kill  # a terminal's Ctrl-C goes to the group
    send(parent.process.pid, number)
    told = "stopped; what was finished is kept, and the same command goes on\n"
    assert parent.end() == (128 + number, told, "")
    assert {path.name for path in tmp_path.iterdir()} == {"begun-a", "begun-b", "kept-a", "kept-b"}
    assert not any(map(lives, parent.children))


def test_a_second_ctrl_c_ends_what_does_not_heed_the_first(tmp_path: Path) -> None:
    parent = Parent(tmp_path, "functools.partial(t.hold, folder / f'begun-{name}')")
    parent.process.send_signal(signal.SIGINT)
    for name in "ab":
        wait_for(tmp_path / f"begun-{name}.told")
    assert all(map(lives, parent.children))
    parent.process.send_signal(signal.SIGINT)
    code, _, problems = parent.end()
    assert (code, "KeyboardInterrupt" in problems) == (-signal.SIGINT, True)
    assert not any(map(lives, parent.children))


def test_processes_do_not_outlive_one_that_was_killed(tmp_path: Path) -> None:
    parent = Parent(tmp_path, "functools.partial(t.hold, folder / f'begun-{name}')")
    parent.process.kill()
    deadline = time.monotonic() + 30
    while any(map(lives, parent.children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
