"""Paired comparisons: known results, SciPy's versions, error rates, and the command."""

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
from dcase2018.evaluation.significance import compare, format_comparison, p_value, summarize, t_interval
from dcase2018.evaluation.submission import write_scores

CLASSES = [f"class {index:02}" for index in range(41)]

NOT_SIGNIFICANT = "The difference between A and B is not significant on these clips."
B_IS_BETTER = "B is significantly better on these clips; other seeds may differ."


def draw_systems(
    rng: np.random.Generator, n_clips: int, *margins: float, shared: float = 0.6
) -> list[Evaluation]:
    """Scores of the same clips by systems of different quality, with correlated errors."""
    class_of_clip = np.arange(n_clips) % 41
    labels = {
        "fname": [f"{clip}.wav" for clip in range(n_clips)],
        "label": np.array(CLASSES, object)[class_of_clip],
        "usage": np.array(["Private", "Private", "Public"], object)[np.arange(n_clips) % 3],
    }
    common = np.sqrt(shared) * rng.standard_normal((n_clips, 41))
    systems = []
    for margin in margins:
        scores = common + np.sqrt(1 - shared) * rng.standard_normal((n_clips, 41))
        scores[np.arange(n_clips), class_of_clip] += margin
        systems.append(Evaluation(pd.DataFrame(labels), scores, CLASSES))
    return systems


def test_system_compared_with_itself() -> None:
    (a,) = draw_systems(np.random.default_rng(0), 328, 2.8)
    comparison = compare([a], [a])
    for part in (comparison, comparison["parts"]["Private"], comparison["parts"]["Public"]):
        assert (part["difference"], part["interval"], part["p_value"]) == (0, [0, 0], 1)
    assert comparison["changed_clips"] == []
    assert comparison["conclusion"] == NOT_SIGNIFICANT
    assert "0 classes better, 0 worse, 41 unchanged" in format_comparison(comparison)


def test_result_of_a_comparison() -> None:
    a, b = draw_systems(np.random.default_rng(0), 328, 2.5, 3.1)
    comparison = compare([a], [b])
    assert comparison["a"] == a.map3
    assert comparison["b"] == b.map3
    assert comparison["difference"] == pytest.approx(comparison["b"] - comparison["a"])
    assert comparison["interval"][0] < comparison["difference"] < comparison["interval"][1]
    assert comparison["n_clips"] == sum(part["n_clips"] for part in comparison["parts"].values()) == 328
    assert comparison["parts"]["Public"]["a"] == a.by_usage["Public"].map3
    assert comparison["conclusion"] == B_IS_BETTER

    classes = comparison["classes"]
    assert set(classes) == set(CLASSES)
    tables = [run.table.query("part == 'all'").set_index("label")["map3"] for run in (a, b)]
    for name, row in classes.items():
        assert [row["a"], row["b"]] == [table[name] for table in tables]
    differences = [row["difference"] for row in classes.values()]
    assert differences == sorted(differences, reverse=True)

    gains = b.ap_at_3 - a.ap_at_3
    assert {clip["fname"] for clip in comparison["changed_clips"]} == set(a.labels["fname"][gains != 0])
    largest = comparison["changed_clips"][0]
    clip = a.labels["fname"].tolist().index(largest["fname"])
    assert abs(gains[clip]) == np.abs(gains).max()
    predictions = (largest["a_prediction"], largest["b_prediction"])
    assert predictions == (a.clips["top_1"][clip], b.clips["top_1"][clip])
    assert largest["label"] == a.labels["label"][clip]
    assert largest["difference"] == pytest.approx(gains[clip])


def test_exchanging_the_systems_mirrors_the_result() -> None:
    a, b = draw_systems(np.random.default_rng(3), 328, 2.5, 3.1)
    forward, backward = compare([a], [b], resamples=2000), compare([b], [a], resamples=2000)
    assert forward["difference"] == -backward["difference"]
    mirrored = [-bound for bound in reversed(backward["interval"])]
    np.testing.assert_allclose(forward["interval"], mirrored, atol=0.005)
    assert forward["p_value"] == pytest.approx(backward["p_value"], abs=0.01)
    assert backward["conclusion"].startswith("A is significantly better on these clips;")


def test_same_seed_gives_the_same_result() -> None:
    a, b = draw_systems(np.random.default_rng(0), 164, 2.5, 2.8)
    assert json.dumps(compare([a], [b])) == json.dumps(compare([a], [b]))
    assert compare([a], [b], seed=1)["interval"] != compare([a], [b])["interval"]


@given(st.lists(st.sampled_from([-1, -2 / 3, -1 / 2, -1 / 6, 0, 1 / 6, 1 / 2, 1]), min_size=1, max_size=9))
def test_p_value_is_near_the_exact_one(differences: list[float]) -> None:
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    exact = (np.abs(signs @ differences) >= abs(sum(differences)) - 1e-9).mean()
    estimate = p_value(np.array(differences).round(12), np.random.default_rng(0), 20_000)
    assert estimate == pytest.approx(exact, abs=0.02)


