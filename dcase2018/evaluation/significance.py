"""Paired comparison of two systems on the same clips.

A system is trained once or with several seeds. Its score of a clip is the mean over the seeds. Differences
are B - A. There are two sources of uncertainty, reported separately:

clips  other clips of the same classes: stratified bootstrap over the differences, and a permutation test
seeds  other training runs: Student's t interval from the spread of the seeds of each system

With several seeds, the `combined` interval adds the squared distances of both bounds from the difference (Zou
and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 2008).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from dcase2018.data.labels import labels_per_clip
from dcase2018.evaluation.confidence_intervals import QUANTILES, resampled_means, strata
from dcase2018.evaluation.evaluate import ALL, OVERALL, Evaluation
from dcase2018.evaluation.metrics import class_means
from dcase2018.utils.errors import InputError

SeedRuns = Sequence[Evaluation]  # evaluations of one system, one per training seed

ALPHA = 0.05
N_PRINTED = 5  # classes and clips printed per direction
N_PER_LINE = 8  # scores of seeds


def compare(
    a: Evaluation | SeedRuns, b: Evaluation | SeedRuns, seed: int = 0, resamples: int = 10_000
) -> dict[str, Any]:
    """Compare two systems on the same clips.

    Parameters
    ----------
    a, b : Evaluation or sequence of Evaluation
        Evaluations of the same clips, one per training seed of each system.
    seed : int
        Seed of the resampling. The same seed gives the same result.
    resamples : int
        Number of bootstrap resamples and of permutations.

    Returns
    -------
    dict
        `n_clips`; the MAP@3 `a` and `b`; their `difference` with its `interval` and `p_value`; `parts`, the
        same for each usage; `seeds`, None for one run each, else the MAP@3 of each run and the intervals
        `interval` (seeds alone) and `combined`; `classes`, a dict per class; `changed_clips`, a dict per clip
        whose score differs; and `conclusion`, one sentence.

    Raises
    ------
    InputError
        If a system has no evaluation, or the clips, their labels or the classes differ.

    Examples
    --------
    >>> a, b = (dcase2018.evaluate(ensemble, labels) for ensemble in ensembles)
    >>> dcase2018.compare(a, b)["conclusion"]
    'B is significantly better on these clips; other seeds may differ.'
    """
    a, b = ([system] if isinstance(system, Evaluation) else list(system) for system in (a, b))
    _check_comparable(a, b)
    a_parts, b_parts = ([run.by_usage for run in system] for system in (a, b))
    parts = {
        part: _difference([run[part] for run in a_parts], [run[part] for run in b_parts], seed, resamples)
        for part in a_parts[0]
    }
    overall = parts.pop(ALL)
    seeds = _seed_intervals(a, b, overall) if len(a) + len(b) > 2 else None
    return overall | {
        "parts": parts,
        "seeds": seeds,
        "classes": _class_differences(a, b),
        "changed_clips": _changed_clips(a, b),
        "conclusion": summarize(overall, seeds),
    }


def _check_comparable(a: SeedRuns, b: SeedRuns) -> None:
    if not a or not b:
        raise InputError("a system has no evaluation; give at least one")
    first, *others = [*a, *b]
    for other in others:
        if list(other.classes) != list(first.classes):
            raise InputError("the evaluations have different classes; compare systems with the same classes")
        is_same = other.labels["fname"].tolist() == first.labels["fname"].tolist()
        if not is_same or not np.array_equal(other.y_true, first.y_true):
            raise InputError("the evaluations have different clips or labels; evaluate one label file")


def _mean_ap(runs: SeedRuns) -> np.ndarray:
    """Average precision of each clip, averaged over the seeds: (n_clips,)."""
    return np.mean([run.ap_at_3 for run in runs], axis=0)


def _clip_differences(a: SeedRuns, b: SeedRuns) -> np.ndarray:
    """Difference of each clip, exactly 0 where the scores differ by rounding only: (n_clips,)."""
    return (_mean_ap(b) - _mean_ap(a)).round(12)


def _difference(a: SeedRuns, b: SeedRuns, seed: int, resamples: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    differences = _clip_differences(a, b)
    means = resampled_means(differences, strata(a[0]), rng, resamples)
    return {
        "n_clips": len(differences),
        "a": float(_mean_ap(a).mean()),
        "b": float(_mean_ap(b).mean()),
        "difference": float(differences.mean()),
        "interval": np.quantile(means, QUANTILES).tolist(),
        "p_value": p_value(differences, rng, resamples),
    }


def p_value(differences: np.ndarray, rng: np.random.Generator, resamples: int) -> float:
    """Compute the two-sided p-value of a mean difference, by a paired permutation test.

    The sign of each clip's difference is flipped at random. Clips with the same absolute difference are drawn
    together, as one binomial count. The observed differences count as one permutation, so that p is never 0
    (Phipson and Smyth, "Permutation P-values should never be zero", 2010).

    Parameters
    ----------
    differences : ndarray, (n_clips,)
    rng : numpy.random.Generator
    resamples : int
        Number of permutations.
    """
    magnitudes, counts = np.unique(np.abs(differences), return_counts=True)
    sign_flips = 2 * rng.binomial(counts, 1 / 2, (resamples, len(counts))) - counts
    extreme = np.abs(sign_flips @ magnitudes) >= abs(differences.sum()) - 1e-9
    return float((extreme.sum() + 1) / (resamples + 1))


def _seed_intervals(a: SeedRuns, b: SeedRuns, overall: dict[str, Any]) -> dict[str, Any]:
    scores = [[run.map3 for run in system] for system in (a, b)]
    interval = t_interval(*scores)
    distances = [
        np.hypot(overall["difference"] - clip_bound, overall["difference"] - seed_bound)
        for clip_bound, seed_bound in zip(overall["interval"], interval, strict=True)
    ]
    combined = [float(overall["difference"] - distances[0]), float(overall["difference"] + distances[1])]
    return {"a": scores[0], "b": scores[1], "interval": interval, "combined": combined}


def t_interval(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Compute Student's t interval of mean(b) - mean(a), with pooled variance.

    `a` and `b` must have three values or more together.
    """
    dof = len(a) + len(b) - 2
    variance = sum(np.square(np.subtract(scores, np.mean(scores))).sum() for scores in (a, b)) / dof
    half_width = stdtrit(dof, QUANTILES[1]) * np.sqrt(variance * (1 / len(a) + 1 / len(b)))
    difference = np.mean(b) - np.mean(a)
    return [float(difference - half_width), float(difference + half_width)]


