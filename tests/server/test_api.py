"""The API as clients meet it, good ones and bad ones: a real server, real processes, real sockets."""

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


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Status and reason of an answer that is a problem."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    return answer.status_code, answer.json()["error"]


def guarded(answer: requests.Response) -> bool:
    return all(answer.headers[name] == value for name, value in HEADERS.items())


@pytest.fixture(scope="module")
def slow_to_hear(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """20 minutes in a small file, which take seconds to hear."""
    path = tmp_path_factory.mktemp("slow") / "slow.flac"
    return write_wav(path, np.zeros(44100 * 1200, np.int16)).read_bytes()


@pytest.fixture
def ask(server: Server) -> Iterator[Callable[[bytes], socket.socket]]:
    """Send bytes, whatever they are, and give the socket to read from."""
    opened = []

    def ask(text: bytes) -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        opened[-1].sendall(text)
        return opened[-1]

    yield ask
    for connection in opened:
        connection.close()


def answer_to(connection: socket.socket) -> bytes:
    """All that is answered until the other side closes."""
    parts = []
    with closing(connection):
        while part := _received(connection):
            parts.append(part)
    return b"".join(parts)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except ConnectionResetError:
        return b""


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["logmel96", "baseline"])
def test_the_numbers_are_those_of_tag(
    kind: str, server: Server, runs: dict[str, Path], recordings: Path
) -> None:
    listener = AudioTagger.open([runs[kind]])
    for path in sorted(recordings.iterdir()):
        answer = post(server, f"/api/tag?run={kind}", path.read_bytes()).json()
        assert list(answer["scores"]) == listener.classes
        np.testing.assert_allclose(list(answer["scores"].values()), listener.scores(path), atol=1e-6)
        line, told = listener.window_scores(path), answer["timeline"]
        np.testing.assert_allclose(told["starts"], line.starts, atol=1e-3)
        np.testing.assert_allclose(told["ends"], line.ends, atol=1e-3)
        np.testing.assert_array_equal(told["quiet"], line.is_silent)
        for column, scores in zip(line.scores.T, told["scores"].values(), strict=True):
            np.testing.assert_allclose(scores, column, atol=1e-6)
        events = detect_events(line, listener.classes, EventConfig())
        assert [event["label"] for event in told["events"]] == [event.label for event in events]
        assert answer["seconds"] == line.seconds


def test_the_first_run_answers_if_none_is_named(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    answers = [post(server, f"/api/tag{query}", body).json() for query in ("", "?run=wide", "?run=baseline")]
    assert answers[0] == answers[1] != answers[2]


def test_what_is_known_and_taken(server: Server, runs: dict[str, Path]) -> None:
    told = requests.get(f"{server.address}/api/runs", timeout=10).json()
    assert [run["name"] for run in told["runs"]] == list(runs)
    assert all(run["classes"] == ["c0", "c1", "c2"] for run in told["runs"])
    assert told["limits"] == {"bytes": 4_000_000, "seconds": 4 * 3600}


def test_the_page_is_told_bit_by_bit(server: Server, runs: dict[str, Path], recordings: Path) -> None:
    path = recordings / "long.wav"
    answer = post(server, "/api/hear", path.read_bytes())
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0]["overview"]["seconds"] == 20
    assert lines[-1] == {"end": True}
    progress = [line["progress"] for line in lines if "progress" in line]
    assert progress == sorted(progress)
    scores = [line["scores"] for line in lines if "scores" in line]
    over_time = [line for line in lines if "lanes" in line]
    for number, kind in enumerate(runs):
        listener = AudioTagger.open([runs[kind]])
        np.testing.assert_allclose(list(scores[number].values()), listener.scores(path), atol=1e-6)
        line = listener.window_scores(path)
        assert over_time[number]["run"] == number
        np.testing.assert_allclose(over_time[number]["edges"], line.boundaries, atol=1e-3)
        for lane in over_time[number]["lanes"]:
            column = line.scores[:, listener.classes.index(lane["label"])]
            np.testing.assert_allclose(lane["scores"], column, atol=1e-3)


