"""Commands that find and correct wrong labels."""

from pathlib import Path

import click

from dcase2018.cli.common import FILE, INPUT, Command, FiniteFloat, check_output, print_line

N_PRINTED = 10  # label issues


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 fit train.h5 train.csv runs/folds --folds 5\n"
    "  dcase2018 find-label-issues train.csv runs/folds/out_of_fold.csv -o issues.csv",
)
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@click.argument("out_of_fold_csv", metavar="OUT_OF_FOLD", type=INPUT)
@click.option("-o", "--output", type=FILE, metavar="ISSUES", required=True, help="CSV to write.")
@click.option("--embeddings", type=INPUT, help="File of embed, to detect near duplicates.")
@click.option("--store", type=INPUT, help="Features of the clips, to detect silent clips.")
def find_label_issues(
    labels_csv: Path, out_of_fold_csv: Path, output: Path, embeddings: Path | None, store: Path | None
) -> None:
    """Rank the unverified clips of LABELS by the probability that their label is wrong.

    OUT_OF_FOLD has the scores that fit --folds writes: each clip is scored by a model that was not trained on
    it. ISSUES gets one row per unverified clip, most probable issue first: issue_probability, another class
    if it is more probable, the reason, and the scores of both classes. The first ten are printed.
    """
    check_output(output, labels_csv, out_of_fold_csv, embeddings, store)
    from dcase2018.data.labels import read_labels, write_table
    from dcase2018.evaluation.out_of_fold import read_out_of_fold
    from dcase2018.features.store import Store
    from dcase2018.inference.embeddings import read_embeddings
    from dcase2018.label_quality.label_issues import find_label_issues

    issues = find_label_issues(
        read_labels(labels_csv),
        read_out_of_fold(out_of_fold_csv),
        read_embeddings(embeddings) if embeddings else None,
        Store(store) if store else None,
    )
    write_table(output, issues)
    if len(issues):
        printed = issues[["rank", "fname", "label", "issue_probability", "reason"]].head(N_PRINTED)
        print_line(printed.to_string(index=False, float_format="{:.3f}".format))
    n_wrong = issues["issue_probability"].sum()
    print_line(f"{output}: {len(issues)} unverified labels, an estimated {n_wrong:.0f} of them wrong")


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 fit train.h5 train.csv runs/folds --folds 5\n"
    "  dcase2018 correct-labels train.csv runs/folds/out_of_fold.csv -o corrected.csv\n"
    "  dcase2018 fit train.h5 corrected.csv runs/corrected",
)
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@click.argument("out_of_fold_csv", metavar="OUT_OF_FOLD", type=INPUT)
@click.option("-o", "--output", type=FILE, metavar="CORRECTED", required=True, help="Label file to write.")
@click.option(
    "--confidence",
    default=0.7,
    show_default=True,
    type=FiniteFloat(0, 1),
    help="Least probability of another class that replaces the label.",
)
def correct_labels(labels_csv: Path, out_of_fold_csv: Path, output: Path, confidence: float) -> None:
    """Correct the labels of the unverified clips of LABELS.

    OUT_OF_FOLD has the scores that fit --folds writes: each clip is scored by a model that was not trained on
    it. CORRECTED gets all clips of LABELS, some with another label. The changes are listed in a second file,
    CORRECTED with the suffix .changes.csv. LABELS itself is not modified.

    The column weight of CORRECTED is the probability of each label; fit uses it as the sample weight.
    """
    changes_csv = output.with_suffix(".changes.csv")
    for path in (output, changes_csv):
        check_output(path, labels_csv, out_of_fold_csv)
    from dcase2018.data.labels import read_labels, write_table
    from dcase2018.evaluation.out_of_fold import read_out_of_fold
    from dcase2018.label_quality.correction import correct_labels
    from dcase2018.utils.atomic import written_together

    corrected = correct_labels(read_labels(labels_csv), read_out_of_fold(out_of_fold_csv), confidence)
    with written_together():
        write_table(changes_csv, corrected.changes)
        write_table(output, corrected.labels)
    print_line(f"{output}: {len(corrected.changes)} of {len(corrected.labels)} labels changed")
