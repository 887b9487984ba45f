"""Published scores stand beside ours only where the clips are the same."""

from conftest import DATA

from dcase2018.data.labels import read_labels
from dcase2018.report.published_results import BASELINE, published_scores


def test_the_real_test_set_is_known_whatever_its_order() -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv")
    assert labels["usage"].value_counts().to_dict() == {"Private": 1299, "Public": 301}
    assert published_scores(labels) == BASELINE == {"Public": 0.7049, "Private": 0.6943}
    assert published_scores(labels.sample(frac=1, random_state=0).assign(license="")) == BASELINE


def test_other_clips_or_labels_are_not_it() -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv")
    assert not published_scores(labels[1:])
    assert not published_scores(labels.drop(columns="usage"))
    assert not published_scores(labels.assign(label=labels["label"].shift(fill_value="Bark")))
    assert not published_scores(read_labels(DATA / "train.csv"))
