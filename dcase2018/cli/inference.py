"""Commands that apply runs to recordings of any length: tag and embed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.common import (
    EXISTING,
    EXIT_SKIPPED,
    FILE,
    FOLDER,
    Choice,
    Command,
    FiniteFloat,
    OutputPath,
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
    from dcase2018.inference.batch_tagging import DetectionConfig
    from dcase2018.inference.output_formats import OutputSpec, TaggingResult

FORMATS = ("csv", "jsonl", "events", "audacity", "raven")

DURATION = FiniteFloat(0, 3600)

detection_options = combine_options(
    click.option(
        "--detect-events",
        "detect_events",
        is_flag=True,
        help="Score each recording in windows, and detect sound events.",
    ),
    click.option(
        "--threshold",
        type=FiniteFloat(0, 1, min_open=True),
        help="With --detect-events: an event reaches this score.  [default: 0.5]",
    ),
    click.option(
        "--low-threshold",
        type=FiniteFloat(0, 1, min_open=True),
        help="With --detect-events: an event ends below this score.  [default: half the threshold]",
    ),
    click.option(
        "--min-duration",
        type=DURATION,
        metavar="SECONDS",
        help="With --detect-events: drop shorter events.  [default: 0]",
    ),
    click.option(
        "--merge-gap",
        type=DURATION,
        metavar="SECONDS",
        help="With --detect-events: merge events of a class at most this far apart.  [default: 1]",
    ),
)
output_options = combine_options(
    click.option(
        "-o",
        "--output",
        type=OutputPath(path_type=Path),
        help="Write all scores to this .csv or .jsonl file. With --detect-events also events to this"
        " .events.csv, .txt (Audacity) or .selections.txt (Raven) file, or one file per recording to this"
        " folder.",
    ),
    click.option(
        "--format",
        "format_",
        type=Choice(FORMATS),
        help="Format of --output.  [default: by its suffix; csv in a folder]",
    ),
)


@click.command(
    cls=Command,
    epilog="Examples:\n  dcase2018 tag runs/first sounds -o tags.csv\n"
    "  dcase2018 tag runs/first night.flac --detect-events -o labels --format audacity",
)
@click.argument("run", type=FOLDER)
@click.argument("audio", type=EXISTING, nargs=-1, required=True)
@click.option(
    "--ensemble-with", "more_runs", type=FOLDER, multiple=True, help="Another run to average scores with."
)
@click.option(
    "--hide",
    metavar="CLASS",
    multiple=True,
    help="Leave this class out of all results, besides those of fit --background; repeatable.",
)
@output_options
@detection_options
@scoring_options
@jobs_option("Recordings to read at the same time")
@click.pass_context
def tag(
    context: click.Context,
    /,
    run: Path,
    audio: tuple[Path, ...],
    more_runs: tuple[Path, ...],
    hide: tuple[str, ...],
    output: Path | None,
    format_: str | None,
    jobs: int | None,
    checkpoint: int | str | None,
    inference_hop_seconds: float | None,
    clip_pooling: str | None,
    **detection: Any,
) -> None:
    """Tag AUDIO with RUN: audio files of any length, or folders of them.

    Prints the top three classes of each clip, with the scores that `extract` and `predict` give it, or
    "silent". With --detect-events, scores each recording in windows and prints its events.

    Run the same command again to resume an interrupted one. Files that cannot be used are printed as failed.
    Incomplete files are used as far as possible and printed as warnings. The exit code is then 3.
    """
    from dcase2018.data.audio_errors import is_incomplete
    from dcase2018.data.files import list_recordings
    from dcase2018.inference.audio_tagger import AudioTagger, FailedFile
    from dcase2018.inference.batch_tagging import tag_files

    spec = _output_spec(output, format_, detection["detect_events"], audio)
    config = _detection_config(**detection)
    hparams = {"inference_hop_seconds": inference_hop_seconds, "clip_pooling": clip_pooling}
    tagger = AudioTagger.open([run, *more_runs], checkpoint, hide, **hparams)
    files = list_recordings(audio)
    load_keras()
    is_loss = False
    for result in tag_files(tagger, files, config, spec, jobs or -1):
        if isinstance(result, FailedFile):
            is_loss = True
            print_line(f"failed: {result}")
            continue
        _print_result(result)
        if result.warning:
            is_loss |= is_incomplete(result.warning)
            print_line(f"warning: {result.file.fname}: {result.warning}")
    if is_loss:
        context.exit(EXIT_SKIPPED)


def _detection_config(detect_events: bool, **event_settings: float | None) -> "DetectionConfig | None":
    from dcase2018.inference.batch_tagging import DetectionConfig
    from dcase2018.inference.event_detection import EventConfig
    from dcase2018.inference.window_scores import LevelConfig

    settings = {name: value for name, value in event_settings.items() if value is not None}
    if detect_events:
        return DetectionConfig(LevelConfig(), EventConfig(**settings))
    if settings:
        option = next(iter(settings)).replace("_", "-")
        raise InputError(f"--{option} applies to events only; add --detect-events")
    return None


def _output_spec(
    output: Path | None, format_: str | None, detect_events: bool, audio: tuple[Path, ...]
) -> "OutputSpec | None":
    """Return what to write, and check before the work that it can be written."""
    from dcase2018.inference.output_formats import OutputSpec

    if not output:
        if format_:
            raise InputError(f"--format {format_} needs an output file or folder; add --output")
        return None
    spec = OutputSpec.create(output, format_, detect_events)
    check_output(output / "x" if spec.is_folder else output, *audio)
    return spec


def _print_result(result: "TaggingResult") -> None:
    from dcase2018.evaluation.metrics import top_classes
    from dcase2018.inference.window_scores import ClipScores

    fname, result_scores = result.file.fname, result.scores
    if isinstance(result_scores, ClipScores):
        scores = result_scores.scores
        top = ", ".join(f"{result.classes[k]} {scores[k]:.4f}" for k in top_classes(scores[None])[0])
        print_line(f"{fname}: " + ("silent" if result_scores.is_silent else top))
        return
    for event in result.events:
        print_line(f"{fname}: {event.onset:.3f} to {event.offset:.3f} s: {event.label} {event.score:.4f}")
    if not result.events:
        silent = "silent, " if result_scores.is_silent.all() else ""
        print_line(f"{fname}: {silent}no events in {result_scores.seconds:.1f} s")


@click.command(
    cls=Command,
    epilog="Examples:\n  dcase2018 embed runs/first features/test.h5 -o embeddings.h5\n"
    "  dcase2018 embed runs/first sounds -o embeddings.csv --level clip",
)
@click.argument("run", type=FOLDER)
@click.argument("clips", metavar="STORE_OR_AUDIO...", type=EXISTING, nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, required=True, help="An .h5, .hdf5 or .csv file.")
@click.option(
    "--level",
    type=Choice(["window", "clip"]),
    default="window",
    show_default=True,
    help="One row per window, or one row per clip: the mean of its windows.",
)
@checkpoint_option
@hop_option
@click.pass_context
def embed(
    context: click.Context,
    run: Path,
    clips: tuple[Path, ...],
    output: Path,
    level: str,
    checkpoint: int | str | None,
    inference_hop_seconds: float | None,
) -> None:
    """Write the embeddings of clips: outputs of RUN's layer before the classifier.

    STORE_OR_AUDIO is a store, or audio files and folders of them. Clips without samples have no row. Files
    that cannot be used are printed as failed, incomplete ones as warnings, and the exit code is then 3.
    """
    from dcase2018.inference.embeddings import check_embedding_path, load_embedder, write_embeddings

    check_embedding_path(output)
    check_output(output, *clips)
    from dcase2018.data.audio_errors import is_incomplete
    from dcase2018.data.files import list_recordings
    from dcase2018.features.store import Store, is_store
    from dcase2018.inference.ensemble import open_runs

    runs = open_runs([run], checkpoint, inference_hop_seconds=inference_hop_seconds)
    if len(runs) > 1:
        raise InputError(f"{run} has {len(runs)} folds, each with its own embeddings; name one of them")
    is_from_store = len(clips) == 1 and clips[0].is_file() and is_store(clips[0])
    inputs = Store(clips[0]) if is_from_store else list_recordings(clips)
    load_keras()
    embedder = load_embedder(runs[0], checkpoint)
    n_clips, failed, warnings = write_embeddings(embedder, inputs, output, level)
    print_line(f"{output}: {n_clips} clips")
    for file in failed:
        print_line(f"failed: {file}")
    for fname, warning in warnings.items():
        print_line(f"warning: {fname}: {warning}")
    if failed or any(map(is_incomplete, warnings.values())):
        context.exit(EXIT_SKIPPED)
