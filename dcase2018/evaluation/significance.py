"""Whether one tagger is better than another, told from the same clips.

A side of a comparison is a tagger, trained once or with several seeds. Its score of a clip is the mean
over the seeds, and differences are B's less A's. Two things make a difference uncertain, and are told apart:

clips  other ones would have given another: the stratified bootstrap of `intervals`, over the differences
seeds  other trainings would have: Student's interval, from how far those of a side lie apart

Where there are several seeds, an interval of `both` adds the squares of their distances from the difference
(Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 2008).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from dcase2018.data.labels import labels_per_clip
from dcase2018.evaluation.confidence_intervals import TAILS, resampled_means, strata
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import class_means

Side = Sequence[Evaluation]

SIGNIFICANT = 0.05
SHOWN = 5  # classes and clips that are named for each direction


def compare(a: Side, b: Side, seed: int = 0, resamples: int = 10_000) -> dict[str, Any]:
    """Compare two taggers.

    Parameters
    ----------
    a, b
        The same clips, scored by one or more trainings of each.

    Returns
    -------
    dict
        `difference`, its `interval` and `p_value`, with `clips`, and the scores `a` and `b`; `parts` has the
        same for each usage; `seeds`, where there are several, the score of each, the `interval` by seeds
        and that by `both`; `classes` and `changed` have a dict for each class and each clip whose score
        changes; and `conclusion` is one sentence. The same seed gives the same.
    """
    parts = {
        name: ([one.by_usage[name] for one in a], [one.by_usage[name] for one in b]) for name in a[0].by_usage
    }
    told = {name.strip(): _difference(*sides, seed, resamples) for name, sides in parts.items()}
    overall = told.pop("")
    seeds = _seeds(a, b, overall) if len(a) + len(b) > 2 else None
    return overall | {
        "parts": told,
        "seeds": seeds,
        "classes": _classes(a, b),
        "changed": _changed(a, b),
        "conclusion": conclude(overall, seeds),
    }


def _precision(side: Side) -> np.ndarray:
    """Average precision of each clip, the mean over the seeds, (clips,)."""
    return np.mean([one.ap_at_3 for one in side], axis=0)


def _differences(a: Side, b: Side) -> np.ndarray:
    """B's score of each clip less A's, 0 where they are equal but for rounding, (clips,)."""
    return (_precision(b) - _precision(a)).round(12)


def _difference(a: Side, b: Side, seed: int, resamples: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    differences = _differences(a, b)
    means = resampled_means(differences, strata(a[0]), rng, resamples)
    return {
        "clips": len(differences),
        "a": float(_precision(a).mean()),
        "b": float(_precision(b).mean()),
        "difference": float(differences.mean()),
        "interval": np.quantile(means, TAILS).tolist(),
        "p_value": p_value(differences, rng, resamples),
    }


def p_value(differences: np.ndarray, rng: np.random.Generator, resamples: int) -> float:
    """Probability of a mean as far from 0, were A and B exchanged for each clip by the toss of a coin.

    A permutation test within pairs, two-sided; the clips themselves count as one draw, so that it is never 0
    (Phipson and Smyth, "Permutation P-values should never be zero", 2010). What is drawn is how many
    of the clips with the same distance turn to B.
    """
    distances, clips = np.unique(np.abs(differences), return_counts=True)
    tosses = 2 * rng.binomial(clips, 1 / 2, (resamples, len(clips))) - clips
    as_far = np.abs(tosses @ distances) >= abs(differences.sum()) - 1e-9
    return float((as_far.sum() + 1) / (resamples + 1))


def _seeds(a: Side, b: Side, overall: dict[str, Any]) -> dict[str, Any]:
    scores = [[float(one.ap_at_3.mean()) for one in side] for side in (a, b)]
    by_seeds = seed_interval(*scores)
    gaps = [
        np.hypot(overall["difference"] - by_clips, overall["difference"] - seeds)
        for by_clips, seeds in zip(overall["interval"], by_seeds, strict=True)
    ]
    both = [float(overall["difference"] - gaps[0]), float(overall["difference"] + gaps[1])]
    return {"a": scores[0], "b": scores[1], "interval": by_seeds, "both": both}


def seed_interval(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Student's interval of the difference of two means, of the same variance, of three values or more."""
    freedom = len(a) + len(b) - 2
    variance = sum(np.square(np.subtract(side, np.mean(side))).sum() for side in (a, b)) / freedom
    half = stdtrit(freedom, TAILS[1]) * np.sqrt(variance * (1 / len(a) + 1 / len(b)))
    middle = np.mean(b) - np.mean(a)
    return [float(middle - half), float(middle + half)]


