"""Load test: a thousand requests, eight at a time, and a hundred invalid ones, without leaks."""

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

N_REQUESTS, N_THREADS, INVALID_EVERY = 1000, 8, 10


def send_and_close(server: Server, content: bytes) -> None:
    """Send bytes, and close the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(content)
        connection.settimeout(0.2)
        with suppress(OSError):
            connection.recv(100)


def send_invalid(server: Server, i: int) -> None:
    url = f"{server.address}/api/tag"
    head = b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    requests_of_kind = (
        lambda: send_and_close(server, b"\x16\x03\x01garbage\r\n\r\n"),
        lambda: send_and_close(server, head + b"RIFF" * 1000),  # incomplete
        lambda: send_and_close(server, head.replace(b"localhost", b"elsewhere.example")),
        lambda: requests.post(url, data=os.urandom(5000), timeout=60),
        lambda: requests.post(url, data=b"\0" * 5_000_000, timeout=60),
        lambda: requests.post(url, data=b"", timeout=60),
        lambda: requests.post(f"{url}?run=none", data=b"x", timeout=60),
    )
    requests_of_kind[i % len(requests_of_kind)]()


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_many_requests_leak_no_memory_files_or_processes(server: Server, recordings: Path) -> None:
    body = (recordings / "one.wav").read_bytes()
    expected = requests.post(f"{server.address}/api/tag", data=body, timeout=60).json()

    def tag(i: int) -> float:
        if i % INVALID_EVERY == 0:
            send_invalid(server, i // INVALID_EVERY)
        start = time.monotonic()
        response = requests.post(f"{server.address}/api/tag", data=body, timeout=60)
        assert response.json() == expected
        return time.monotonic() - start

    def measure() -> tuple[float, list[float], int]:
        n_open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        return resident_mb(server.process.pid), [resident_mb(pid) for pid in server.workers()], n_open_files

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(tag, range(0, N_REQUESTS, 5)))  # until the memory use is stable
        workers, before = server.workers(), measure()
        start = time.monotonic()
        latencies = list(pool.map(tag, range(N_REQUESTS)))
        elapsed = time.monotonic() - start
    time.sleep(3)  # until idle connections are closed
    after = measure()
    assert server.workers() == workers
    assert server.open_uploads() == []
    assert list(server.temporary.iterdir()) == []
    assert after[2] <= before[2] + 2
    assert after[0] - before[0] < 10
    assert after[1][0] - before[1][0] < 30
    percentiles = ", ".join(f"{p} %: {np.percentile(latencies, p) * 1000:.0f} ms" for p in (50, 95, 99, 100))
    print(f"\n{N_REQUESTS / elapsed:.0f} requests per second; latency {percentiles}")
    print(f"memory and open files before: {before}; after: {after}")
