"""Download FSDKaggle2018 from Zenodo (record 10.5281/zenodo.2552860), and recognize its clips.

Each archive is checked by its MD5 sum and unpacked atomically into a folder with Zenodo's name. Existing
folders are skipped, so that an interrupted download continues with the archive at which it stopped.
"""

import logging
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pooch
import requests
import urllib3

from dcase2018.utils.atomic import atomic_directory, ensure_writable, work_directory
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress

log = logging.getLogger(__name__)

ZENODO = "https://zenodo.org/records/2552860/files"

# MD5 sum by archive. Each archive has one folder, with the name of the archive.
ARCHIVES = {
    "FSDKaggle2018.meta": "f16828ac8be0e5285b9175a12f90d784",
    "FSDKaggle2018.doc": "4f2d1ac88f33a62f9db3108b269ee1b7",
    "FSDKaggle2018.audio_test": "f85c8665c3fc39311ea1b748e194a81d",
    "FSDKaggle2018.audio_train": "a8b47ff4b52022c178f88fa5c6f080d0",
}

LICENSES = ("CC0", "CC BY", "CC BY-NC")  # of clips; each clip has one

# The first training clips in order of name. Names are random hexadecimal numbers, so other corpora have none
# of these, and a large part of FSDKaggle2018 has at least one.
FIRST_CLIPS = frozenset(
    f"{name}.wav"
    for name in (
        "00044347", "001ca53d", "002d256b", "0033e230", "00353774", "003b91e8", "003da8e5", "0048fd00",
        "004ad66f", "0063ab88", "006f2f32", "0075d39c", "00780200", "0079d310", "0091fc7f", "0097160c",
        "00ad7068", "00c5808a", "00c82919", "00c934d7", "00c9e799", "00cb787c", "00ce569f", "00d1fe46",
    )
)  # fmt: skip

TIMEOUT = 60  # seconds without a response, and over which the rate is measured
MIN_BYTES_PER_SECOND = 1000
CHUNK_BYTES = 1 << 16


def download(data: Path, base_url: str = ZENODO, archives: Mapping[str, str] = ARCHIVES) -> list[str]:
    """Download and unpack the archives that are not yet in a folder.

    Parameters
    ----------
    data
        Target folder.
    base_url
        Address of the archives; `/NAME.zip` is appended.
    archives
        MD5 sum by name of the archive.

    Returns
    -------
    list of str
        Names of the new folders.

    Raises
    ------
    Dcase2018Error
        If a transfer fails, a checksum is wrong, an archive has paths outside its folder, or the disk is too
        full. Folders that are already unpacked stay.
    OSError
        If the target folder cannot be written to.
    """
    ensure_writable(data)
    missing = [name for name in archives if not (data / name).exists()]
    sizes = {name: _content_length(f"{base_url}/{name}.zip") for name in missing}
    # Audio is hardly compressible: an archive and its contents have about the same size.
    _check_disk_space(data, sum(sizes.values()) + max(sizes.values(), default=0))
    for name in missing:
        log.info("%s: %.1f MB", name, sizes[name] / 1e6)
        with work_directory(data / name, "download") as folder:
            for partial in folder.glob("tmp*"):
                partial.unlink()  # pooch's name for the file of a transfer, here of a killed process
            archive = _fetch(f"{base_url}/{name}.zip", archives[name], folder / f"{name}.zip")
            _unpack(archive, data / name)
    return missing


def has_fsdkaggle2018_clips(fnames: Iterable[str]) -> bool:
    """Return whether training clips are from FSDKaggle2018, by their file names, in any folder."""
    return not FIRST_CLIPS.isdisjoint(PurePosixPath(fname).name for fname in fnames)


def _content_length(url: str) -> int:
    try:
        response = requests.head(url, allow_redirects=True, timeout=TIMEOUT)
        response.raise_for_status()
    except requests.RequestException as error:
        raise Dcase2018Error(_redact_credentials(f"{url} cannot be reached: {error}")) from None
    return _parse_size(response)


def _parse_size(response: requests.Response) -> int:
    size = response.headers.get("Content-Length", "")
    return int(size) if size.isdecimal() else 0  # 0: unknown


def _redact_credentials(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _check_disk_space(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise Dcase2018Error(
            f"{folder} has {free / 1e9:.1f} GB of free space; {n_bytes / 1e9:.1f} GB are required"
        )


def _fetch(url: str, md5: str, path: Path) -> Path:
    """Download a file, unless it exists with the right checksum. `path` exists only with that checksum."""
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=_stream_to_file)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        message = f"{url}: the transfer failed: {error}; run the same command again to resume"
        raise Dcase2018Error(_redact_credentials(message)) from None
    except ValueError:
        message = f"{url}: the MD5 sum is not {md5}; run the same command again"
        raise Dcase2018Error(_redact_credentials(message)) from None
    return path


def _stream_to_file(url: str, target: str, _: pooch.Pooch) -> None:
    """Download a file for pooch; abort if the server is too slow."""
    with (
        requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response,
        Path(target).open("wb") as file,
    ):
        response.raise_for_status()
        total = _parse_size(response)
        with Progress(Path(url).name, total, "bytes") as progress:
            interval_start, received = time.monotonic(), 0
            while chunk := response.raw.read1(CHUNK_BYTES):
                file.write(chunk)
                progress.update(len(chunk))
                received += len(chunk)
                if (elapsed := time.monotonic() - interval_start) > TIMEOUT:
                    if received < MIN_BYTES_PER_SECOND * elapsed:
                        raise requests.Timeout(f"{received} bytes received in {elapsed:.0f} s")
                    interval_start, received = time.monotonic(), 0
        if total > file.tell():
            raise requests.ConnectionError(f"{file.tell()} of {total} bytes received")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive whose only folder has the name of `folder`, atomically."""
    try:
        with zipfile.ZipFile(archive) as source, atomic_directory(folder, fsync=False) as partial:
            members = source.infolist()
            _check_zip_members(members, archive, folder.name)
            _check_disk_space(folder.parent, sum(member.file_size for member in members))
            with Progress(f"unpack {folder.name}", len(members), "files") as progress:
                for member in members:
                    member.filename = member.filename.removeprefix(f"{folder.name}/")
                    if member.filename:
                        source.extract(member, partial)
                    progress.update(1)
    except (zipfile.BadZipFile, EOFError) as error:
        raise Dcase2018Error(f"{archive} is damaged: {error}; remove it and run again") from None


def _check_zip_members(members: list[zipfile.ZipInfo], archive: Path, folder: str) -> None:
    """Raise if a member's path is outside the folder, or has a backslash, a separator on some systems."""
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if parts[:1] != (folder,) or ".." in parts or "\\" in member.filename:
            raise Dcase2018Error(f"{archive}: the path {member.filename!r} is outside {folder}/")
