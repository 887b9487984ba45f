"""Comparisons: what is known in advance, SciPy's slow twins, how often they err, and the command."""

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import DATA, ToyPipeline, run_fails, run_ok
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.significance import compare, conclude, p_value, render_comparison, seed_interval
from dcase2018.evaluation.submission import write_scores

CLASSES = [f"class {number:02}" for number in range(41)]


def taggers(rng: np.random.Generator, clips: int, *margins: float, shared: float = 0.6) -> list[Evaluation]:
    """Scores of the same clips by taggers of different quality, who err on the same ones, more or less."""
    own = np.arange(clips) % 41
    labels = {
        "fname": [f"{clip}.wav" for clip in range(clips)],
        "label": np.array(CLASSES, object)[own],
        "usage": np.array(["Private", "Private", "Public"], object)[np.arange(clips) % 3],
    }
    hard = np.sqrt(shared) * rng.standard_normal((clips, 41))
    found = []
    for margin in margins:
        scores = hard + np.sqrt(1 - shared) * rng.standard_normal((clips, 41))
        scores[np.arange(clips), own] += margin
        found.append(Evaluation(pd.DataFrame(labels), scores, CLASSES))
    return found


def test_a_tagger_against_itself() -> None:
    (a,) = taggers(np.random.default_rng(0), 328, 2.8)
    told = compare([a], [a])
    for part in (told, told["parts"]["Private"], told["parts"]["Public"]):
        assert (part["difference"], part["interval"], part["p_value"]) == (0, [0, 0], 1)
    assert told["changed"] == []
    assert told["conclusion"] == "These clips do not tell A from B."
    assert "0 classes gain, 0 lose, 41 stay" in render_comparison(told)


def test_what_is_told() -> None:
    a, b = taggers(np.random.default_rng(0), 328, 2.5, 3.1)
    told = compare([a], [b])
    assert told["a"] == a.ap_at_3.mean()
    assert told["b"] == b.ap_at_3.mean()
    assert told["difference"] == pytest.approx(told["b"] - told["a"])
    assert told["interval"][0] < told["difference"] < told["interval"][1]
    assert told["clips"] == sum(part["clips"] for part in told["parts"].values()) == 328
    assert told["parts"]["Public"]["a"] == a.table.loc["overall", "Public MAP@3"]
    assert told["conclusion"].startswith("On such clips B is better; one run a side cannot tell")

    classes = told["classes"]
    assert set(classes) == set(CLASSES)
    for name, row in classes.items():
        assert [row["a"], row["b"]] == [one.table.loc[name, "MAP@3"] for one in (a, b)]
    differences = [row["difference"] for row in classes.values()]
    assert differences == sorted(differences, reverse=True)

    gaps = b.ap_at_3 - a.ap_at_3
    assert {clip["fname"] for clip in told["changed"]} == set(a.labels["fname"][gaps != 0])
    largest = told["changed"][0]
    clip = a.labels["fname"].tolist().index(largest["fname"])
    assert abs(gaps[clip]) == np.abs(gaps).max()
    assert (largest["a_says"], largest["b_says"]) == (a.clips["top_1"][clip], b.clips["top_1"][clip])
    assert largest["truth"] == a.labels["label"][clip]
    assert largest["difference"] == pytest.approx(gaps[clip])


def test_the_other_way_round() -> None:
    a, b = taggers(np.random.default_rng(3), 328, 2.5, 3.1)
    there, back = compare([a], [b], resamples=2000), compare([b], [a], resamples=2000)
    assert there["difference"] == -back["difference"]
    np.testing.assert_allclose(there["interval"], [-end for end in reversed(back["interval"])], atol=0.005)
    assert there["p_value"] == pytest.approx(back["p_value"], abs=0.01)
    assert back["conclusion"].startswith("On such clips A is better;")


def test_the_same_seed_tells_the_same() -> None:
    a, b = taggers(np.random.default_rng(0), 164, 2.5, 2.8)
    assert json.dumps(compare([a], [b])) == json.dumps(compare([a], [b]))
    assert compare([a], [b], seed=1)["interval"] != compare([a], [b])["interval"]


@given(st.lists(st.sampled_from([-1, -2 / 3, -1 / 2, -1 / 6, 0, 1 / 6, 1 / 2, 1]), min_size=1, max_size=9))
def test_the_p_value_is_near_the_exact_one(differences: list[float]) -> None:
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    exact = (np.abs(signs @ differences) >= abs(sum(differences)) - 1e-9).mean()
    drawn = p_value(np.array(differences).round(12), np.random.default_rng(0), 20_000)
    assert drawn == pytest.approx(exact, abs=0.02)


