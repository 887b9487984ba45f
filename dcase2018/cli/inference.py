"""Commands that put runs to work outside: on recordings of any length."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.common import (
    EXISTING,
    EXIT_SKIPPED,
    FILE,
    FOLDER,
    Command,
    FiniteFloat,
    check_output,
    checkpoint_option,
    combine_options,
    hop_option,
    jobs_option,
    print_line,
    scoring_options,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.inference.batch_tagging import DetectionConfig, OutputSpec
    from dcase2018.inference.output_formats import TaggingResult

# The formats by the ends of a file's name.
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".selections.txt": "raven", ".txt": "audacity"}
OF_CLIPS = ("csv", "jsonl")

SECONDS = FiniteFloat(0, 3600)

following_options = combine_options(
    click.option(
        "--detect-events",
        "detect_events",
        is_flag=True,
        help="Follow each recording over time and tell its events.",
    ),
    click.option(
        "--threshold",
        type=FiniteFloat(0, 1, min_open=True),
        help="With --detect-events: an event reaches this score.  [default: 0.5]",
    ),
    click.option(
        "--low-threshold",
        type=FiniteFloat(0, 1, min_open=True),
        help="With --detect-events: an event is over below this score.  [default: half the threshold]",
    ),
    click.option(
        "--min-duration",
        type=SECONDS,
        metavar="SECONDS",
        help="With --detect-events: drop events shorter than this.  [default: 0]",
    ),
    click.option(
        "--merge-gap",
        type=SECONDS,
        metavar="SECONDS",
        help="With --detect-events: events of a class that are at most this far apart are one.  [default: 1]",
    ),
)


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 tag runs/first sounds --output tags.csv\n"
    "  dcase2018 tag runs/first night.flac --detect-events --output labels --format audacity",
)
@click.argument("run", type=FOLDER)
@click.argument("recordings", type=EXISTING, nargs=-1, required=True)
@click.option(
    "--ensemble-with", "more_runs", type=FOLDER, multiple=True, help="Score together with this run too."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write all scores to this .csv or .jsonl; with --detect-events also events to this .txt (Audacity) or"
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
    detect_events: bool,
    jobs: int | None,
    checkpoint: int | str | None,
    inference_hop_seconds: float | None,
    clip_pooling: str | None,
    **joining: float | None,
) -> None:
    """Tell what RUN hears in RECORDINGS: audio files, or folders of them, of any length.

    Prints the top three classes of each. A clip's scores are those that `extract` and `predict` give it.
    With --detect-events each recording is followed over time by windows, and its events are printed.

    A run that was stopped goes on where it was. Recordings that cannot be used are told, and the exit code
    is then 3.
    """
    from dcase2018.data.files import list_recordings
    from dcase2018.inference.audio_tagger import AudioTagger, FailedFile
    from dcase2018.inference.batch_tagging import tag

    table = _table(output, format_, detect_events, recordings)
    following = _following(detect_events, joining)
    scoring = {"inference_hop_seconds": inference_hop_seconds, "clip_pooling": clip_pooling}
    listener = AudioTagger.open([run, *more_runs], checkpoint, **scoring)
    sources = list_recordings(recordings)
    load_keras()
    set_aside = 0
    for told in tag(listener, sources, following, table, jobs or -1):
        if isinstance(told, FailedFile):
            set_aside += 1
            print_line(f"set aside: {told}")
        else:
            _tell(told)
    if set_aside:
        context.exit(EXIT_SKIPPED)


def _following(detect_events: bool, joining: dict[str, Any]) -> "DetectionConfig | None":
    from dcase2018.inference.batch_tagging import DetectionConfig
    from dcase2018.inference.event_detection import EventConfig
    from dcase2018.inference.window_scores import LevelConfig

    given = {name: value for name, value in joining.items() if value is not None}
    if detect_events:
        return DetectionConfig(LevelConfig(), EventConfig(**given))
    if given:
        option = next(iter(given)).replace("_", "-")
        raise InputError(f"--{option} says what an event is, and a clip has none; add --detect-events")
    return None


def _table(
    output: Path | None, format_: str | None, detect_events: bool, recordings: tuple[Path, ...]
) -> "OutputSpec | None":
    """What to write, and whether that can be, before the work."""
    from dcase2018.inference.batch_tagging import OutputSpec

    if not output:
        if format_:
            raise InputError(f"--format {format_} needs a file or a folder to write; add --output")
        return None
    by_suffix = next((name for suffix, name in SUFFIXES.items() if output.name.endswith(suffix)), None)
    format_ = format_ or by_suffix or "csv"
    if not detect_events and format_ not in OF_CLIPS:
        raise InputError(f"{format_} is a format of events, and a clip has none; add --detect-events")
    if not detect_events and not by_suffix:
        raise InputError(
            f"--output {output} must end in .csv or .jsonl; a file a recording needs --detect-events"
        )
    if not by_suffix and output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; name a folder, or a file that ends in {', '.join(SUFFIXES)}")
    check_output(output / "x" if not by_suffix else output, *recordings)
    return OutputSpec(output, format_, is_folder=not by_suffix)


def _tell(heard: "TaggingResult") -> None:
    import numpy as np

    from dcase2018.evaluation.metrics import top_classes

    fname = heard.source.fname
    if isinstance(heard.result, np.ndarray):
        best = top_classes(heard.result[None])[0]
        print_line(f"{fname}: " + ", ".join(f"{heard.classes[k]} {heard.result[k]:.4f}" for k in best))
        return
    for event in heard.events:
        print_line(f"{fname}: {event.onset:.1f} to {event.offset:.1f} s: {event.label} {event.score:.4f}")
    if not heard.events:
        print_line(f"{fname}: no events in {heard.result.seconds:.1f} s")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 embed runs/first features/test.h5 embeddings.h5\n"
    "  dcase2018 embed runs/first sounds embeddings.csv --level clip",
)
@click.argument("run", type=FOLDER)
@click.argument("clips", type=EXISTING, nargs=-1, required=True)
@click.argument("out", type=FILE)
@click.option(
    "--level",
    "per",
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
    inference_hop_seconds: float | None,
) -> None:
    """Write what the network of RUN makes of CLIPS before it classifies them to OUT.

    CLIPS are a store, or audio files and folders of them; OUT is an .h5 or a .csv file. Clips without samples
    have no row. Files that cannot be used are told, and the exit code is then 3.
    """
    if out.suffix not in (".h5", ".hdf5", ".csv"):
        raise InputError(f"{out} must end in .h5, .hdf5 or .csv")
    check_output(out, *clips)
    from dcase2018.data.files import list_recordings
    from dcase2018.features.store import Store, is_store
    from dcase2018.inference.ensemble import open_runs

    opened = open_runs([run], checkpoint, inference_hop_seconds=inference_hop_seconds)
    if len(opened) > 1:
        raise InputError(f"{run} holds {len(opened)} folds, each with features of its own; name one of them")
    of_store = len(clips) == 1 and clips[0].is_file() and is_store(clips[0])
    sources = Store(clips[0]) if of_store else list_recordings(clips)
    load_keras()
    from dcase2018.inference.embeddings import Embedder, embed

    set_aside = embed(Embedder(opened[0], checkpoint), sources, out, per == "window")
    print_line(f"{out}: {len(sources) - len(set_aside)} clips")
    for bad in set_aside:
        print_line(f"set aside: {bad}")
    if set_aside:
        context.exit(EXIT_SKIPPED)
