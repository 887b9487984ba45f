"""The command that runs the pipeline: from a dataset to features, a run, a submission and more."""

import csv
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dcase2018.cli.build import Builder, Rule
from dcase2018.cli.common import Choice, Command, FiniteFloat, print_line, seed_option
from dcase2018.cli.datasets import CREATED, Dataset, absolute, check_owner, claim
from dcase2018.models.hparams import PRESETS
from dcase2018.utils.atomic import open_text
from dcase2018.utils.errors import InputError

TARGETS = ("data", "features", "train", "submission", "report", "export", "serve")

DEMO_EPOCHS = ("--epochs", "50")  # half of the compact presets' epochs suffice for the demo corpus
MAX_HEADER = 100_000  # characters of a label file's header
FOLD_FLAGS = ("--folds", "5", "--epochs", "50", "--hparams", "label_refinement_every=0")


@dataclass(frozen=True)
class Pipeline:
    """The rules of one dataset, preset, seed, validation fraction and set of flags, and what they write.

    Paths are named by settings: what differs from the preset is appended to a folder's name.
    """

    dataset: str
    name: str
    preset: str
    seed: int
    validation: float
    export_format: str
    extract_flags: Sequence[str]
    fit_flags: Sequence[str]
    groups_from: str

    @property
    def labels_dir(self) -> Path:
        return Path("features", self.name)

    @property
    def group_flags(self) -> tuple[str, ...]:
        """Options of split and fit --folds that keep groups of clips on one side."""
        return ("--groups-from", self.groups_from) if self.groups_from else ()

    @property
    def split_dir(self) -> Path:
        return self.labels_dir / slug(self.group_flags).removeprefix("-")

    @property
    def store_dir(self) -> Path:
        return self.labels_dir / (PRESETS[self.preset].features + slug(self.extract_flags))

    @property
    def run(self) -> Path:
        flags = [*self.extract_flags, *self._seed_and_validation, *self.fit_flags, *self.group_flags]
        return Path("runs", self.name, self.preset + slug(flags))

    @property
    def in_folds(self) -> bool:
        return self.has_flag("--folds", "--fold-column")

    @property
    def _seed_and_validation(self) -> list[str]:
        seed = ["seed", str(self.seed)] if self.seed else []
        return [*seed, "validation", str(self.validation)] if self.validation else seed

    @property
    def validation_dir(self) -> Path:
        """Folder of the training clips without those held out for validation, and of the latter."""
        return self.labels_dir / f"split{slug([*self._seed_and_validation, *self.group_flags])}"

    @property
    def trained(self) -> Path:
        """What training writes last: the model, or the scores of cross-validation."""
        return self.run / ("out_of_fold.csv" if self.in_folds else "model.keras")

    def has_flag(self, *names: str) -> bool:
        """Return whether the flags of `fit` contain one of these options."""
        return any(flag.partition("=")[0] in names for flag in self.fit_flags)

    def validate(self, data: Dataset) -> None:
        """Raise if `--validation` contradicts the flags of `fit`, or `--groups-from` has no effect."""
        if self.validation and self.has_flag("--folds", "--fold-column", "--validation"):
            raise InputError(
                f"--validation {self.validation} holds out training clips, and --fit-flags has --folds,"
                " --fold-column or --validation; omit one of them"
            )
        uses_groups = self.validation or self.in_folds or PRESETS[self.preset].corrects_labels
        if self.groups_from and not (data.all_csv or uses_groups):
            raise InputError(
                f"--groups-from has no effect: {data.root} has its own test clips, and the training makes no"
                " folds; omit it, or add --folds to --fit-flags"
            )

    @property
    def exported(self) -> Path:
        return self.run / self.export_format / "README.md"

    def stores(self, data: Dataset) -> tuple[Path, Path]:
        """Return the stores of the training and test clips."""
        if data.all_csv:
            return self.store_dir / "clips.h5", self.store_dir / "clips.h5"
        return self.store_dir / "train.h5", self.store_dir / "test.h5"

    def rules(self, data: Dataset) -> list[Rule]:
        return [
            *self._data_rules(data),
            *self._extract_rules(data),
            *self._train_rules(data),
            *self._result_rules(data),
        ]

    def _data_rules(self, data: Dataset) -> list[Rule]:
        if self.dataset in CREATED:
            command, last_written = CREATED[self.dataset]
            paths = (data.train_audio, data.test_audio, data.train_csv, data.test_csv, data.sample_csv)
            outputs = (data.root / last_written, *(path for path in paths if path))
            return [Rule(outputs, (), ((command, str(data.root)),))]
        if not data.all_csv or not data.test_csv:
            return []
        split = self._split(data, data.all_csv, self.split_dir, "0.2")
        note = f"held out to test: {data.test_csv}"
        return [
            Rule(
                (data.all_csv,), (), (("make-labels", str(data.root), str(data.all_csv)),), folder=data.root
            ),
            Rule((data.train_csv, data.test_csv), (data.all_csv,), (split,), note=note),
        ]

    def _split(
        self, data: Dataset, labels: Path, folder: Path, fraction: str, *flags: str
    ) -> tuple[str, ...]:
        content = data.root if data.all_csv else data.train_audio
        options = ("--fraction", fraction, "--content", str(content), *self.group_flags, *flags)
        return ("split", str(labels), str(folder), *options)

    def _extract_rules(self, data: Dataset) -> list[Rule]:
        train_store, test_store = self.stores(data)
        if data.all_csv:
            labels = ("--labels", str(data.all_csv))
            return [Rule((train_store,), (data.all_csv,), (self._extract(data.root, train_store, *labels),))]
        return [
            Rule((store,), (audio,), (self._extract(audio, store),), folder=audio)
            for audio, store in ((data.train_audio, train_store), (data.test_audio, test_store))
        ]

    def _extract(self, audio: Path, store: Path, *labels: str) -> tuple[str, ...]:
        """Extract to a store of this dataset alone, which drops clips that left the dataset (`--prune`)."""
        options = ("--features", PRESETS[self.preset].features, "--prune")
        return ("extract", str(audio), str(store), *options, *labels, *self.extract_flags)

    def _train_rules(self, data: Dataset) -> list[Rule]:
        store, _ = self.stores(data)
        if not self.validation:
            return self._fit_rules(store, data.train_csv)
        train, held_out = (self.validation_dir / f"{name}.csv" for name in ("train", "validation"))
        seed = ("--seed", str(self.seed))
        split = self._split(data, data.train_csv, self.validation_dir, str(self.validation), *seed)
        rule = Rule((train, held_out), (data.train_csv,), (split,))
        return [rule, *self._fit_rules(store, train, held_out)]

    def _fit_rules(self, store: Path, train_csv: Path, *held_out: Path) -> list[Rule]:
        """Return the rules that train on `train_csv`, with validation on `held_out` if it is given."""
        validation = [word for path in held_out for word in ("--validation", str(path))]
        group_flags = self.group_flags if self.in_folds or held_out else ()
        flags = (*self.fit_flags, *validation, *group_flags)
        if not PRESETS[self.preset].corrects_labels:
            command = self._fit(store, train_csv, self.run, *flags)
            return [Rule((self.trained,), (store, train_csv, *held_out), (command,))]
        folds, corrected, issues = (
            self.run.with_name(self.run.name + suffix)
            for suffix in ("-folds", "-labels.csv", "-label-issues.csv")
        )
        out_of_fold = folds / "out_of_fold.csv"
        labels = (str(train_csv), str(out_of_fold))
        correct = (
            ("find-label-issues", *labels, "-o", str(issues)),
            ("correct-labels", *labels, "-o", str(corrected)),
        )
        fit_folds = self._fit(store, train_csv, folds, *FOLD_FLAGS, *self.group_flags)
        fit = self._fit(store, corrected, self.run, *flags)
        return [
            Rule((out_of_fold,), (store, train_csv), (fit_folds,)),
            Rule((corrected,), (train_csv, out_of_fold), correct),
            Rule((self.trained,), (store, corrected, *held_out), (fit,)),
        ]

    def _fit(self, store: Path, labels: Path, run: Path, *flags: str) -> tuple[str, ...]:
        options = ["--preset", self.preset, "--seed", str(self.seed), "--overwrite"]
        if any(flag.startswith("--features") for flag in self.extract_flags):
            options.append("--any-features")  # they were chosen on purpose
        is_compact_demo = self.dataset == "demo" and PRESETS[self.preset].model == "compact"
        if is_compact_demo and "--epochs" not in flags:
            options += DEMO_EPOCHS
        return ("fit", str(store), str(labels), str(run), *options, *flags)

    def _result_rules(self, data: Dataset) -> list[Rule]:
        _, store = self.stores(data)
        run, submission, page = self.run, self.run / "submission.csv", self.run / "report" / "index.html"
        sample = ("--sample-submission", str(data.sample_csv)) if data.sample_csv else ()
        predict = ("predict", str(store), str(run), "-o", str(submission), *sample)
        options = ("--format", self.export_format, "--overwrite")
        export = ("export", str(run), str(self.exported.parent), *options)
        rules = [
            Rule((submission,), (store, self.trained, *filter(None, [data.sample_csv])), (predict,)),
            Rule((self.exported,), (self.trained,), (export,)),
        ]
        if data.test_csv:
            inputs = (store, data.test_csv, self.trained)
            arguments = (str(store), str(data.test_csv), str(run))
            table = run / "evaluation.csv"
            show = ("report", *arguments, "-o", str(page.parent), "--audio", str(data.test_audio))
            rules += [
                Rule((table,), inputs, (("evaluate", *arguments, "-o", str(table)),)),
                Rule((page,), inputs, (show,)),
            ]
        return rules

    def outputs(self, target: str, data: Dataset) -> list[Path]:
        """Return the files that a target consists of.

        Raises
        ------
        InputError
            If the target is a report and the test clips have no labels.
        """
        if target == "report" and not data.test_csv:
            raise InputError(
                f"a report needs labels of the test clips, but {data.root} has no test_post_competition.csv"
            )
        evaluation = [self.run / "evaluation.csv"] if data.test_csv else []
        return {
            "data": [data.train_csv],
            "features": list(self.stores(data)),
            "train": [self.trained],
            "submission": [self.run / "submission.csv", *evaluation],
            "report": [self.run / "report" / "index.html"],
            "export": [self.exported],
            "serve": [self.trained],
        }[target]


