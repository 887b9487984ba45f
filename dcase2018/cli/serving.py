"""The command `serve`."""

from pathlib import Path

import click

from dcase2018.cli.common import FOLDER, Command, print_line
from dcase2018.cli.keras_setup import check_temporary_folder
from dcase2018.utils.errors import InputError


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 serve runs/first\n"
    "  dcase2018 serve runs/first runs/second --port 8001\n"
    "  curl --data-binary @recording.wav http://localhost:8000/api/tag",
)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0: any free one."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to bind to. All but loopback addresses are reachable from other machines.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Recordings processed at a time.",
)
def serve(runs: tuple[Path, ...], port: int, host: str, jobs: int) -> None:
    """Serve a page to try RUNS in a browser, and a JSON API.

    The page accepts dropped, chosen and recorded audio, and shows the results of all RUNS side by side. A
    folder of folds is one ensemble. POST /api/tag with an audio file as the body returns the scores of tag.
    No audio is stored. Ctrl-C stops the server.
    """
    try:
        from dcase2018.server.serve import serve
    except ImportError as error:
        raise InputError(f"serve requires {error.name}; run pip install 'dcase2018[serve]'") from None
    check_temporary_folder()  # for uploads
    serve(runs, host, port, jobs, on_ready=print_line)
