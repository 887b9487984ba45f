"""The command that exports a run to other runtimes."""

from pathlib import Path

import click

from dcase2018.cli.common import FOLDER, REPLACED_FOLDER, Choice, Command, checkpoint_option, print_line
from dcase2018.cli.keras_setup import load_keras


@click.command(cls=Command, epilog="Example:\n  dcase2018 export runs/first tagger --format litert")
@click.argument("run", type=FOLDER)
@click.argument("output", metavar="OUT", type=REPLACED_FOLDER)
@click.option(
    "--format",
    type=Choice(["onnx", "litert", "saved-model"]),
    default="onnx",
    show_default=True,
    help="ONNX Runtime, LiteRT (TensorFlow Lite), or TensorFlow.",
)
@checkpoint_option
@click.option("--overwrite", is_flag=True, help="Replace the export in OUT.")
def export(run: Path, output: Path, format: str, checkpoint: int | str | None, overwrite: bool) -> None:
    """Export RUN as a model from samples to scores.

    Writes a folder OUT with the model, which includes the front end, its classes and metadata, and
    example.py, which tags clips with the runtime, NumPy and soundfile alone. The model's scores are checked
    against those of `predict` before the folder appears.
    """
    from dcase2018.exporting.export import check_export
    from dcase2018.runs.run import Run

    check_export(Run.load(run), output, format, checkpoint, overwrite)  # before the wait for Keras
    load_keras()
    from dcase2018.exporting.export import export

    differences = export(run, output, format, checkpoint, overwrite)
    print_line(f"{output}: within {differences.max():.1g} of predict on {len(differences)} clips")