def slug(flags: Sequence[str]) -> str:
    """Name flags for a folder: `["--hparams", "lr=1e-3"]` becomes `-lr-1e-3`."""
    words = [word for flag in flags for word in re.split(r"[\s,/=]+", flag) if word and word != "--hparams"]
    return "".join("-" + re.sub(r"^-+(?=[a-zA-Z])", "", word) for word in words)


def check_correctable(preset: str, train_csv: Path) -> None:
    """Refuse a preset that corrects labels if no column marks the verified ones."""
    if not PRESETS[preset].corrects_labels:
        return
    header = ""
    if train_csv.exists():
        with open_text(train_csv) as file:
            header = file.readline(MAX_HEADER)
    if "manually_verified" not in header:
        raise InputError(
            f"preset {preset} corrects unverified labels, but {train_csv} has no column manually_verified;"
            " add it, or choose another preset"
        )


def read_overall(evaluation_csv: Path) -> dict[str, str]:
    """Return the row of all clips and classes of an evaluation table."""
    with open_text(evaluation_csv) as file:
        rows = csv.DictReader(file)
        return next(row for row in rows if (row["part"], row["label"]) == ("all", "overall"))


class Flags(click.ParamType):
    """Options of another command in one text, quoted as in a shell."""

    name = "FLAGS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        try:
            return shlex.split(value)
        except ValueError as error:
            self.fail(f"{value!r} cannot be split into options: {error}", param, ctx)


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 run submission                            the demo corpus, preset compact\n"
    "  dcase2018 run submission --dataset sounds           sounds/dog/1.wav, sounds/cat/1.wav, ...\n"
    '  dcase2018 run train --preset quick --fit-flags "--epochs 5"',
)
@click.argument("target", type=Choice(TARGETS), metavar="TARGET")
@click.option("--dataset", default="demo", show_default=True, help="demo, fsdkaggle2018, or a folder.")
@click.option(
    "--preset",
    type=Choice(list(PRESETS)),
    default="compact",
    show_default=True,
    help="Features, architecture, hyperparameters and epochs.",
)
@seed_option
@click.option(
    "--validation",
    default=0.0,
    type=FiniteFloat(0, 1, max_open=True),
    metavar="FRACTION",
    help="Hold out this fraction of the training clips: for validation MAP@3, best.keras and calibration."
    "  [default: 0, train on all clips]",
)
@click.option(
    "--name", default="", help="Name of the output folders.  [default: name of the dataset's folder]"
)
@click.option(
    "--format",
    "export_format",
    type=Choice(["onnx", "litert", "saved-model"]),
    default="onnx",
    show_default=True,
    help="Format of the target export.",
)
@click.option("--extract-flags", type=Flags(), default="", help="More options of dcase2018 extract.")
@click.option(
    "--groups-from",
    default="",
    metavar="PATTERN",
    help="Keep clips of one group on one side of splits and folds, as split --groups-from does.",
)
@click.option("--fit-flags", type=Flags(), default="", help="More options of dcase2018 fit.")
@click.option("--serve-flags", type=Flags(), default="", help="More options of dcase2018 serve.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the commands without running them.")
def run(target: str, dataset: str, name: str, serve_flags: list[str], dry_run: bool, **settings: Any) -> None:
    """Bring TARGET and all that it depends on up to date.

    TARGET is data, features, train, submission, report, export or serve. Finished steps are skipped and
    interrupted ones resume. Features are written below features/ and runs below runs/, in folders that are
    named by dataset, preset, seed and flags.

    A dataset folder has Kaggle's or Zenodo's layout, or a subfolder for each class. Of class subfolders, a
    fifth of the clips is held out to test. Identical clips stay on one side, and so do the clips of one
    recording if --groups-from describes their names, such as {site}_{recording}_{n}.
    """
    name = name or absolute(dataset).name
    if name in ("", "..") or name != Path(name).name:
        raise InputError(f"--name {name!r} is not the name of a folder; choose one without slashes")
    pipeline = Pipeline(dataset=dataset, name=name, **settings)
    data = Dataset.find(dataset, pipeline.labels_dir, pipeline.split_dir)
    pipeline.validate(data)
    check_owner(name, data.root)
    builder = Builder(pipeline.rules(data), dry_run)
    outputs = pipeline.outputs(target, data)
    if dataset in CREATED:
        builder.update(data.train_csv)
    if dataset not in CREATED or data.train_csv.exists():
        check_correctable(pipeline.preset, data.train_csv)
    if not dry_run:
        claim(name, data.root)
    for path in outputs:
        builder.update(path)
    if target == "serve":
        examples = ("--examples", str(data.test_audio)) if data.test_audio.is_dir() else ()
        builder.run(("serve", str(pipeline.run), *examples, *serve_flags))
    if not dry_run:
        _print_result(target, outputs)
    elif target != "serve" and not any(builder.is_rebuilt.values()):
        print_line(f"{target} is up to date")


def _print_result(target: str, outputs: Sequence[Path]) -> None:
    if target == "submission":
        print_line(f"submission: {outputs[0]}")
        for table in outputs[1:]:
            row = read_overall(table)
            accuracy = f", accuracy {float(row['accuracy']):.4f}" if "accuracy" in row else ""
            print_line(f"MAP@3 on {row['n_clips']} test clips: {float(row['map3']):.4f}{accuracy}")
    elif target == "report":
        print_line(f"report: {outputs[0].absolute()}")
    elif target == "export":
        print_line(f"exported: {outputs[0].parent}")
