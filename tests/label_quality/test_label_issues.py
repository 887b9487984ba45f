"""Suspects: planted errors come first, with the right reasons, and nobody who is verified is among them."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, run_fails, run_ok
from noisy_labels import corpus, write
from sklearn.metrics import average_precision_score

from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.label_quality.label_issues import find_label_issues
from dcase2018.utils.errors import InputError


def test_planted_errors_come_first() -> None:
    labels, scores, truth = corpus()
    ranked = find_label_issues(labels, scores)
    unverified = labels[labels["manually_verified"] == "0"]
    assert sorted(ranked["fname"]) == sorted(unverified["fname"])
    assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))
    assert ranked["issue_probability"].is_monotonic_decreasing
    assert ranked["issue_probability"].between(0, 1).all()
    posterior_of = dict(zip(labels["fname"], truth, strict=True))
    wrong = ranked["label"] != ranked["fname"].map(posterior_of)
    assert wrong[:100].mean() > 0.95
    own = average_precision_score(wrong, -ranked["given_label_score"])
    assert average_precision_score(wrong, ranked["issue_probability"]) > max(0.95, own)
    assert ranked["issue_probability"].sum() == pytest.approx(wrong.sum(), rel=0.1)
    shuffled = find_label_issues(labels.sample(frac=1, random_state=0), scores.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, ranked, atol=1e-6)


def judged(
    scores: list[float], embeddings: pd.DataFrame | None = None, store: Store | None = None
) -> pd.Series:
    """What is said of x.wav, a Bark that is not verified, among clips that are, and are heard as labelled."""
    n = 40
    fnames = ["x.wav", *(f"{i}.wav" for i in range(n))]
    given = ["Bark", *(["Bark", "Flute"] * (n // 2))]
    labels = pd.DataFrame(
        {"fname": fnames, "label": given, "manually_verified": ["0"] + ["1"] * n}, dtype=object
    )
    values = [scores, *([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]] * (n // 2))]
    ranked = find_label_issues(
        labels, pd.DataFrame(values, fnames, ["Bark", "Flute", "Oboe"]), embeddings, store
    )
    assert list(ranked["fname"]) == ["x.wav"]
    return ranked.iloc[0]


def test_each_reason_has_its_words_and_proposes_what_it_can() -> None:
    agreed = judged([0.95, 0.04, 0.01])
    assert (agreed["reason"], agreed["predicted_label"]) == ("heard as labelled", "")
    assert agreed["issue_probability"] < 0.1
    assert np.isnan(agreed["predicted_label_score"])
    other = judged([0.04, 0.95, 0.01])
    assert (other["reason"], other["predicted_label"]) == ("heard as Flute", "Flute")
    assert (other["given_label_score"], other["predicted_label_score"]) == (0.04, 0.95)
    assert other["issue_probability"] > 0.9
    none = judged([0.3, 0.35, 0.35])
    assert (none["reason"], none["predicted_label"]) == ("like no class", "")
    assert agreed["issue_probability"] < none["issue_probability"] < other["issue_probability"]


def test_labels_of_the_same_sound_tell_of_each_other() -> None:
    rng = np.random.default_rng(0)
    fnames = ["x.wav", *(f"{i}.wav" for i in range(40))]
    vectors = rng.standard_normal((41, 16)) + 5
    alone = judged([0.5, 0.49, 0.01], pd.DataFrame(vectors, fnames))
    assert alone.equals(judged([0.5, 0.49, 0.01]))
    vectors[0] = vectors[2] + 0.01  # 1.wav is a Flute
    twin = judged([0.5, 0.49, 0.01], pd.DataFrame(vectors, fnames))
    assert (twin["reason"], twin["predicted_label"]) == ("same sound as 1.wav, verified Flute", "Flute")
    assert twin["issue_probability"] > 0.98
    vectors[0] = vectors[1] - 0.01  # 0.wav is a Bark
    assert (
        judged([0.5, 0.49, 0.01], pd.DataFrame(vectors, fnames))["issue_probability"]
        < alone["issue_probability"] / 10
    )
    missing = judged([0.5, 0.49, 0.01], pd.DataFrame(vectors[1:], fnames[1:]))
    assert missing["issue_probability"] == alone["issue_probability"]
    with pytest.raises(InputError, match=r"no labelled clip has an embedding, such as 'x\.wav'"):
        judged([0.5, 0.49, 0.01], pd.DataFrame(vectors[:1], ["y.wav"]))


@pytest.mark.parametrize(
    ("frames", "is_silent"),
    [
        (np.zeros((0, 64)), True),
        (np.full((5, 64), BASELINE.silence_value), True),
        (np.full((1, 64), BASELINE.silence_value), True),
        (np.tile(np.linspace(-6, 1, 64), (5, 1)), True),
        (np.full((1, 64), -1.0), False),
        (np.random.default_rng(0).normal(-6, 0.1, (5, 64)), False),
    ],
    ids=["no frames", "silence", "one frame of it", "constant", "one frame of sound", "noise"],
)
def test_clips_with_nothing_in_them(tmp_path: Path, frames: np.ndarray, is_silent: bool) -> None:
    sound = np.random.default_rng(1).normal(-3, 1, (5, 64)).astype(np.float32)
    clips = {"x.wav": frames.astype(np.float32), **{f"{i}.wav": sound for i in range(40)}}
    entries = [ClipRecord(name, len(clip), checksum(clip), 0, 0) for name, clip in clips.items()]
    write_store(tmp_path / "s.h5", BASELINE, entries, list(clips.values()))
    told = judged([0.95, 0.04, 0.01], store=Store(tmp_path / "s.h5"))
    assert (told["reason"] == "no sound in it", told["issue_probability"] == 1) == (is_silent, is_silent)


def test_the_command_tells_the_first_ten_and_writes_all(tmp_path: Path) -> None:
    labels, scores, _ = corpus(200)
    write(tmp_path, labels, scores)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["fname"] = list(labels["fname"])
        file["features"] = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
        file["clip"] = np.arange(200)
    given = (tmp_path / "out_of_fold.csv", tmp_path / "train.csv", tmp_path / "ranked.csv")
    said = run_ok("suspects", *given, "--embeddings", tmp_path / "e.h5").splitlines()
    ranked = pd.read_csv(given[-1], keep_default_na=False)
    unverified = (labels["manually_verified"] == "0").sum()
    assert len(ranked) == unverified
    assert list(ranked) == [
        "rank", "fname", "label", "issue_probability", "predicted_label", "reason", "given_label_score", "predicted_label_score"
    ]  # fmt: skip
    assert said[0].split() == ["rank", "fname", "label", "issue_probability", "reason"]
    assert [line.split()[1] for line in said[1:11]] == ranked["fname"][:10].tolist()
    wrong = f"{ranked['suspicion'].sum():.0f}"
    assert said[11:] == [f"{given[-1]}: {unverified} unverified labels, of which about {wrong} are wrong"]


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    labels, scores, _ = corpus(20)
    write(tmp_path, labels, scores)
    given = (tmp_path / "out_of_fold.csv", tmp_path / "train.csv", tmp_path / "ranked.csv")
    (tmp_path / "e.h5").write_bytes(b"nothing")
    for arguments, message in (
        ((given[1], *given[1:]), "is no out_of_fold.csv; dcase2018 fit --folds writes one"),
        ((*given[:2], given[1]), "train.csv is read and would be overwritten"),
        ((*given, "--embeddings", tmp_path / "e.h5"), "e.h5 has no embeddings"),
        ((*given, "--store", given[0]), "out_of_fold.csv is no feature store"),
    ):
        said = run_fails(2, "suspects", *arguments)
        assert message in said
        assert said.count("\n") == 1
    assert not given[-1].exists()
