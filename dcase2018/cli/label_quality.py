"""Commands that find and correct wrong labels."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import FILE, INPUT, Command, FiniteFloat, check_output, is_given, print_line
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.label_quality.review_decisions import ReviewedLabels

log = logging.getLogger(__name__)

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
    it. ISSUES gets one row per unverified clip, most probable issue first: issue_probability, the probability
    that the clip is of none of the classes, another class if it is more probable, the reason, and the scores
    of both classes. The first ten are printed.
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
    n_wrong, n_none = issues["issue_probability"].sum(), issues["none_probability"].sum()
    print_line(f"{output}: {len(issues)} unverified labels, an estimated {n_wrong:.0f} of them wrong")
    print_line(f"estimated clips of none of the classes: {n_none:.0f}")


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 fit train.h5 train.csv runs/folds --folds 5\n"
    "  dcase2018 correct-labels train.csv runs/folds/out_of_fold.csv -o corrected.csv\n"
    "  dcase2018 correct-labels train.csv --decisions decisions.csv -o reviewed.csv\n"
    "  dcase2018 fit train.h5 corrected.csv runs/corrected",
)
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@click.argument("out_of_fold_csv", metavar="[OUT_OF_FOLD]", type=INPUT, required=False)
@click.option("-o", "--output", type=FILE, metavar="CORRECTED", required=True, help="Label file to write.")
@click.option(
    "--decisions",
    "decision_csvs",
    type=INPUT,
    multiple=True,
    help="Decisions of review. Repeat it to merge several files.",
)
@click.option(
    "--confidence",
    default=0.7,
    show_default=True,
    type=FiniteFloat(0, 1),
    help="Least probability of another class that replaces the label.",
)
@click.pass_context
def correct_labels(
    ctx: click.Context,
    labels_csv: Path,
    out_of_fold_csv: Path | None,
    output: Path,
    decision_csvs: tuple[Path, ...],
    confidence: float,
) -> None:
    """Correct the labels of LABELS by the predictions of models, by the decisions of people, or by both.

    OUT_OF_FOLD has the scores that fit --folds writes: each clip is scored by a model that was not trained on
    it. They correct unverified clips. The column weight of CORRECTED is then the probability of each label;
    fit uses it as the sample weight.

    --decisions comes first: a decided clip gets its label and manually_verified 1, and a clip of none of the
    classes is left out. A clip on which reviewers disagree is printed, and its decisions are ignored.

    All changes are listed in a second file, CORRECTED with the suffix .changes.csv. LABELS is not modified.
    """
    if out_of_fold_csv is None and not decision_csvs:
        raise click.UsageError("Give OUT_OF_FOLD, --decisions, or both.")
    if out_of_fold_csv is None and is_given(ctx, "confidence"):
        raise InputError("--confidence applies to the predictions in OUT_OF_FOLD; give them, or omit it")
    changes_csv = output.with_suffix(".changes.csv")
    for path in (output, changes_csv):
        check_output(path, labels_csv, out_of_fold_csv, *decision_csvs)
    import pandas as pd

    from dcase2018.data.labels import read_labels, write_table
    from dcase2018.evaluation.out_of_fold import read_out_of_fold
    from dcase2018.label_quality.correction import correct_labels
    from dcase2018.utils.atomic import written_together

    labels, changes = read_labels(labels_csv), []
    if decision_csvs:
        reviewed = _review_labels(labels, decision_csvs, output)
        labels = reviewed.labels
        changes.append(reviewed.changes)
    if out_of_fold_csv:
        corrected = correct_labels(labels, read_out_of_fold(out_of_fold_csv), confidence)
        labels = corrected.labels
        changes.append(corrected.changes)
        print_line(f"{output}: {len(corrected.changes)} of {len(labels)} labels changed")
    with written_together():
        write_table(changes_csv, pd.concat(changes))
        write_table(output, labels)


def _review_labels(labels: "pd.DataFrame", decision_csvs: Sequence[Path], output: Path) -> "ReviewedLabels":
    """Apply the decisions of people, and print what they changed."""
    from dcase2018.label_quality.review_decisions import apply_decisions, read_decisions
    from dcase2018.utils.errors import shorten_list

    reviewed = apply_decisions(labels, [read_decisions(path) for path in decision_csvs])
    if reviewed.unknown:
        log.warning(
            "%d decided clips are not in LABELS: %s", len(reviewed.unknown), shorten_list(reviewed.unknown)
        )
    for fname, decisions in reviewed.disagreements.items():
        print_line(f"{fname}: reviewers disagree ({decisions}); their decisions are ignored")
    n_left_out = len(labels) - len(reviewed.labels)
    n_relabelled = len(reviewed.changes) - n_left_out
    print_line(
        f"{output}: {reviewed.n_verified} clips verified, {n_relabelled} of them with a new label;"
        f" {n_left_out} clips left out; {len(reviewed.disagreements)} disagreements"
    )
    return reviewed
