"""How serving begins and ends: what hinders it, signals, and that no process is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import SERVE, Server, list_dir, run_fails, write_wav


def command(*args: object, code: str = "") -> list[str]:
    start = f"{code}\nfrom dcase2018.cli.main import main\nmain(prog_name='dcase2018')"
    return [sys.executable, "-c", start, "serve", *map(str, args)]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):  # a zombie that nobody waits for has none
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_port_that_is_taken(runs: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = run_fails(2, "serve", runs["logmel96"], "--port", port)
    assert message == f"dcase2018: port {port} of 127.0.0.1 is taken; name another by --port\n"
    assert "--host needs an address" in run_fails(2, "serve", runs["logmel96"], "--host", "")
    message = run_fails(2, "serve", runs["logmel96"], "--host", "192.0.2.1", "--port", 0)
    assert message.startswith("dcase2018: 192.0.2.1:0 cannot be served at: ")


def test_make_serves_the_run_that_it_trains(project: Path) -> None:
    command = ["make", "-n", "serve", "PRESET=quick", "SERVE_FLAGS=--port 8001"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == ".venv/bin/dcase2018 serve runs/demo/quick --port 8001"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert run_fails(2, "serve", tmp_path, "--port", 0) == (
        f"loading the tagger ...\ndcase2018: {tmp_path} holds no run; dcase2018 fit makes one\n"
    )


def test_without_the_extra(runs: dict[str, Path]) -> None:
    hidden = command(runs["logmel96"], code="import sys; sys.modules['uvicorn'] = None")
    done = subprocess.run(hidden, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "dcase2018: serve needs uvicorn; pip install 'dcase2018[serve]'\n"


def test_the_server_itself_waits_for_no_library_of_sounds_or_networks() -> None:
    code = "import sys, dcase2018.server.serve; print({'numpy', 'keras', 'librosa'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_a_tagger_that_cannot_be_loaded(runs: dict[str, Path]) -> None:
    hidden = command(runs["logmel96"], "--port", 0)
    environment = os.environ | {"KERAS_BACKEND": "nonsense"}
    done = subprocess.run(hidden, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "loading the tagger ...\ndcase2018: the tagger cannot be loaded: unexpected "
    )
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_it_loads(runs: dict[str, Path]) -> None:
    process = subprocess.Popen(command(runs["logmel96"], "--port", 0), stderr=subprocess.PIPE, text=True)
    while not (workers := children(process.pid)):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "loading the tagger ...\ndcase2018: stopped\n"
    wait_for_end(workers)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_something_is_heard(number: int, runs: dict[str, Path], tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"])
    body = write_wav(tmp_path / "long.flac", np.zeros(44100 * 1200, np.int16)).read_bytes()
    answers: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(requests.post(f"{server.address}/api/tag", data=body, timeout=60))
    )
    asking.start()
    while not server.held():
        time.sleep(0.05)
    workers = server.workers()
    assert server.end(number) == 128 + number
    asking.join()
    assert (answers[0].status_code, answers[0].json()) == (503, {"error": "the server is ending"})
    assert server.errors.read_text().splitlines()[-1] == "dcase2018: stopped"
    wait_for_end(workers)
    assert list_dir(server.temporary) == []


@pytest.mark.slow
def test_nothing_outlives_a_server_that_is_killed(runs: dict[str, Path], tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"])
    workers = server.workers()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsome")
        while not server.held():
            time.sleep(0.05)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    wait_for_end(workers)
    assert list_dir(server.temporary) == []


@pytest.mark.slow
def test_another_host_is_served_with_a_word_about_it(
    runs: dict[str, Path], recordings: Path, tmp_path: Path
) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"], "--host", "0.0.0.0")
    assert server.address == f"http://localhost:{server.port}"
    assert "everybody who reaches this machine can use it" in server.errors.read_text()
    for host in ("localhost", "192.168.1.5", socket.gethostname()):
        headers = {"Host": f"{host}:{server.port}", "Origin": f"http://{host}:{server.port}"}
        assert requests.get(f"{server.address}/api/runs", headers=headers, timeout=10).ok
    elsewhere = {"Host": "elsewhere.example"}
    assert requests.get(f"{server.address}/", headers=elsewhere, timeout=10).status_code == 403
    assert server.end() == 143
