"""The commands `serve` and `review`, which serve a local web page."""

from pathlib import Path

import click

from dcase2018.cli.common import FILE, FOLDER, INPUT, Command, check_output, combine_options, print_line
from dcase2018.cli.keras_setup import check_temporary_folder
from dcase2018.utils.errors import InputError

address_options = combine_options(
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8000,
        show_default=True,
        help="Port; 0: any free one.",
    ),
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Address to bind to. All but loopback addresses are reachable from other machines.",
    ),
)


@click.command(
    cls=Command,
    epilog="Examples:\n  dcase2018 serve runs/first\n"
    "  dcase2018 serve runs/first runs/second --port 8001\n"
    "  curl --data-binary @recording.wav http://localhost:8000/api/tag",
)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@address_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Recordings processed at a time.",
)
@click.option(
    "--examples",
    type=FOLDER,
    help="Folder of clips. The page offers three of them that RUNS were not trained on.",
)
def serve(runs: tuple[Path, ...], port: int, host: str, jobs: int, examples: Path | None) -> None:
    """Serve a page to try RUNS in a browser, and a JSON API.

    The page accepts dropped, chosen and recorded audio, and shows the results of all RUNS side by side. A
    folder of folds is one ensemble. POST /api/tag with an audio file as the body returns the scores of tag.
    No audio is stored. Ctrl-C stops the server.
    """
    try:
        from dcase2018.server.serve import serve
    except ImportError as error:
        raise _missing_extra("serve", error) from None
    check_temporary_folder()  # for uploads
    serve(runs, host, port, jobs, on_ready=print_line, examples=examples)


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 find-label-issues train.csv runs/folds/out_of_fold.csv -o issues.csv\n"
    "  dcase2018 review train.csv issues.csv runs/folds --audio audio_train -o decisions.csv\n"
    "  dcase2018 correct-labels train.csv --decisions decisions.csv -o reviewed.csv",
)
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@click.argument("issues_csv", metavar="ISSUES", type=INPUT)
@click.argument("run", metavar="RUN", type=FOLDER)
@click.option("--audio", type=FOLDER, required=True, help="Folder of the clips.")
@click.option(
    "-o", "--output", type=FILE, metavar="DECISIONS", required=True, help="CSV to append decisions to."
)
@click.option("--reviewer", help="Name of the reviewer.  [default: the login name]")
@address_options
def review(
    labels_csv: Path,
    issues_csv: Path,
    run: Path,
    audio: Path,
    output: Path,
    reviewer: str | None,
    port: int,
    host: str,
) -> None:
    """Serve a page to review the labels of the clips of ISSUES by ear.

    ISSUES is the output of find-label-issues, or any label file. The page plays one clip after the other. It
    shows the label in LABELS, the proposed class, the top three classes of RUN, and verified clips of both
    classes to compare. The keys are on the buttons.

    Each decision is written to DECISIONS at once. Run the same command again to continue. correct-labels
    --decisions DECISIONS writes the label file. Ctrl-C stops the server.
    """
    check_output(output, labels_csv, issues_csv, run, audio)
    try:
        from dcase2018.server.review import review
    except ImportError as error:
        raise _missing_extra("review", error) from None
    name = _login_name() if reviewer is None else reviewer
    review(labels_csv, issues_csv, run, audio, output, name, host, port, on_ready=print_line)


def _missing_extra(command: str, error: ImportError) -> InputError:
    return InputError(f"{command} requires {error.name}; run pip install 'dcase2018[serve]'")


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        raise InputError("the login name is unknown; give --reviewer NAME") from None
