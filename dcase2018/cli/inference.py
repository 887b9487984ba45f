"""Commands that put runs to work outside: on recordings of any length."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.common import (
    EXISTING,
    FILE,
    FOLDER,
    SET_ASIDE,
    Command,
    Finite,
    check_output,
    checkpoint_option,
    hop_option,
    jobs_option,
    options,
    say,
    scoring_options,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.inference.batch_tagging import Following, Table
    from dcase2018.inference.output_formats import Heard

# The formats by the ends of a file's name.
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".selections.txt": "raven", ".txt": "audacity"}
OF_CLIPS = ("csv", "jsonl")

SECONDS = Finite(0, 3600)

following_options = options(
    click.option("--timeline", is_flag=True, help="Follow each recording over time and tell its events."),
    click.option(
        "--threshold",
        type=Finite(0, 1, min_open=True),
        help="With --timeline: an event reaches this score.  [default: 0.5]",
    ),
    click.option(
        "--release",
        type=Finite(0, 1, min_open=True),
        help="With --timeline: an event is over below this score.  [default: half the threshold]",
    ),
    click.option(
        "--least-seconds",
        type=SECONDS,
        metavar="SECONDS",
        help="With --timeline: drop events shorter than this.  [default: 0]",
    ),
    click.option(
        "--gap-seconds",
        type=SECONDS,
        metavar="SECONDS",
        help="With --timeline: events of a class that are at most this far apart are one.  [default: 1]",
    ),
)


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 tag runs/first sounds --output tags.csv\n"
    "  dcase2018 tag runs/first night.flac --timeline --output labels --format audacity",
)
@click.argument("run", type=FOLDER)
@click.argument("recordings", type=EXISTING, nargs=-1, required=True)
@click.option("--with", "more_runs", type=FOLDER, multiple=True, help="Score together with this run too.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write all scores to this .csv or .jsonl; with --timeline also events to this .txt (Audacity) or"
    " .selections.txt (Raven), or a file a recording into this folder.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(SUFFIXES.values())),
    help="What --output is written as.  [default: by its suffix; csv in a folder]",
)
@following_options
@scoring_options
@jobs_option("Recordings read at a time")
@click.pass_context
def tag(
    context: click.Context,
    /,
    run: Path,
    recordings: tuple[Path, ...],
    more_runs: tuple[Path, ...],
    output: Path | None,
    format_: str | None,
    timeline: bool,
    jobs: int | None,
    checkpoint: int | str | None,
    score_hop_seconds: float | None,
    score_mean: str | None,
    **joining: float | None,
) -> None:
    """Tell what RUN hears in RECORDINGS: audio files, or folders of them, of any length.

    Prints the top three classes of each. A clip's scores are those that `extract` and `predict` give it.
    With --timeline each recording is followed over time by windows, and its events are printed.

    A run that was stopped goes on where it was. Recordings that cannot be used are told, and the exit code
    is then 3.
    """
    from dcase2018.data.files import find_recordings
    from dcase2018.inference.audio_tagger import Listener, SetAside
    from dcase2018.inference.batch_tagging import tag

    table = _table(output, format_, timeline, recordings)
    following = _following(timeline, joining)
    scoring = {"score_hop_seconds": score_hop_seconds, "score_mean": score_mean}
    listener = Listener.open([run, *more_runs], checkpoint, **scoring)
    sources = find_recordings(recordings)
    load_keras()
    set_aside = 0
    for told in tag(listener, sources, following, table, jobs or -1):
        if isinstance(told, SetAside):
            set_aside += 1
            say(f"set aside: {told}")
        else:
            _tell(told)
    if set_aside:
        context.exit(SET_ASIDE)


def _following(timeline: bool, joining: dict[str, Any]) -> "Following | None":
    from dcase2018.inference.batch_tagging import Following
    from dcase2018.inference.event_detection import Joining
    from dcase2018.inference.window_scores import OverTime

    given = {name: value for name, value in joining.items() if value is not None}
    if timeline:
        return Following(OverTime(), Joining(**given))
    if given:
        option = next(iter(given)).replace("_", "-")
        raise InputError(f"--{option} says what an event is, and a clip has none; add --timeline")
    return None


def _table(
    output: Path | None, format_: str | None, timeline: bool, recordings: tuple[Path, ...]
) -> "Table | None":
    """What to write, and whether that can be, before the work."""
    from dcase2018.inference.batch_tagging import Table

    if not output:
        if format_:
            raise InputError(f"--format {format_} needs a file or a folder to write; add --output")
        return None
    by_suffix = next((name for suffix, name in SUFFIXES.items() if output.name.endswith(suffix)), None)
    format_ = format_ or by_suffix or "csv"
    if not timeline and format_ not in OF_CLIPS:
        raise InputError(f"{format_} is a format of events, and a clip has none; add --timeline")
    if not timeline and not by_suffix:
        raise InputError(f"--output {output} must end in .csv or .jsonl; a file a recording needs --timeline")
    if not by_suffix and output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; name a folder, or a file that ends in {', '.join(SUFFIXES)}")
    check_output(output / "x" if not by_suffix else output, *recordings)
    return Table(output, format_, is_folder=not by_suffix)


def _tell(heard: "Heard") -> None:
    import numpy as np

    from dcase2018.evaluation.metrics import top_classes

    fname = heard.source.fname
    if isinstance(heard.result, np.ndarray):
        best = top_classes(heard.result[None])[0]
        say(f"{fname}: " + ", ".join(f"{heard.classes[k]} {heard.result[k]:.4f}" for k in best))
        return
    for event in heard.events:
        say(f"{fname}: {event.start:.1f} to {event.end:.1f} s: {event.label} {event.score:.4f}")
    if not heard.events:
        say(f"{fname}: no events in {heard.result.seconds:.1f} s")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 embed runs/first features/test.h5 embeddings.h5\n"
    "  dcase2018 embed runs/first sounds embeddings.csv --per clip",
)
@click.argument("run", type=FOLDER)
@click.argument("clips", type=EXISTING, nargs=-1, required=True)
@click.argument("out", type=FILE)
@click.option(
    "--per",
    type=click.Choice(["window", "clip"]),
    default="window",
    show_default=True,
    help="A row a window, or a row a clip: the mean of its windows.",
)
@checkpoint_option
@hop_option
@click.pass_context
def embed(
    context: click.Context,
    run: Path,
    clips: tuple[Path, ...],
    out: Path,
    per: str,
    checkpoint: int | str | None,
    score_hop_seconds: float | None,
) -> None:
    """Write what the network of RUN makes of CLIPS before it classifies them to OUT.

    CLIPS are a store, or audio files and folders of them; OUT is an .h5 or a .csv file. Clips without samples
    have no row. Files that cannot be used are told, and the exit code is then 3.
    """
    if out.suffix not in (".h5", ".hdf5", ".csv"):
        raise InputError(f"{out} must end in .h5, .hdf5 or .csv")
    check_output(out, *clips)
    from dcase2018.data.files import find_recordings
    from dcase2018.features.store import Store, is_store
    from dcase2018.inference.ensemble import open_runs

    opened = open_runs([run], checkpoint, score_hop_seconds=score_hop_seconds)
    if len(opened) > 1:
        raise InputError(f"{run} holds {len(opened)} folds, each with features of its own; name one of them")
    of_store = len(clips) == 1 and clips[0].is_file() and is_store(clips[0])
    sources = Store(clips[0]) if of_store else find_recordings(clips)
    load_keras()
    from dcase2018.inference.embeddings import Embedder, embed

    set_aside = embed(Embedder(opened[0], checkpoint), sources, out, per == "window")
    say(f"{out}: {len(sources) - len(set_aside)} clips")
    for bad in set_aside:
        say(f"set aside: {bad}")
    if set_aside:
        context.exit(SET_ASIDE)
