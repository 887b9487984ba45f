"""FSDKaggle2018 from Zenodo: checked, unpacked safely, each folder whole or not there.

The record is 10.5281/zenodo.2552860. Its folders keep Zenodo's names; one that is there was unpacked whole
and is skipped, so a download that broke off goes on with the archive at which it stopped.
"""

import logging
import re
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pooch
import requests
import urllib3

from dcase2018.utils.atomic import atomic_directory, ensure_writable
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress

log = logging.getLogger(__name__)

ZENODO = "https://zenodo.org/records/2552860/files"

# Folder, which is also the archive's only one and its name, and the archive's MD5 sum.
ARCHIVES = {
    "FSDKaggle2018.meta": "f16828ac8be0e5285b9175a12f90d784",
    "FSDKaggle2018.doc": "4f2d1ac88f33a62f9db3108b269ee1b7",
    "FSDKaggle2018.audio_test": "f85c8665c3fc39311ea1b748e194a81d",
    "FSDKaggle2018.audio_train": "a8b47ff4b52022c178f88fa5c6f080d0",
}

TIMEOUT = 60  # seconds without an answer
LEAST_RATE = 1000  # bytes a second, over as long
PIECE_BYTES = 1 << 16


def download(data: Path, base_url: str = ZENODO, archives: Mapping[str, str] = ARCHIVES) -> list[str]:
    """Fetch and unpack what is not yet in `data`, and return the names of the folders that were.

    Raises
    ------
    Dcase2018Error
        If a transfer fails or its checksum is wrong, an archive would write outside its folder, or
        there is too little space. What was unpacked before stays.
    OSError
        If something cannot be written.
    """
    ensure_writable(data)
    missing = [name for name in archives if not (data / name).exists()]
    sizes = {name: _size(f"{base_url}/{name}.zip") for name in missing}
    # Audio hardly shrinks in a zip: an archive and what comes out of it are about as large.
    _ensure_space(data, sum(sizes.values()) + max(sizes.values(), default=0))
    for name in missing:
        log.info("%s: %.1f MB", name, sizes[name] / 1e6)
        archive = _fetch(f"{base_url}/{name}.zip", archives[name], data / f".{name}.zip")
        _unpack(archive, data / name)
        archive.unlink()
    return missing


def _size(url: str) -> int:
    try:
        answer = requests.head(url, allow_redirects=True, timeout=TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise Dcase2018Error(_without_password(f"{url} cannot be reached: {error}")) from None
    size = answer.headers.get("Content-Length", "")
    return int(size) if size.isdecimal() else 0  # unknown


def _without_password(text: str) -> str:
    """Cover what stands before the host in an address."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _ensure_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Dcase2018Error(
            f"{folder} has {free / 1e9:.1f} GB of free space, and {needed / 1e9:.1f} GB are needed"
        )


def _fetch(url: str, md5: str, path: Path) -> Path:
    """Download a file; it is there only if its checksum holds, and then it is not fetched again."""
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=_transfer)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        message = f"{url} broke off: {error}; run the same command again"
        raise Dcase2018Error(_without_password(message)) from None
    except ValueError:
        message = f"{url} is not the file that was published: its MD5 sum is not {md5}; run the command again"
        raise Dcase2018Error(_without_password(message)) from None
    return path


def _transfer(url: str, target: str, _: pooch.Pooch) -> None:
    """Write what is at an address to a file; a server that gives next to nothing is given up."""
    plain = {"Accept-Encoding": "identity"}
    with (
        requests.get(url, stream=True, timeout=TIMEOUT, headers=plain) as answer,
        Path(target).open("wb") as file,
    ):
        answer.raise_for_status()
        size = answer.headers.get("Content-Length", "")
        total = int(size) if size.isdecimal() else 0
        with Progress(Path(url).name, total, "bytes") as progress:
            since, held = time.monotonic(), 0
            while piece := answer.raw.read1(PIECE_BYTES):
                file.write(piece)
                progress.update(len(piece))
                held += len(piece)
                if (spent := time.monotonic() - since) > TIMEOUT:
                    if held < LEAST_RATE * spent:
                        raise requests.Timeout(f"{held} bytes came in {spent:.0f} s")
                    since, held = time.monotonic(), 0
        if total > file.tell():
            raise requests.ConnectionError(f"{file.tell()} of {total} bytes came")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive whose only folder is `folder`, whole or not at all."""
    try:
        with zipfile.ZipFile(archive) as source, atomic_directory(folder, fsync=False) as partial:
            members = source.infolist()
            _refuse_strangers(members, archive, folder.name)
            _ensure_space(folder.parent, sum(member.file_size for member in members))
            with Progress(f"unpack {folder.name}", len(members), "files") as progress:
                for member in members:
                    member.filename = member.filename.removeprefix(f"{folder.name}/")
                    if member.filename:
                        source.extract(member, partial)
                    progress.update(1)
    except (zipfile.BadZipFile, EOFError) as error:
        raise Dcase2018Error(f"{archive} is damaged: {error}; remove it and run again") from None


def _refuse_strangers(members: list[zipfile.ZipInfo], archive: Path, folder: str) -> None:
    """Refuse an archive in which a name leads out of the folder, or is one that systems read differently."""
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if parts[:1] != (folder,) or ".." in parts or "\\" in member.filename:
            raise Dcase2018Error(f"{archive} is refused: {member.filename!r} is not in {folder}/")