def test_files_that_cannot_be_heard(server: Server, recordings: Path, tmp_path: Path) -> None:
    whole = (recordings / "long.wav").read_bytes()
    endless = write_wav(tmp_path / "hours.flac", np.zeros(5 * 3600 * 1000), rate=1000)
    infinite = write_wav(tmp_path / "infinite.wav", np.full(4410, np.inf), subtype="FLOAT")
    for body, status, reason in (
        (b"\0" * 5000, 422, "this file cannot be heard: not audio: "),
        (b"<html>no sound</html>", 422, "this file cannot be heard: not audio: "),
        (whole[: len(whole) // 2], 422, "this file cannot be heard: truncated: 881978 of 1764000 bytes"),
        (infinite.read_bytes(), 422, "this file cannot be heard: not finite: it holds NaN or infinity"),
        (b"", 400, "the body is empty; send an audio file as the body"),
    ):
        for path in ("/api/tag", "/api/hear"):
            code, told = refusal(post(server, path, body))
            assert code == status
            assert told.startswith(reason)
    assert endless.stat().st_size < 100_000
    told = (413, "it lasts 5.0 hours; up to 4 hours are heard here")
    assert refusal(post(server, "/api/tag", endless.read_bytes())) == told


def test_wrong_use(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    assert refusal(post(server, "/api/tag?run=none", body)) == (
        404, "there is no run 'none' here; there are: wide, baseline",
    )  # fmt: skip
    code, told = refusal(post(server, "/api/tag?threshold=1", body))
    assert (code, told[:24]) == (400, "?threshold is unknown; ?")
    form = requests.post(f"{server.address}/api/tag", files={"file": body}, timeout=10)
    assert refusal(form) == (415, "a form was sent; send the audio file itself as the body")
    code, told = refusal(post(server, "/api/tag", body, **{"Content-Encoding": "gzip"}))
    assert code == 415
    answer = requests.get(f"{server.address}/api/tag", timeout=10)
    assert refusal(answer) == (405, "send an audio file by POST")
    for path in ("/none", "/api/none", "/..%2fserver.py", "/%2e%2e/server.py", "/page.js/../../server.py"):
        assert requests.get(server.address + path, timeout=10).status_code == 404


def test_a_file_that_is_too_large(server: Server) -> None:
    reason = (413, "the file is too large; up to 4 MB are taken here")
    assert refusal(post(server, "/api/tag", b"\0" * 4_000_001)) == reason
    chunks = (b"\0" * 50_000 for _ in range(100))
    assert refusal(post(server, "/api/tag", chunks)) == reason
    eventually(lambda: not server.held())


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
def test_pages_from_elsewhere_may_not_ask(headers: dict[str, str], server: Server) -> None:
    for answer in (
        post(server, "/api/tag", b"x", **headers),
        requests.get(server.address, headers=headers, timeout=10),
    ):
        code, _ = refusal(answer)
        assert code == 403
        assert guarded(answer)


def test_the_names_of_this_machine_may_be_asked_for(server: Server) -> None:
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


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/runs", "/none", "/api/tag"])
def test_every_answer_is_guarded(path: str, server: Server) -> None:
    answer = requests.get(server.address + path, timeout=10)
    assert guarded(answer)
    assert "'unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "text",
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
def test_what_is_no_request(text: bytes, server: Server, ask: Callable[[bytes], socket.socket]) -> None:
    assert answer_to(ask(text)).startswith(b"HTTP/1.1 4")
    assert requests.get(server.address, timeout=10).ok


def test_clients_that_are_slow(server: Server, ask: Callable[[bytes], socket.socket]) -> None:
    """Too slow with a head, silent after it, with a body, and with one that nobody reads."""
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\n"
    silent, slow_head = ask(b""), ask(head)
    slow_body = ask(head + b"Content-Length: 1000\r\n\r\nsome")
    unread = ask(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome")
    assert answer_to(silent) == answer_to(slow_head) == b""
    assert b"HTTP/1.1 408" in (told := answer_to(slow_body))
    assert b"the recording came too slowly" in told
    assert answer_to(unread).startswith(b"HTTP/1.1 200")
    eventually(lambda: not server.held())


def test_more_than_are_taken_at_a_time(
    server: Server, recordings: Path, ask: Callable[[bytes], socket.socket]
) -> None:
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(9):
        ask(head)
    body = (recordings / "one.wav").read_bytes()
    eventually(lambda: len(server.held()) == 9)
    answer = post(server, "/api/tag", body)
    assert refusal(answer) == (429, "9 recordings are being heard or wait; try again in a moment")
    assert int(answer.headers["retry-after"]) > 0
    eventually(lambda: post(server, "/api/tag", body).ok)


def test_a_process_that_dies_takes_one_recording_with_it(
    server: Server, recordings: Path, slow_to_hear: bytes
) -> None:
    found: list[requests.Response] = []
    thread = threading.Thread(target=lambda: found.append(post(server, "/api/tag", slow_to_hear)))
    thread.start()
    eventually(server.held)
    time.sleep(0.5)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    thread.join()
    code, told = refusal(found[0])
    assert code == 500
    assert told == (
        "the process that heard it was ended (signal 9); the file may be damaged, or memory have run out"
    )
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes()).ok
    assert server.held() == []


@pytest.mark.slow
def test_a_process_that_dies_while_nothing_is_heard_is_replaced(server: Server, recordings: Path) -> None:
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    body = (recordings / "one.wav").read_bytes()
    eventually(lambda: post(server, "/api/tag", body).ok)
    assert server.workers() != [worker]


def test_a_client_that_goes_ends_the_work(
    server: Server, recordings: Path, slow_to_hear: bytes, ask: Callable[[bytes], socket.socket]
) -> None:
    workers = server.workers()
    for path in (b"/api/tag", b"/api/hear"):
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        connection = ask(head % (path, len(slow_to_hear)) + slow_to_hear)
        if path == b"/api/hear":
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        eventually(server.held)
        connection.close()
        eventually(lambda: not server.held())
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes()).ok
    assert server.workers() == workers  # it was asked to stop, and did


def test_names_and_headers_reach_no_file(server: Server, recordings: Path) -> None:
    headers = {"X-File-Name": "../../evil.wav", "Content-Disposition": 'attachment; filename="/etc/passwd"'}
    assert post(server, "/api/tag", (recordings / "one.wav").read_bytes(), **headers).ok
    assert list(server.temporary.iterdir()) == []