def _class_differences(a: SeedRuns, b: SeedRuns) -> dict[str, dict[str, Any]]:
    """Scores of each class that has clips, largest gain first."""
    y_true = a[0].y_true
    columns = {
        "n_clips": y_true.sum(axis=0),
        "a": class_means(_mean_ap(a), y_true),
        "b": class_means(_mean_ap(b), y_true),
    }
    table = pd.DataFrame(columns, index=list(a[0].classes))
    table["difference"] = table["b"] - table["a"]
    present = table[table["n_clips"] > 0]
    return present.sort_values("difference", ascending=False, kind="stable").to_dict(orient="index")


def _changed_clips(a: SeedRuns, b: SeedRuns) -> list[dict[str, Any]]:
    """Clips whose scores differ, largest absolute difference first."""
    a_ap, b_ap, differences = _mean_ap(a), _mean_ap(b), _clip_differences(a, b)
    a_top, b_top = (np.mean([run.scores for run in runs], axis=0).argmax(axis=1) for runs in (a, b))
    fnames, labels, classes = a[0].labels["fname"].to_numpy(), labels_per_clip(a[0].labels), a[0].classes
    order = np.lexsort((fnames.astype(str), -np.abs(differences)))
    return [
        {
            "fname": fnames[clip],
            "label": ",".join(labels[clip]),
            "a_prediction": classes[a_top[clip]],
            "b_prediction": classes[b_top[clip]],
            "a": float(a_ap[clip]),
            "b": float(b_ap[clip]),
            "difference": float(differences[clip]),
        }
        for clip in order
        if differences[clip]
    ]