def _classes(a: Side, b: Side) -> dict[str, dict[str, Any]]:
    """Scores of each class that has clips, those that gain most first."""
    y_true = a[0].y_true
    columns = {
        "clips": y_true.sum(axis=0),
        "a": class_means(_precision(a), y_true),
        "b": class_means(_precision(b), y_true),
    }
    table = pd.DataFrame(columns, index=list(a[0].classes))
    table["difference"] = table["b"] - table["a"]
    heard = table[table["clips"] > 0]
    return heard.sort_values("difference", ascending=False, kind="stable").to_dict(orient="index")


def _changed(a: Side, b: Side) -> list[dict[str, Any]]:
    """Clips whose scores differ, those that differ most first: truth, what each side says, and its score."""
    before, after, differences = _precision(a), _precision(b), _differences(a, b)
    best = [np.mean([one.scores for one in side], axis=0).argmax(axis=1) for side in (a, b)]
    names, y_true = a[0].labels["fname"].to_numpy(), labels_per_clip(a[0].labels)
    order = np.lexsort((names.astype(str), -np.abs(differences)))
    return [
        {
            "fname": names[clip],
            "truth": ",".join(y_true[clip]),
            "a_says": a[0].classes[best[0][clip]],
            "b_says": b[0].classes[best[1][clip]],
            "a": float(before[clip]),
            "b": float(after[clip]),
            "difference": float(differences[clip]),
        }
        for clip in order
        if differences[clip]
    ]


def conclude(overall: dict[str, Any], seeds: dict[str, Any] | None) -> str:
    """Say in one sentence what may be concluded."""
    better = "B" if overall["difference"] > 0 else "A"
    by_clips = excludes_zero(overall["interval"]) and overall["p_value"] < SIGNIFICANT
    if seeds is None:
        if by_clips:
            return f"On such clips {better} is better; one run a side cannot tell whether other seeds agree."
        return "These clips do not tell A from B."
    by_seeds = excludes_zero(seeds["interval"])
    if by_clips and by_seeds and excludes_zero(seeds["both"]):
        return f"{better} is better: neither other clips nor other seeds are likely to change that."
    if by_clips and by_seeds:
        return f"{better} leads by more than clips or seeds explain, but together they may."
    if by_clips:
        return f"These runs of {better} are better on such clips, but other seeds may not be."
    if by_seeds:
        return f"On these clips {better} is better whatever the seed, but other clips may change that."
    return "Neither clips nor seeds tell A from B."


def excludes_zero(interval: Sequence[float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def render_comparison(told: dict[str, Any]) -> str:
    """Lay out what `compare` tells for reading."""
    rows = {"overall": told} | told["parts"]
    table = pd.DataFrame(
        {
            "clips": [row["clips"] for row in rows.values()],
            "A": [f"{row['a']:.4f}" for row in rows.values()],
            "B": [f"{row['b']:.4f}" for row in rows.values()],
            "B - A": [f"{row['difference']:+.4f}" for row in rows.values()],
            "95 %": [_bounds(row["interval"]) for row in rows.values()],
            "p": [f"{row['p_value']:.4f}" for row in rows.values()],
        },
        index=list(rows),
    )
    lines = [table.to_string(), ""]
    if told["seeds"]:
        lines += [*_render_seeds(told["seeds"]), ""]
    return "\n".join(
        [*lines, *_render_classes(told["classes"]), *_render_clips(told["changed"]), told["conclusion"]]
    )


def _bounds(interval: Sequence[float]) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def _render_seeds(seeds: dict[str, Any]) -> list[str]:
    runs = [f"{name.upper()}: {', '.join(f'{score:.4f}' for score in seeds[name])}" for name in ("a", "b")]
    return [
        f"seeds    {'; '.join(runs)}",
        f"B - A    {_bounds(seeds['interval'])} by seeds, {_bounds(seeds['both'])} by clips and seeds",
    ]


def _render_classes(classes: dict[str, dict[str, Any]]) -> list[str]:
    gained = [name for name, row in classes.items() if row["difference"] > 0]
    lost = [name for name, row in reversed(classes.items()) if row["difference"] < 0]
    lines = [f"{len(gained)} classes gain, {len(lost)} lose, {len(classes) - len(gained) - len(lost)} stay"]
    for name in (*gained[:SHOWN], *lost[:SHOWN][::-1]):
        row = classes[name]
        score = f"{row['a']:.4f} -> {row['b']:.4f}"
        lines.append(f"  {row['difference']:+.4f}  {score}  {name} ({row['clips']} clips)")
    return [*lines, ""]


def _render_clips(changed: list[dict[str, Any]]) -> list[str]:
    gained = [clip for clip in changed if clip["difference"] > 0]
    lost = [clip for clip in changed if clip["difference"] < 0]
    lines = [f"{len(gained)} clips gain, {len(lost)} lose; most of all:"] if changed else ["no clip changes"]
    for clip in (*gained[:SHOWN], *lost[:SHOWN]):
        said = f"{clip['a_says']} -> {clip['b_says']}"
        lines.append(f"  {clip['difference']:+.2f}  {clip['fname']}: {clip['truth']}; best guess {said}")
    return [*lines, ""]
