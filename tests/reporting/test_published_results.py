"""Published scores are returned for the same test clips only."""

from conftest import DATA

from dcase2018.data.labels import read_labels
from dcase2018.reporting.summary import PUBLISHED_BASELINE, published_scores


def test_the_test_set_is_recognized_in_any_order() -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv")
    assert labels["usage"].value_counts().to_dict() == {"Private": 1299, "Public": 301}
    assert published_scores(labels) == PUBLISHED_BASELINE == {"Public": 0.7049, "Private": 0.6943}
    assert published_scores(labels.sample(frac=1, random_state=0).assign(license="")) == PUBLISHED_BASELINE


def test_other_clips_or_labels_have_no_published_scores() -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv")
    assert not published_scores(labels[1:])
    assert not published_scores(labels.drop(columns="usage"))
    assert not published_scores(labels.assign(label=labels["label"].shift(fill_value="Bark")))
    assert not published_scores(read_labels(DATA / "train.csv"))
