"""Downloads from a local server: complete, truncated, corrupt and malicious archives."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import DATA, run_fails

from dcase2018.data import fsdkaggle2018 as module
from dcase2018.data.fsdkaggle2018 import ARCHIVES, download, has_fsdkaggle2018_clips
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.locks import exclusive_lock


class ArchiveServer:
    """An HTTP server for archives on the loopback address."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.truncated: set[str] = set()
        self.requests: list[str] = []
        self.delay = 0.0  # seconds between two bytes
        self.content_length = ""  # replaces the correct header value
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def add(self, name: str, members: dict[str, bytes]) -> str:
        """Add an archive; return its MD5 sum."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        self.files[f"/{name}.zip"] = buffer.getvalue()
        return hashlib.md5(buffer.getvalue()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, archives: ArchiveServer, *args: object) -> None:
        self.archives = archives
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        content = self.archives.files.get(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", self.archives.content_length or str(len(content or b"")))
        self.end_headers()

    def do_GET(self) -> None:
        self.archives.requests.append(self.path)
        self.do_HEAD()
        content = self.archives.files.get(self.path, b"")
        if self.archives.delay:
            self._send_slowly(content)
        else:
            is_truncated = self.path in self.archives.truncated
            self.wfile.write(content[: len(content) // 2] if is_truncated else content)

    def _send_slowly(self, content: bytes) -> None:
        for byte in content:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:  # the client closed the connection
                return
            time.sleep(self.archives.delay)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    server = ArchiveServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def archives(server: ArchiveServer) -> dict[str, str]:
    return {
        "A": server.add("A", {"A/": b"", "A/one.wav": b"1" * 5000, "A/deep/two.wav": b"2"}),
        "B": server.add("B", {"B/three.csv": b"3"}),
    }


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


COMPLETE = {"A/one.wav": b"1" * 5000, "A/deep/two.wav": b"2", "B/three.csv": b"3"}


def test_archives_are_downloaded_and_unpacked(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path
) -> None:
    assert download(tmp_path, server.url, archives) == ["A", "B"]
    assert read_files(tmp_path) == COMPLETE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A", "B"]


def test_existing_folders_are_skipped(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path
) -> None:
    download(tmp_path, server.url, {"A": archives["A"]})
    assert download(tmp_path, server.url, archives) == ["B"]
    assert server.requests == ["/A.zip", "/B.zip"]
    assert download(tmp_path, server.url, archives) == []


def test_interrupted_download_resumes(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path
) -> None:
    server.truncated = {"/B.zip"}
    with pytest.raises(
        Dcase2018Error, match=r"B.zip: the transfer failed: .*; run the same command again to resume"
    ):
        download(tmp_path, server.url, archives)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A"]
    server.truncated = set()
    assert download(tmp_path, server.url, archives) == ["B"]
    assert read_files(tmp_path) == COMPLETE


def test_leftovers_of_a_killed_download_are_removed(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path
) -> None:
    hidden = tmp_path / ".A.download"
    hidden.mkdir()
    (hidden / "tmp0a1b2c3d").write_text("half")
    message = "A is being written by another process"
    with exclusive_lock(hidden, tmp_path / "A"), pytest.raises(Dcase2018Error, match=message):
        download(tmp_path, server.url, archives)
    assert download(tmp_path, server.url, archives) == ["A", "B"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A", "B"]


def test_wrong_checksum_raises(server: ArchiveServer, archives: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Dcase2018Error, match=f"the MD5 sum is not {'0' * 32}"):
        download(tmp_path, server.url, archives | {"A": "0" * 32})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("member", ["../out.txt", "A/../../out.txt", "/out.txt", "B/x", "A\\..\\x", "x"])
def test_path_traversal_raises(server: ArchiveServer, tmp_path: Path, member: str) -> None:
    md5 = server.add("A", {"A/good.txt": b"", member: b"evil"})
    data = tmp_path / "deep" / "data"
    with pytest.raises(Dcase2018Error, match=r"A.zip: the path .* is outside A/"):
        download(data, server.url, {"A": md5})
    assert not (data / "A").exists()
    assert all(content != b"evil" for content in read_files(tmp_path).values())


def test_damaged_archive_raises(server: ArchiveServer, tmp_path: Path) -> None:
    server.files["/A.zip"] = b"PK, not a zip"
    md5 = hashlib.md5(server.files["/A.zip"]).hexdigest()
    with pytest.raises(Dcase2018Error, match="is damaged"):
        download(tmp_path, server.url, {"A": md5})
    assert not (tmp_path / "A").exists()


def test_disk_space_is_checked_before_the_download(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(Dcase2018Error, match=r"free space; .* GB are required"):
        download(tmp_path, server.url, archives)
    assert server.requests == []


def test_download_command_reports_the_url_without_credentials(server: ArchiveServer, tmp_path: Path) -> None:
    message = run_fails(1, "download", tmp_path / "data", "--mirror", server.url)
    assert f"{server.url}/{next(iter(ARCHIVES))}.zip cannot be reached: 404" in message
    url = server.url.replace("//", "//me:secret@")
    assert "secret" not in run_fails(1, "download", tmp_path / "data", "--mirror", url)


def test_wrong_content_length(server: ArchiveServer, archives: dict[str, str], tmp_path: Path) -> None:
    server.content_length = "abc"
    assert download(tmp_path / "data", server.url, archives) == ["A", "B"]
    assert read_files(tmp_path / "data") == COMPLETE
    server.content_length = "99999"
    with pytest.raises(Dcase2018Error, match=r"of 99999 bytes received|the transfer failed"):
        download(tmp_path / "more", server.url, archives)
    assert not list((tmp_path / "more").glob("[!.]*"))


def test_slow_server_is_aborted(
    server: ArchiveServer, archives: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.delay = 0.3
    monkeypatch.setattr("dcase2018.data.fsdkaggle2018.TIMEOUT", 1)
    with pytest.raises(
        Dcase2018Error, match=r"the transfer failed: \d bytes received in [12] s; run the same"
    ):
        download(tmp_path / "data", server.url, archives)
    server.delay = 0
    assert download(tmp_path / "data", server.url, archives) == ["A", "B"]


def test_clips_of_fsdkaggle2018_are_recognized_by_name() -> None:
    train = pd.read_csv(DATA / "train.csv")
    parts = [
        train[train.manually_verified == 1],
        train[train.manually_verified == 0],
        train[::2],
        train[1::2],
    ]
    assert all(has_fsdkaggle2018_clips(part.fname) for part in parts)
    assert has_fsdkaggle2018_clips(f"audio_train/{fname}" for fname in train.fname)
    others = np.random.default_rng(0).choice(2**32, 10_000, replace=False)
    assert not has_fsdkaggle2018_clips(f"{number:08x}.wav" for number in others)
