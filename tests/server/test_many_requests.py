"""A thousand requests, eight at a time, with a hundred bad ones among them: nothing leaks, nothing breaks."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import Server

pytestmark = pytest.mark.slow

GOOD, AT_A_TIME, BAD_EVERY = 1000, 8, 10


def raw(server: Server, text: bytes) -> None:
    """Send bytes and go, whatever is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(text)
        connection.settimeout(0.2)
        with suppress(OSError):
            connection.recv(100)


def bad(server: Server, number: int) -> None:
    post = f"{server.address}/api/tag"
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    kinds = (
        lambda: raw(server, b"\x16\x03\x01garbage\r\n\r\n"),
        lambda: raw(server, head + b"RIFF" * 1000),  # and goes in the middle of it
        lambda: raw(server, head.replace(b"localhost", b"elsewhere.example")),
        lambda: requests.post(post, data=os.urandom(5000), timeout=60),
        lambda: requests.post(post, data=b"\0" * 5_000_000, timeout=60),
        lambda: requests.post(post, data=b"", timeout=60),
        lambda: requests.post(f"{post}?run=none", data=b"x", timeout=60),
    )
    kinds[number % len(kinds)]()


def resident(pid: int) -> float:
    """Memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_thousand_requests(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    expected = requests.post(f"{server.address}/api/tag", data=body, timeout=60).json()

    def ask(number: int) -> float:
        if number % BAD_EVERY == 0:
            bad(server, number // BAD_EVERY)
        started = time.monotonic()
        answer = requests.post(f"{server.address}/api/tag", data=body, timeout=60)
        assert answer.json() == expected
        return time.monotonic() - started

    def measure() -> tuple[float, list[float], int]:
        open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        return resident(server.process.pid), [resident(pid) for pid in server.workers()], open_files

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(ask, range(0, GOOD, 5)))  # until memory has reached its height
        workers, before = server.workers(), measure()
        started = time.monotonic()
        seconds = list(pool.map(ask, range(GOOD)))
        elapsed = time.monotonic() - started
    time.sleep(3)  # for connections that were left alone to be given up
    after = measure()
    assert server.workers() == workers
    assert server.held() == []
    assert list(server.temporary.iterdir()) == []
    assert after[2] <= before[2] + 2
    assert after[0] - before[0] < 10
    assert after[1][0] - before[1][0] < 30
    told = ", ".join(
        f"{share} %: {np.percentile(seconds, share) * 1000:.0f} ms" for share in (50, 95, 99, 100)
    )
    print(f"\n{GOOD / elapsed:.0f} requests a second; latency {told}; before and after: {before}, {after}")
