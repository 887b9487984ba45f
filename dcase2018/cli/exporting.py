"""Commands that take a run elsewhere."""

from pathlib import Path

import click

from dcase2018.cli.common import FOLDER, OUTPUT_FOLDER, Checkpoint, Command, print_line
from dcase2018.cli.keras_setup import load_keras


@click.command(cls=Command, epilog="Example:\n  dcase2018 export runs/first tagger --format litert")
@click.argument("run", type=FOLDER)
@click.argument("output", type=OUTPUT_FOLDER)
@click.option(
    "--format",
    type=click.Choice(["onnx", "litert", "saved-model"]),
    default="onnx",
    show_default=True,
    help="ONNX Runtime, LiteRT (TensorFlow Lite), or TensorFlow.",
)
@click.option("--checkpoint", type=Checkpoint(), help="Use the network of this step, or of the best epoch.")
@click.option("--force", is_flag=True, help="Replace an export that OUTPUT holds.")
def export(run: Path, output: Path, format: str, checkpoint: int | str | None, force: bool) -> None:
    """Write the network of RUN for another program: samples in, scores out.

    OUTPUT becomes a folder with the model, which holds the front end too, its classes, what it expects,
    and example.py, which tags clips with the runtime, NumPy and soundfile alone. Its scores are compared
    with those of `predict` before it is there.
    """
    from dcase2018.export.export import check_export
    from dcase2018.runs.run import Run

    check_export(Run.load(run), output, format, checkpoint, force)  # before the wait for Keras
    load_keras()
    from dcase2018.export.export import export

    differences = export(run, output, format, checkpoint, force)
    print_line(f"{output}: within {differences.max():.1g} of predict on {len(differences)} clips")
