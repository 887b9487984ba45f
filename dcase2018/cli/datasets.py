"""Where the clips and label files of a dataset are, and which output folders belong to it."""

import os
from dataclasses import dataclass
from pathlib import Path

from dcase2018.utils.atomic import StrPath, open_atomic, open_text
from dcase2018.utils.errors import InputError

# The datasets that a command creates below data/, and the path that this command writes last.
CREATED = {
    "demo": ("synthesize", "train.csv"),
    "fsdkaggle2018": ("download", "FSDKaggle2018.audio_train"),
}


@dataclass(frozen=True)
class Dataset:
    """Paths of a dataset's clips and label files.

    Attributes
    ----------
    root
        Folder of the dataset.
    train_audio, test_audio
        Folders of the clips; the same folder where one store holds all clips.
    train_csv
        Labels of the training clips.
    test_csv
        Labels of the test clips, or None if they are unknown.
    sample_csv
        Sample submission, whose clips and order the submission follows, or None.
    all_csv
        Labels of all clips, of which `train_csv` and `test_csv` are split off, or None.
    """

    root: Path
    train_audio: Path
    test_audio: Path
    train_csv: Path
    test_csv: Path | None
    sample_csv: Path | None = None
    all_csv: Path | None = None

    @classmethod
    def find(cls, dataset: str, labels_dir: Path, split_dir: Path) -> "Dataset":
        """Detect the layout of a dataset.

        Parameters
        ----------
        dataset
            `demo`, `fsdkaggle2018`, or a folder: in Kaggle's layout, in Zenodo's layout, or with a subfolder
            for each class.
        labels_dir
            Folder for the labels of a dataset with class subfolders.
        split_dir
            Folder for the two label files that are split off them.

        Raises
        ------
        InputError
            If the folder does not exist or lacks a part of its layout.
        """
        root = Path("data", dataset) if dataset in CREATED else absolute(dataset)
        if dataset not in CREATED and not root.is_dir():
            raise InputError(
                f"dataset {dataset!r} is not a folder; allowed are demo, fsdkaggle2018 and a folder"
            )
        if dataset == "fsdkaggle2018" or any(root.glob("FSDKaggle2018.*")):
            found = _zenodo_layout(root)
        elif dataset == "demo" or (root / "train.csv").exists() or (root / "audio_train").exists():
            found = _kaggle_layout(root, is_complete=dataset == "demo")
        else:
            return _class_folders(root, labels_dir, split_dir)
        parts = (found.train_audio, found.test_audio, found.train_csv, found.test_csv)
        missing = [part.name for part in parts if part and not part.exists()]
        if missing and dataset not in CREATED:
            raise InputError(f"{root} lacks {', '.join(missing)}; complete it or choose another dataset")
        return found


def absolute(path: StrPath) -> Path:
    """Make a path absolute and remove `.`, `..` and repeated slashes from it; links are not followed."""
    return Path(os.path.normpath(Path(path).absolute()))


def _zenodo_layout(root: Path) -> Dataset:
    prefix = root / "FSDKaggle2018"
    return Dataset(
        root,
        train_audio=prefix.with_suffix(".audio_train"),
        test_audio=prefix.with_suffix(".audio_test"),
        train_csv=prefix.with_suffix(".meta") / "train_post_competition.csv",
        test_csv=prefix.with_suffix(".meta") / "test_post_competition_scoring_clips.csv",
    )


def _kaggle_layout(root: Path, is_complete: bool) -> Dataset:
    """Return Kaggle's layout; labels of the test clips and the sample submission are optional."""
    test_csv, sample_csv = root / "test_post_competition.csv", root / "sample_submission.csv"
    return Dataset(
        root,
        train_audio=root / "audio_train",
        test_audio=root / "audio_test",
        train_csv=root / "train.csv",
        test_csv=test_csv if is_complete or test_csv.exists() else None,
        sample_csv=sample_csv if is_complete or sample_csv.exists() else None,
    )


def _class_folders(root: Path, labels_dir: Path, split_dir: Path) -> Dataset:
    test_csv = split_dir / "validation.csv"
    return Dataset(
        root,
        train_audio=root,
        test_audio=root,
        train_csv=split_dir / "train.csv",
        test_csv=test_csv,
        sample_csv=test_csv,
        all_csv=labels_dir / "labels.csv",
    )


def check_owner(name: str, root: Path) -> None:
    """Refuse a name whose features or runs belong to another dataset."""
    for owner in _owner_files(name):
        if not owner.exists():
            continue
        with open_text(owner) as file:
            path = file.read().removesuffix("\n")
        if path != str(absolute(root)):
            raise InputError(
                f"{owner.parent} belongs to {path}, not to {absolute(root)};"
                " choose another name: --name, or DATASET_NAME=... of make"
            )


def claim(name: str, root: Path) -> None:
    """Record which dataset the features and runs of a name belong to."""
    for owner in _owner_files(name):
        if not owner.exists():
            with open_atomic(owner) as file:
                file.write(f"{absolute(root)}\n")


def _owner_files(name: str) -> list[Path]:
    return [Path(folder, name, ".dataset-path") for folder in ("features", "runs")]