def summarize(overall: dict[str, Any], seeds: dict[str, Any] | None) -> str:
    """State the conclusion of a comparison in one sentence.

    Parameters
    ----------
    overall : dict
        `difference`, `interval` and `p_value` over the clips.
    seeds : dict, optional
        `interval` and `combined`, with several seeds.
    """
    better = "B" if overall["difference"] > 0 else "A"
    by_clips = _excludes_zero(overall["interval"]) and overall["p_value"] < ALPHA
    if seeds is None:
        if by_clips:
            return f"{better} is significantly better on these clips; other seeds may differ."
        return "The difference between A and B is not significant on these clips."
    by_seeds = _excludes_zero(seeds["interval"])
    if by_clips and by_seeds and _excludes_zero(seeds["combined"]):
        return f"{better} is significantly better, over clips and seeds."
    if by_clips and by_seeds:
        return f"{better} is significantly better over clips and over seeds, but not combined."
    if by_clips:
        return f"These runs of {better} are significantly better on these clips, but not over seeds."
    if by_seeds:
        return f"{better} is significantly better over seeds, but not over clips."
    return "The difference between A and B is not significant over clips or seeds."


def _excludes_zero(interval: Sequence[float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def format_comparison(comparison: dict[str, Any]) -> str:
    """Format the result of `compare` for the terminal."""
    rows = {OVERALL: comparison} | comparison["parts"]
    table = pd.DataFrame(
        {
            "clips": [row["n_clips"] for row in rows.values()],
            "A": [f"{row['a']:.4f}" for row in rows.values()],
            "B": [f"{row['b']:.4f}" for row in rows.values()],
            "B - A": [f"{row['difference']:+.4f}" for row in rows.values()],
            "95 %": [_format_interval(row["interval"]) for row in rows.values()],
            "p": [f"{row['p_value']:.4f}" for row in rows.values()],
        },
        index=list(rows),
    )
    lines = [table.to_string(), ""]
    if comparison["seeds"]:
        lines += [*_format_seeds(comparison["seeds"]), ""]
    lines += [*_format_classes(comparison["classes"]), *_format_clips(comparison["changed_clips"])]
    return "\n".join([*lines, comparison["conclusion"]])


def _format_interval(interval: Sequence[float]) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def _format_seeds(seeds: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("a", "b"):
        scores = [f"{score:.4f}" for score in seeds[name]]
        rows = [scores[start : start + N_PER_LINE] for start in range(0, len(scores), N_PER_LINE)]
        lines += [f"{name.upper() if row is rows[0] else ' '} seeds  {', '.join(row)}" for row in rows]
    interval, combined = _format_interval(seeds["interval"]), _format_interval(seeds["combined"])
    return [*lines, f"B - A    {interval} over seeds", f"         {combined} over clips and seeds"]


def _format_classes(classes: dict[str, dict[str, Any]]) -> list[str]:
    better = [name for name, row in classes.items() if row["difference"] > 0]
    worse = [name for name, row in reversed(classes.items()) if row["difference"] < 0]
    n_unchanged = len(classes) - len(better) - len(worse)
    lines = [f"{len(better)} classes better, {len(worse)} worse, {n_unchanged} unchanged"]
    for name in (*better[:N_PRINTED], *worse[:N_PRINTED][::-1]):
        row = classes[name]
        scores = f"{row['a']:.4f} -> {row['b']:.4f}"
        lines.append(f"  {row['difference']:+.4f}  {scores}  {name} ({row['n_clips']} clips)")
    return [*lines, ""]


def _format_clips(changed_clips: list[dict[str, Any]]) -> list[str]:
    if not changed_clips:
        return ["no clip changed", ""]
    better = [clip for clip in changed_clips if clip["difference"] > 0]
    worse = [clip for clip in changed_clips if clip["difference"] < 0]
    lines = [f"{len(better)} clips better, {len(worse)} worse; the largest changes:"]
    for clip in (*better[:N_PRINTED], *worse[:N_PRINTED]):
        lines.append(f"  {clip['difference']:+.2f}  {clip['fname']}: {clip['label']}")
        lines.append(f"         predicted {clip['a_prediction']} -> {clip['b_prediction']}")
    return [*lines, ""]
