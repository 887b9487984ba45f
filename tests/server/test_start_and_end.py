"""Start and end of the server: errors, signals, and no leftover processes."""

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


def serve_command(*args: object, code: str = "") -> list[str]:
    script = f"{code}\nfrom dcase2018.cli.main import main\nmain(prog_name='dcase2018')"
    return [sys.executable, "-c", script, "serve", *map(str, args)]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):  # a zombie process has none
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_address_that_cannot_be_bound(runs: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        message = run_fails(2, "serve", runs["logmel96"], "--port", port)
    assert message == f"dcase2018: port {port} of 127.0.0.1 is in use; give another --port\n"
    assert "--host is empty; give an address" in run_fails(2, "serve", runs["logmel96"], "--host", "")
    message = run_fails(2, "serve", runs["logmel96"], "--host", "192.0.2.1", "--port", 0)
    assert message.startswith("dcase2018: cannot bind to 192.0.2.1:0: ")


def test_run_serve_uses_the_run_of_the_preset(project: Path) -> None:
    (project / ".venv" / ".installed-serve").touch()
    dry_run = "RUN=.venv/bin/dcase2018 run --dry-run"
    command = ["make", "serve", "PRESET=quick", "SERVE_FLAGS=--port 8001", dry_run]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "dcase2018 serve runs/demo/quick --port 8001"


def test_folder_without_a_run(tmp_path: Path) -> None:
    assert run_fails(2, "serve", tmp_path, "--port", 0) == (
        f"loading the tagger ...\ndcase2018: {tmp_path} holds no run; dcase2018 fit makes one\n"
    )


def test_missing_extra(runs: dict[str, Path]) -> None:
    command = serve_command(runs["logmel96"], code="import sys; sys.modules['uvicorn'] = None")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "dcase2018: serve requires uvicorn; run pip install 'dcase2018[serve]'\n"


def test_server_process_imports_neither_numpy_nor_keras_nor_librosa() -> None:
    code = "import sys, dcase2018.server.serve; print({'numpy', 'keras', 'librosa'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_tagger_that_cannot_be_loaded(runs: dict[str, Path]) -> None:
    command = serve_command(runs["logmel96"], "--port", 0)
    environment = os.environ | {"KERAS_BACKEND": "nonsense"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "loading the tagger ...\ndcase2018: KERAS_BACKEND=nonsense cannot be loaded"
    )
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_loading(runs: dict[str, Path]) -> None:
    process = subprocess.Popen(
        serve_command(runs["logmel96"], "--port", 0), stderr=subprocess.PIPE, text=True
    )
    while not (workers := children(process.pid)):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "loading the tagger ...\ndcase2018: stopped\n"
    wait_for_end(workers)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_a_request(signum: int, runs: dict[str, Path], tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"])
    body = write_wav(tmp_path / "long.flac", np.zeros(44100 * 1200, np.int16)).read_bytes()
    responses: list[requests.Response] = []
    thread = threading.Thread(
        target=lambda: responses.append(requests.post(f"{server.address}/api/tag", data=body, timeout=60))
    )
    thread.start()
    while not server.open_uploads():
        time.sleep(0.05)
    workers = server.workers()
    assert server.stop(signum) == 128 + signum
    thread.join()
    assert responses[0].status_code == 503
    assert responses[0].json() == {"error": "the server is shutting down"}
    assert server.errors.read_text().splitlines()[-1] == "dcase2018: stopped"
    wait_for_end(workers)
    assert list_dir(server.temporary) == []


@pytest.mark.slow
def test_workers_die_with_a_killed_server(runs: dict[str, Path], tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"])
    workers = server.workers()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsome")
        while not server.open_uploads():
            time.sleep(0.05)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    wait_for_end(workers)
    assert list_dir(server.temporary) == []


@pytest.mark.slow
def test_public_host_is_served_with_a_warning(
    runs: dict[str, Path], recordings: Path, tmp_path: Path
) -> None:
    server = Server(tmp_path, SERVE, runs["logmel96"], "--host", "0.0.0.0")
    assert server.address == f"http://localhost:{server.port}"
    assert "everyone who can reach this machine can use the server" in server.errors.read_text()
    for host in ("localhost", "192.168.1.5", socket.gethostname()):
        headers = {"Host": f"{host}:{server.port}", "Origin": f"http://{host}:{server.port}"}
        assert requests.get(f"{server.address}/api/runs", headers=headers, timeout=10).ok
    headers = {"Host": "elsewhere.example"}
    assert requests.get(f"{server.address}/", headers=headers, timeout=10).status_code == 403
    assert server.stop() == 143
