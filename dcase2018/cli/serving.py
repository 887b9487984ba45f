"""The command that serves a page."""

from pathlib import Path

import click

from dcase2018.cli.common import FOLDER, Command, print_line
from dcase2018.utils.errors import InputError


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 serve runs/first\n"
    "  dcase2018 serve runs/first runs/second --port 8001\n"
    "  curl --data-binary @recording.wav http://localhost:8000/api/tag",
)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve at; any but this machine's own lets others in.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Recordings heard at a time.",
)
def serve(runs: tuple[Path, ...], port: int, host: str, jobs: int) -> None:
    """Serve a page to try RUNS with in a browser, and the same as an API of JSON.

    A sound is dropped, chosen or recorded there. Several runs are several taggers, side by side; a folder
    of folds is one. POST /api/tag with a file as the body answers what `tag` says of it. Nothing is kept.
    Ctrl-C ends it.
    """
    try:
        from dcase2018.server.serve import serve
    except ImportError as error:
        raise InputError(f"serve needs {error.name}; pip install 'dcase2018[serve]'") from None
    serve(runs, host, port, jobs, tell=print_line)
