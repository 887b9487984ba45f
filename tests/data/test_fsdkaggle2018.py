"""Downloads from a server on this machine: whole, cut off, wrong, hostile."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import run_fails

from dcase2018.data import fsdkaggle2018 as module
from dcase2018.data.fsdkaggle2018 import ARCHIVES, download
from dcase2018.utils.errors import Dcase2018Error


class Server:
    """Archives served on the loopback address."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.requests: list[str] = []
        self.pause = 0.0  # seconds from one byte to the next
        self.size = ""  # that is told instead of the right one
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def add(self, name: str, members: dict[str, bytes]) -> str:
        """Serve an archive; return its MD5 sum."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        self.files[f"/{name}.zip"] = buffer.getvalue()
        return hashlib.md5(buffer.getvalue()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args: object) -> None:
        self.files = server
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        content = self.files.files.get(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", self.files.size or str(len(content or b"")))
        self.end_headers()

    def do_GET(self) -> None:
        self.files.requests.append(self.path)
        self.do_HEAD()
        content = self.files.files.get(self.path, b"")
        if self.files.pause:
            self._drip(content)
        else:
            self.wfile.write(content[: len(content) // 2] if self.path in self.files.cut else content)

    def _drip(self, content: bytes) -> None:
        for byte in content:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:  # the client has gone
                return
            time.sleep(self.files.pause)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def archives(server: Server) -> dict[str, str]:
    return {
        "A": server.add("A", {"A/": b"", "A/one.wav": b"1" * 5000, "A/deep/two.wav": b"2"}),
        "B": server.add("B", {"B/three.csv": b"3"}),
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WHOLE = {"A/one.wav": b"1" * 5000, "A/deep/two.wav": b"2", "B/three.csv": b"3"}


def test_whole(server: Server, archives: dict[str, str], tmp_path: Path) -> None:
    assert download(tmp_path, server.url, archives) == ["A", "B"]
    assert files(tmp_path) == WHOLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A", "B"]


def test_what_is_there_is_skipped(server: Server, archives: dict[str, str], tmp_path: Path) -> None:
    download(tmp_path, server.url, {"A": archives["A"]})
    assert download(tmp_path, server.url, archives) == ["B"]
    assert server.requests == ["/A.zip", "/B.zip"]
    assert download(tmp_path, server.url, archives) == []


def test_cut_off_in_the_middle(server: Server, archives: dict[str, str], tmp_path: Path) -> None:
    server.cut = {"/B.zip"}
    with pytest.raises(Dcase2018Error, match=r"B.zip broke off: .*; run the same command again"):
        download(tmp_path, server.url, archives)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A"]
    server.cut = set()
    assert download(tmp_path, server.url, archives) == ["B"]
    assert files(tmp_path) == WHOLE


def test_a_wrong_checksum(server: Server, archives: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Dcase2018Error, match=f"its MD5 sum is not {'0' * 32}"):
        download(tmp_path, server.url, archives | {"A": "0" * 32})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("member", ["../out.txt", "A/../../out.txt", "/out.txt", "B/x", "A\\..\\x", "x"])
def test_hostile_names(server: Server, tmp_path: Path, member: str) -> None:
    md5 = server.add("A", {"A/good.txt": b"", member: b"evil"})
    data = tmp_path / "deep" / "data"
    with pytest.raises(Dcase2018Error, match=r"is refused: .* is not in A/"):
        download(data, server.url, {"A": md5})
    assert not (data / "A").exists()
    assert all(content != b"evil" for content in files(tmp_path).values())


def test_a_damaged_archive(server: Server, tmp_path: Path) -> None:
    server.files["/A.zip"] = b"PK but no zip"
    md5 = hashlib.md5(server.files["/A.zip"]).hexdigest()
    with pytest.raises(Dcase2018Error, match="is damaged"):
        download(tmp_path, server.url, {"A": md5})
    assert not (tmp_path / "A").exists()


def test_space_is_looked_at_first(
    server: Server, archives: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(Dcase2018Error, match=r"free space, and .* GB are needed"):
        download(tmp_path, server.url, archives)
    assert server.requests == []


def test_the_command_names_what_cannot_be_reached(server: Server, tmp_path: Path) -> None:
    message = run_fails(1, "download", tmp_path / "data", "--mirror", server.url)
    assert f"{server.url}/{next(iter(ARCHIVES))}.zip cannot be reached: 404" in message
    url = server.url.replace("//", "//me:secret@")
    assert "secret" not in run_fails(1, "download", tmp_path / "data", "--mirror", url)


def test_a_server_that_tells_a_wrong_size(server: Server, archives: dict[str, str], tmp_path: Path) -> None:
    server.size = "abc"
    assert download(tmp_path / "data", server.url, archives) == ["A", "B"]
    assert files(tmp_path / "data") == WHOLE
    server.size = "99999"
    with pytest.raises(Dcase2018Error, match=r"of 99999 bytes came|broke off"):
        download(tmp_path / "more", server.url, archives)
    assert not list((tmp_path / "more").glob("[!.]*"))


def test_a_server_that_gives_next_to_nothing(
    server: Server, archives: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pause = 0.3  # seconds between two bytes
    monkeypatch.setattr("dcase2018.data.fsdkaggle2018.TIMEOUT", 1)
    with pytest.raises(Dcase2018Error, match=r"broke off: \d bytes came in [12] s; run the same"):
        download(tmp_path / "data", server.url, archives)
    server.pause = 0
    assert download(tmp_path / "data", server.url, archives) == ["A", "B"]