def test_p_value_and_interval_are_those_of_scipy() -> None:
    """Its bootstrap and permutation test, which know no strata: here all clips are of one class."""
    rng = np.random.default_rng(5)
    a, b = taggers(rng, 400, 2.6, 2.8)
    one_class = {"labels": a.labels["label"], "fname": a.labels["fname"]}
    a, b = (Evaluation(pd.DataFrame(one_class), each.scores, CLASSES) for each in (a, b))
    told = compare([a], [b])

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(y, axis=axis) - np.mean(x, axis=axis)

    data = (a.ap_at_3, b.ap_at_3)
    slow = stats.permutation_test(
        data, difference, permutation_type="samples", n_resamples=4000, vectorized=True, rng=rng
    )
    assert told["p_value"] == pytest.approx(slow.pvalue, abs=0.02)
    interval = stats.bootstrap(
        data, difference, paired=True, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    np.testing.assert_allclose(told["interval"], interval, atol=0.002)


def test_the_interval_of_seeds_is_that_of_a_t_test() -> None:
    a, b = [0.91, 0.90, 0.915], [0.92, 0.93]
    expected = stats.ttest_ind(b, a).confidence_interval()
    np.testing.assert_allclose(seed_interval(a, b), [expected.low, expected.high])
    low, high = seed_interval([0.9], [0.92, 0.93])  # the spread of B's seeds stands for that of A's
    assert low < 0.025 < high


def test_seeds_and_clips_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    a1, a2, a3, b1, b2, b3 = taggers(rng, 1640, 2.5, 2.5, 2.5, 3.1, 3.1, 3.1, shared=0.9)
    told = compare([a1, a2, a3], [b1, b2, b3])
    assert told["seeds"]["a"] == [one.ap_at_3.mean() for one in (a1, a2, a3)]
    assert told["difference"] == pytest.approx(np.mean(told["seeds"]["b"]) - np.mean(told["seeds"]["a"]))
    assert told["conclusion"] == "B is better: neither other clips nor other seeds are likely to change that."
    both = told["seeds"]["both"]
    for interval in (told["interval"], told["seeds"]["interval"]):
        assert both[0] <= interval[0]
        assert interval[1] <= both[1]

    uneven = taggers(rng, 1640, 2.2, 2.9, 2.3, 3.0, shared=0.9)
    told = compare(uneven[:2], uneven[2:])
    assert told["conclusion"] == "These runs of B are better on such clips, but other seeds may not be."
    printed = render_comparison(told)
    assert "seeds    A: " in printed
    assert printed.endswith(told["conclusion"])


@pytest.mark.parametrize(
    ("interval", "p", "seeds", "both", "said"),
    [
        ([0.1, 0.3], 0.01, None, None, "On such clips B is better; one run"),
        ([0.1, 0.3], 0.2, None, None, "These clips do not tell"),
        ([-0.1, 0.3], 0.01, None, None, "These clips do not tell"),
        ([0.1, 0.3], 0.01, [0.1, 0.3], [0.05, 0.4], "B is better: neither other clips nor"),
        ([0.1, 0.3], 0.01, [0.1, 0.3], [-0.05, 0.4], "B leads by more than clips or seeds explain, but"),
        ([0.1, 0.3], 0.01, [-0.1, 0.5], [-0.2, 0.6], "These runs of B are better on such clips, but"),
        ([-0.1, 0.5], 0.2, [0.1, 0.3], [-0.2, 0.6], "On these clips B is better whatever the seed, but"),
        ([-0.1, 0.5], 0.2, [-0.1, 0.5], [-0.2, 0.6], "Neither clips nor seeds"),
    ],
)
def test_what_may_be_concluded(
    interval: list[float], p: float, seeds: list[float] | None, both: list[float] | None, said: str
) -> None:
    overall = {"difference": 0.2, "interval": interval, "p_value": p}
    assert conclude(overall, {"interval": seeds, "both": both} if seeds else None).startswith(said)


@pytest.mark.slow
@pytest.mark.parametrize(("clips", "better"), [(82, 2.8), (82, 3.1), (328, 2.8), (328, 3.1)])
def test_how_often_it_errs(clips: int, better: float) -> None:
    """In 1,000 draws, how often the interval holds the true difference, and p < 0.05 where there is none."""
    rng = np.random.default_rng(7)
    y_true = np.diff([one.ap_at_3.mean() for one in taggers(rng, 200_000, 2.8, better)])[0]
    y_true *= better != 2.8
    told = [compare(*([one] for one in taggers(rng, clips, 2.8, better)), resamples=999) for _ in range(1000)]
    held = sum(one["interval"][0] <= y_true <= one["interval"][1] for one in told)
    assert 930 <= held <= 970
    if better == 2.8:
        assert 30 <= sum(one["p_value"] < 0.05 for one in told) <= 65


@pytest.fixture(scope="module")
def scored(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy run's scores, and those of another tagger, which knows the truth of every third clip."""
    folder = tmp_path_factory.mktemp("scored")
    run_ok(
        "predict",
        toy_pipeline.test,
        folder / "s.csv",
        toy_pipeline.run,
        "--scores-output",
        folder / "run.csv",
    )
    table = pd.read_csv(folder / "run.csv", index_col="fname")
    y_true = read_labels(toy_pipeline.test_labels).set_index("fname")["label"]
    for fname in list(y_true.index)[::3]:
        table.loc[fname, y_true[fname]] = 1.0
    write_scores(folder / "better.csv", table)
    return folder


def test_a_run_is_its_file_of_scores(toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    said = run_ok(
        "compare",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        scored / "run.csv",
        "--output",
        out,
    )
    told = json.loads(out.read_text())
    assert (told["difference"], told["interval"], told["p_value"]) == (0, [0, 0], 1)
    assert said.endswith("These clips do not tell A from B.\n")


@pytest.mark.slow
def test_both_sides_on_one_page(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    other = tmp_path / "other" / "run"
    shutil.copytree(toy_pipeline.run, other)
    out = tmp_path / "page"
    said = run_ok(
        "compare",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        other,
        "--report",
        out,
        "--audio",
        toy_pipeline.data / "audio_test",
    )
    assert said.endswith(f"These clips do not tell A from B.\n{out / 'index.html'}\n")
    numbers = json.loads((out / "report.json").read_text())
    assert [side["name"] for side in numbers["sides"]] == [str(toy_pipeline.run), str(other)]
    assert numbers["changes"] == []
    assert (out / "a-classes.csv").read_bytes() == (out / "b-classes.csv").read_bytes()


def test_files_need_no_store_and_the_same_seed_gives_the_same_file(
    toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path
) -> None:
    sides = (scored / "run.csv", scored / "better.csv")
    said = run_ok("compare", "-", toy_pipeline.test_labels, *sides, "--output", tmp_path / "1.json")
    assert (
        run_ok(
            "compare", toy_pipeline.test, toy_pipeline.test_labels, *sides, "--output", tmp_path / "2.json"
        )
        == said
    )
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    run_ok("compare", "-", toy_pipeline.test_labels, *sides, "--output", tmp_path / "3.json", "--seed", 1)
    assert (tmp_path / "3.json").read_bytes() != (tmp_path / "1.json").read_bytes()
    told = json.loads((tmp_path / "1.json").read_text())
    assert told["difference"] > 0
    assert all(clip["b"] == 1 for clip in told["changed"])
    assert "On such clips B is better; one run a side cannot tell" in said


def test_compare_refuses(toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path) -> None:
    run, better = scored / "run.csv", scored / "better.csv"
    message = run_fails(2, "compare", "-", toy_pipeline.test_labels, run, toy_pipeline.run)
    assert "to score a run, give the STORE of the clips instead of -" in message
    message = run_fails(2, "compare", "-", toy_pipeline.test_labels, run, better, "--a-seed", run)
    assert "a run that is given twice is no other seed" in message
    message = run_fails(
        2, "compare", "-", toy_pipeline.test_labels, run, better, "--output", tmp_path / "c.csv"
    )
    assert "must end in .json" in message
    message = run_fails(
        2,
        "compare",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        better,
        "--report",
        tmp_path / "page",
    )
    assert f"--report shows what runs hear, and {better} is a file of scores; give the run" in message
    message = run_fails(
        2, "compare", "-", toy_pipeline.test_labels, run, better, "--audio", toy_pipeline.data
    )
    assert "--audio is for the page of --report" in message
    other = tmp_path / "other.json"
    shutil.copy(better, other)
    assert "is read and would be overwritten" in run_fails(
        2, "compare", "-", toy_pipeline.test_labels, run, other, "--output", other
    )
    other.write_text(run.read_text().replace("Bark", "Growl", 1))
    assert f"the classes of {other} are not those of {run}: Bark, Growl" in run_fails(
        2, "compare", "-", toy_pipeline.test_labels, run, other
    )
    other.write_text("".join(run.read_text().splitlines(keepends=True)[:5]))
    assert "has no scores, and so have " in run_fails(2, "compare", "-", toy_pipeline.test_labels, run, other)
    assert "is not among the 41 classes" in run_fails(
        2, "compare", "-", DATA / "sample_submission.csv", run, other
    )
