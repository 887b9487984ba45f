"""The challenge's own test clips, and what was published on them."""

import hashlib

import pandas as pd

# Digest of fname, label and usage of the 1,600 clips that are scored, in order of fname: of Zenodo's
# test_post_competition_scoring_clips.csv as of test_post_competition.csv without the rows of usage Ignored.
TEST_CLIPS = "6543e94b572428f59b7c7f899cba402ef13dd9f7f3cb1d8a80398324544ddb57"

# MAP@3 of the official baseline on Kaggle's leaderboard.
BASELINE = {"Public": 0.7049, "Private": 0.6943}


def digest(labels: pd.DataFrame) -> str:
    """What tells label files apart: SHA-256 of clips, labels and usage, whatever their order."""
    columns = [column for column in ("fname", "label", "usage") if column in labels]
    lines = sorted(",".join(row) for row in labels[columns].itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def published_scores(labels: pd.DataFrame) -> dict[str, float]:
    """The baseline's published scores by usage, if the labels are those that they were reached on."""
    return BASELINE if digest(labels) == TEST_CLIPS else {}
