"""The API with valid and invalid requests: a real server, real processes, real sockets."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import Server, write_wav

from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.event_detection import EventConfig, detect_events
from dcase2018.server.middleware import HEADERS


def post(server: Server, path: str, body: Any, **headers: str) -> requests.Response:
    return requests.post(server.address + path, data=body, headers=headers, timeout=60)


def error_of(response: requests.Response) -> tuple[int, str]:
    """Return the status and the reason of an error response."""
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    return response.status_code, response.json()["error"]


def has_security_headers(response: requests.Response) -> bool:
    return all(response.headers[name] == value for name, value in HEADERS.items())


@pytest.fixture(scope="module")
def slow_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of 20 minutes in a small file, which takes seconds to process."""
    path = tmp_path_factory.mktemp("slow") / "slow.flac"
    return write_wav(path, np.zeros(44100 * 1200, np.int16)).read_bytes()


@pytest.fixture
def send_raw(server: Server) -> Iterator[Callable[[bytes], socket.socket]]:
    """Send any bytes; return the open socket."""
    connections = []

    def send_raw(content: bytes) -> socket.socket:
        connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        connections[-1].sendall(content)
        return connections[-1]

    yield send_raw
    for connection in connections:
        connection.close()


def read_response(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    chunks = []
    with closing(connection):
        while chunk := _receive(connection):
            chunks.append(chunk)
    return b"".join(chunks)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except ConnectionResetError:
        return b""


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("run", ["logmel96", "baseline"])
def test_tag_response_has_the_scores_of_the_tagger(
    run: str, server: Server, runs: dict[str, Path], recordings: Path
) -> None:
    tagger = AudioTagger.open([runs[run]])
    for path in sorted(recordings.iterdir()):
        response = post(server, f"/api/tag?run={run}", path.read_bytes()).json()
        assert list(response["scores"]) == tagger.classes
        assert response["is_silent"] == (path.name in ("silence.wav", "empty.wav"))
        np.testing.assert_allclose(list(response["scores"].values()), tagger.scores(path), atol=1e-6)
        windows, values = tagger.window_scores(path), response["window_scores"]
        np.testing.assert_allclose(values["starts"], windows.starts, atol=1e-3)
        np.testing.assert_allclose(values["ends"], windows.ends, atol=1e-3)
        np.testing.assert_array_equal(values["is_silent"], windows.is_silent)
        for column, scores in zip(windows.scores.T, values["scores"].values(), strict=True):
            np.testing.assert_allclose(scores, column, atol=1e-6)
        events = detect_events(windows, tagger.classes, EventConfig())
        assert [event["label"] for event in values["events"]] == [event.label for event in events]
        assert response["seconds"] == windows.seconds


def test_first_run_is_the_default(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    queries = ("", "?run=logmel96", "?run=baseline")
    responses = [post(server, f"/api/tag{query}", body).json() for query in queries]
    assert responses[0] == responses[1] != responses[2]


def test_runs_response_lists_classes_and_limits(server: Server, runs: dict[str, Path]) -> None:
    response = requests.get(f"{server.address}/api/runs", timeout=10).json()
    assert [run["name"] for run in response["runs"]] == list(runs)
    assert all(run["classes"] == ["c0", "c1", "c2"] for run in response["runs"])
    assert all(run["score_meaning"].startswith("The scores of all 3 classes") for run in response["runs"])
    assert response["limits"] == {"bytes": 4_000_000, "seconds": 4 * 3600}


def test_stream_response_has_the_scores_of_all_runs(
    server: Server, runs: dict[str, Path], recordings: Path
) -> None:
    path = recordings / "long.wav"
    response = post(server, "/api/stream", path.read_bytes())
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines[0]["preview"]["seconds"] == 20
    assert lines[-1] == {"end": True}
    progress = [line["progress"] for line in lines if "progress" in line]
    assert progress == sorted(progress)
    scores = [line["scores"] for line in lines if "scores" in line]
    over_time = [line for line in lines if "class_scores" in line]
    for i, run in enumerate(runs):
        tagger = AudioTagger.open([runs[run]])
        np.testing.assert_allclose(list(scores[i].values()), tagger.scores(path), atol=1e-6)
        windows = tagger.window_scores(path)
        assert over_time[i]["run"] == i
        np.testing.assert_allclose(over_time[i]["boundaries"], windows.boundaries, atol=1e-3)
        assert list(over_time[i]["class_scores"]) == tagger.classes
        for column, sent in zip(windows.scores.T, over_time[i]["class_scores"].values(), strict=True):
            np.testing.assert_allclose(sent, column, atol=1e-3)


def test_invalid_recordings(server: Server, recordings: Path, tmp_path: Path) -> None:
    valid = (recordings / "long.wav").read_bytes()
    too_long = write_wav(tmp_path / "hours.flac", np.zeros(5 * 3600 * 1000), rate=1000)
    infinite = write_wav(tmp_path / "infinite.wav", np.full(4410, np.inf), subtype="FLOAT")
    for body, status, reason in (
        (b"\0" * 5000, 422, "the file is not audio of a known format: "),
        (b"<html>no sound</html>", 422, "the file is not audio of a known format: "),
        (
            infinite.read_bytes(),
            422,
            "the file is damaged: the samples contain NaN or infinity",
        ),
        (b"", 400, "the body is empty; send an audio file as the body"),
    ):
        for path in ("/api/tag", "/api/stream"):
            code, message = error_of(post(server, path, body))
            assert code == status
            assert message.startswith(reason)
    cut = post(server, "/api/tag", valid[: len(valid) // 2]).json()
    assert cut["warning"] == "incomplete: header promises 20.0 s, 10.0 s are there"
    assert cut["seconds"] == pytest.approx(10, abs=0.001)
    assert too_long.stat().st_size < 100_000
    expected = (413, "the recording lasts more than 4 hours, the limit; split it")
    assert error_of(post(server, "/api/tag", too_long.read_bytes())) == expected


def test_invalid_requests(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    assert error_of(post(server, "/api/tag?run=none", body)) == (
        404, "unknown run 'none'; the runs are logmel96, baseline",
    )  # fmt: skip
    expected = (400, "unknown parameter 'threshold'; the only one is ?run=NAME")
    assert error_of(post(server, "/api/tag?threshold=1", body)) == expected
    form = requests.post(f"{server.address}/api/tag", files={"file": body}, timeout=10)
    assert error_of(form) == (415, "the body is a form; send the audio file itself as the body")
    code, _ = error_of(post(server, "/api/tag", body, **{"Content-Encoding": "gzip"}))
    assert code == 415
    response = requests.get(f"{server.address}/api/tag", timeout=10)
    assert error_of(response) == (405, "send an audio file by POST")
    for path in ("/none", "/api/none", "/..%2fserver.py", "/%2e%2e/server.py", "/serve.js/../../server.py"):
        assert requests.get(server.address + path, timeout=10).status_code == 404


def test_too_large_file_is_rejected(server: Server) -> None:
    expected = (413, "the file is too large; the limit is 4 MB")
    assert error_of(post(server, "/api/tag", b"\0" * 4_000_001)) == expected
    chunks = (b"\0" * 50_000 for _ in range(100))
    assert error_of(post(server, "/api/tag", chunks)) == expected
    wait_until(lambda: not server.open_uploads())


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "elsewhere.example"},
        {"Host": "elsewhere.example:8000"},
        {"Host": "169.254.1.1"},
        {"Host": "127.0.0.1.elsewhere.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_requests_from_other_sites_are_rejected(headers: dict[str, str], server: Server) -> None:
    for response in (
        post(server, "/api/tag", b"x", **headers),
        requests.get(server.address, headers=headers, timeout=10),
    ):
        code, _ = error_of(response)
        assert code == 403
        assert has_security_headers(response)


def test_loopback_hosts_are_allowed(server: Server) -> None:
    for host in (
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.0.0.2",
        "[::1]",
        f"localhost:{server.port}",
        "localhost:9",
    ):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert requests.get(f"{server.address}/api/runs", headers=headers, timeout=10).ok
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert requests.get(server.address, headers=link, timeout=10).ok


@pytest.mark.parametrize("path", ["/", "/serve.js", "/api/runs", "/none", "/api/tag"])
def test_every_response_has_security_headers(path: str, server: Server) -> None:
    response = requests.get(server.address + path, timeout=10)
    assert has_security_headers(response)
    assert "'unsafe" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\0" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)  # fmt: skip
def test_malformed_http_is_rejected(
    content: bytes, server: Server, send_raw: Callable[[bytes], socket.socket]
) -> None:
    assert read_response(send_raw(content)).startswith(b"HTTP/1.1 4")
    assert requests.get(server.address, timeout=10).ok


@pytest.mark.slow
def test_slow_clients_time_out(server: Server, send_raw: Callable[[bytes], socket.socket]) -> None:
    """No request, an incomplete head, an incomplete body, and an incomplete body that is ignored."""
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\n"
    no_request, slow_head = send_raw(b""), send_raw(head)
    slow_body = send_raw(head + b"Content-Length: 1000\r\n\r\nsome")
    ignored_body = send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome")
    assert read_response(no_request) == read_response(slow_head) == b""
    assert b"HTTP/1.1 408" in (response := read_response(slow_body))
    assert b"the upload is too slow" in response
    assert read_response(ignored_body).startswith(b"HTTP/1.1 200")
    wait_until(lambda: not server.open_uploads())


def test_too_many_requests_are_rejected(
    server: Server, recordings: Path, send_raw: Callable[[bytes], socket.socket]
) -> None:
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(9):
        send_raw(head)
    body = (recordings / "one.wav").read_bytes()
    wait_until(lambda: len(server.open_uploads()) == 9)
    response = post(server, "/api/tag", body)
    assert error_of(response) == (429, "9 recordings are being processed; try again later")
    assert int(response.headers["retry-after"]) > 0
    wait_until(lambda: post(server, "/api/tag", body).ok)


@pytest.mark.slow
def test_worker_crash_fails_only_its_request(server: Server, recordings: Path, slow_recording: bytes) -> None:
    responses: list[requests.Response] = []
    thread = threading.Thread(target=lambda: responses.append(post(server, "/api/tag", slow_recording)))
    thread.start()
    wait_until(server.open_uploads)
    time.sleep(0.5)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    thread.join()
    code, message = error_of(responses[0])
    assert code == 500
    assert message == "the worker process died (signal 9); the file may be damaged, or memory ran out"
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes()).ok
    assert server.open_uploads() == []


@pytest.mark.slow
def test_idle_worker_is_replaced_after_a_crash(server: Server, recordings: Path) -> None:
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    body = (recordings / "one.wav").read_bytes()
    wait_until(lambda: post(server, "/api/tag", body).ok)
    assert server.workers() != [worker]


def test_disconnect_cancels_the_request(
    server: Server, recordings: Path, slow_recording: bytes, send_raw: Callable[[bytes], socket.socket]
) -> None:
    workers = server.workers()
    for path in (b"/api/tag", b"/api/stream"):
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        connection = send_raw(head % (path, len(slow_recording)) + slow_recording)
        if path == b"/api/stream":
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        wait_until(server.open_uploads)
        connection.close()
        wait_until(lambda: not server.open_uploads())
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes()).ok
    assert server.workers() == workers  # cancelled, not killed


def test_file_names_in_headers_are_ignored(server: Server, recordings: Path) -> None:
    headers = {"X-File-Name": "../../evil.wav", "Content-Disposition": 'attachment; filename="/etc/passwd"'}
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes(), **headers).ok
    assert list(server.temporary.iterdir()) == []
