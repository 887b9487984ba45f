"""The command line, `dcase2018`.

What a command needs is imported inside it, so that `--help` and the feature commands never wait for Keras.
Results go to standard output, progress and errors to standard error.
"""

import click

from dcase2018.cli import (
    comparison,
    data,
    evaluation,
    exporting,
    features,
    inference,
    inspection,
    label_quality,
    serving,
    training,
)
from dcase2018.cli.common import Program


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dcase2018")
def main() -> None:
    """Tag sounds: DCASE 2018 Task 2, from a folder of clips to a ranked submission.

    Two halves meet at one file. `extract` computes the features of every clip once and writes them to
    a store; `fit`, `evaluate` and `predict` stream from it.
    """


for command in (
    data.synthesize,
    data.download,
    data.make_labels,
    data.class_map,
    data.split,
    features.extract,
    inspection.info,
    training.fit,
    training.tune,
    evaluation.evaluate,
    evaluation.report,
    evaluation.predict,
    evaluation.score,
    comparison.compare,
    inference.tag,
    inference.embed,
    exporting.export,
    serving.serve,
    inspection.plot,
    label_quality.find_label_issues,
    label_quality.correct_labels,
):
    main.add_command(command)