def test_p_value_and_interval_equal_scipy() -> None:
    """SciPy's bootstrap and permutation test have no strata, so that all clips are in one here."""
    rng = np.random.default_rng(5)
    a, b = draw_systems(rng, 400, 2.6, 2.8)
    one_stratum = pd.DataFrame({"labels": a.labels["label"], "fname": a.labels["fname"]})
    a, b = (Evaluation(one_stratum, run.scores, CLASSES) for run in (a, b))
    comparison = compare([a], [b])

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(y, axis=axis) - np.mean(x, axis=axis)

    data = (a.ap_at_3, b.ap_at_3)
    permutation = stats.permutation_test(
        data, difference, permutation_type="samples", n_resamples=4000, vectorized=True, rng=rng
    )
    assert comparison["p_value"] == pytest.approx(permutation.pvalue, abs=0.02)
    interval = stats.bootstrap(
        data, difference, paired=True, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    np.testing.assert_allclose(comparison["interval"], interval, atol=0.002)


def test_t_interval_equals_scipy() -> None:
    a, b = [0.91, 0.90, 0.915], [0.92, 0.93]
    expected = stats.ttest_ind(b, a).confidence_interval()
    np.testing.assert_allclose(t_interval(a, b), [expected.low, expected.high])
    low, high = t_interval([0.9], [0.92, 0.93])  # the variance of B stands in for that of A
    assert low < 0.025 < high


def test_seeds_and_clips_have_separate_intervals() -> None:
    rng = np.random.default_rng(1)
    runs = draw_systems(rng, 1640, 2.5, 2.5, 2.5, 3.1, 3.1, 3.1, shared=0.9)
    comparison = compare(runs[:3], runs[3:])
    seeds = comparison["seeds"]
    assert seeds["a"] == [run.map3 for run in runs[:3]]
    assert comparison["difference"] == pytest.approx(np.mean(seeds["b"]) - np.mean(seeds["a"]))
    assert comparison["conclusion"] == "B is significantly better, over clips and seeds."
    combined = seeds["combined"]
    for interval in (comparison["interval"], seeds["interval"]):
        assert combined[0] <= interval[0]
        assert interval[1] <= combined[1]

    uneven = draw_systems(rng, 1640, 2.2, 2.9, 2.3, 3.0, shared=0.9)
    comparison = compare(uneven[:2], uneven[2:])
    expected = "These runs of B are significantly better on these clips, but not over seeds."
    assert comparison["conclusion"] == expected
    printed = format_comparison(comparison)
    assert "\nA seeds  " in printed
    assert "\nB seeds  " in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.endswith(expected)


@pytest.mark.parametrize(
    ("interval", "p", "seeds", "combined", "expected"),
    [
        ([0.1, 0.3], 0.01, None, None, B_IS_BETTER),
        ([0.1, 0.3], 0.2, None, None, NOT_SIGNIFICANT),
        ([-0.1, 0.3], 0.01, None, None, NOT_SIGNIFICANT),
        ([0.1, 0.3], 0.01, [0.1, 0.3], [0.05, 0.4], "B is significantly better, over clips and seeds."),
        ([0.1, 0.3], 0.01, [0.1, 0.3], [-0.05, 0.4], "B is significantly better over clips and over seeds"),
        ([0.1, 0.3], 0.01, [-0.1, 0.5], [-0.2, 0.6], "These runs of B are significantly better on these"),
        ([-0.1, 0.5], 0.2, [0.1, 0.3], [-0.2, 0.6], "B is significantly better over seeds, but not over"),
        ([-0.1, 0.5], 0.2, [-0.1, 0.5], [-0.2, 0.6], "A and B is not significant over clips or seeds."),
    ],
)
def test_conclusion(
    interval: list[float], p: float, seeds: list[float] | None, combined: list[float] | None, expected: str
) -> None:
    overall = {"difference": 0.2, "interval": interval, "p_value": p}
    conclusion = summarize(overall, {"interval": seeds, "combined": combined} if seeds else None)
    assert expected in conclusion


@pytest.mark.slow
@pytest.mark.parametrize(("n_clips", "b_margin"), [(82, 2.8), (82, 3.1), (328, 2.8), (328, 3.1)])
def test_coverage_and_false_positive_rate(n_clips: int, b_margin: float) -> None:
    """In 1,000 draws, how often the interval contains the true difference, and p < 0.05 without one."""
    rng = np.random.default_rng(7)
    a, b = draw_systems(rng, 200_000, 2.8, b_margin)
    true_difference = (b.map3 - a.map3) * (b_margin != 2.8)
    comparisons = [
        compare(*([run] for run in draw_systems(rng, n_clips, 2.8, b_margin)), resamples=999)
        for _ in range(1000)
    ]
    n_covered = sum(row["interval"][0] <= true_difference <= row["interval"][1] for row in comparisons)
    assert 930 <= n_covered <= 970
    if b_margin == 2.8:
        assert 30 <= sum(row["p_value"] < 0.05 for row in comparisons) <= 65


@pytest.fixture(scope="module")
def scored(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score files of the toy run, and of a system that predicts every third clip correctly."""
    folder = tmp_path_factory.mktemp("scored")
    run_ok(
        "predict", toy_pipeline.test, toy_pipeline.run,
        "-o", folder / "s.csv", "--scores-output", folder / "run.csv",
    )  # fmt: skip
    table = pd.read_csv(folder / "run.csv", index_col="fname")
    label_of = read_labels(toy_pipeline.test_labels).set_index("fname")["label"]
    for fname in list(label_of.index)[::3]:
        table.loc[fname, label_of[fname]] = 1.0
    write_scores(folder / "better.csv", table)
    return folder


@pytest.mark.slow
def test_run_equals_its_score_file(toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path) -> None:
    paths = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run, scored / "run.csv")
    printed = run_ok("compare", *paths, "-o", tmp_path / "c.json")
    comparison = json.loads((tmp_path / "c.json").read_text())
    assert (comparison["difference"], comparison["interval"], comparison["p_value"]) == (0, [0, 0], 1)
    assert printed.endswith(f"{NOT_SIGNIFICANT}\n")


@pytest.mark.slow
def test_report_of_both_systems(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    other = tmp_path / "other" / "run"
    shutil.copytree(toy_pipeline.run, other)
    out = tmp_path / "page"
    printed = run_ok(
        "compare", toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run, other,
        "--report", out, "--audio", toy_pipeline.data / "audio_test",
    )  # fmt: skip
    assert printed.endswith(f"{NOT_SIGNIFICANT}\n{out / 'index.html'}\n")
    report = json.loads((out / "report.json").read_text())
    assert [system["name"] for system in report["systems"]] == [
        f"A: {toy_pipeline.run}", f"B: {other}"
    ]  # fmt: skip
    assert report["comparison"]["changed_clips"] == []
    assert (out / "a-classes.csv").read_bytes() == (out / "b-classes.csv").read_bytes()


@pytest.mark.slow
def test_score_files_need_no_store_and_the_seed_determines_the_output(
    toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path
) -> None:
    paths = (toy_pipeline.test_labels, scored / "run.csv", scored / "better.csv")
    printed = run_ok("compare", "-", *paths, "-o", tmp_path / "1.json")
    assert run_ok("compare", toy_pipeline.test, *paths, "-o", tmp_path / "2.json") == printed
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    run_ok("compare", "-", *paths, "-o", tmp_path / "3.json", "--seed", 1)
    assert (tmp_path / "3.json").read_bytes() != (tmp_path / "1.json").read_bytes()
    comparison = json.loads((tmp_path / "1.json").read_text())
    assert comparison["difference"] > 0
    assert all(clip["b"] == 1 for clip in comparison["changed_clips"])
    assert B_IS_BETTER in printed


@pytest.mark.slow
def test_compare_rejects_invalid_input(toy_pipeline: ToyPipeline, scored: Path, tmp_path: Path) -> None:
    run, better = scored / "run.csv", scored / "better.csv"
    compare_files = ("compare", "-", toy_pipeline.test_labels)
    message = run_fails(2, *compare_files, run, toy_pipeline.run)
    assert f"{toy_pipeline.run} is a run; give the STORE of the clips instead of -" in message
    message = run_fails(2, *compare_files, run, better, "--a-seed", run)
    assert f"{run} is listed twice; --a-seed and --b-seed take other runs" in message
    message = run_fails(2, *compare_files, run, better, "-o", tmp_path / "c.csv")
    assert "must end in .json" in message
    runs = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run, better)
    message = run_fails(2, "compare", *runs, "--report", tmp_path / "page")
    assert f"--report requires runs, and {better} is a score file; give the run" in message
    message = run_fails(2, *compare_files, run, better, "--audio", toy_pipeline.data)
    assert "--audio requires --report" in message
    other = tmp_path / "other.json"
    shutil.copy(better, other)
    assert "is an input and would be overwritten" in run_fails(2, *compare_files, run, other, "-o", other)
    other.write_text(run.read_text().replace("Bark", "Growl", 1))
    message = run_fails(2, *compare_files, run, other)
    assert f"the classes of {other} are not those of {run}: Bark, Growl" in message
    other.write_text("".join(run.read_text().splitlines(keepends=True)[:5]))
    message = run_fails(2, *compare_files, run, other)
    assert f"{other} has no scores of " in message
    assert " clips, such as " in message
    message = run_fails(2, "compare", "-", DATA / "sample_submission.csv", run, other)
    assert "is not among the 41 classes" in message
