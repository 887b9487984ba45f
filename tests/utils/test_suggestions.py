"""Suggestions for unknown names."""

import pytest

from dcase2018.models.hparams import HParams
from dcase2018.utils.suggestions import SYNONYMS, did_you_mean, nearest, same_or_synonym

HPARAMS = list(vars(HParams()))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("learning_rate", "lr"),
        ("Learning-Rate", "lr"),
        ("batchsize", "batch_size"),
        ("batch-size", "batch_size"),
        ("l2", "weight_decay"),
        ("mixup", "mixup_alpha"),
        ("dropout_rate", "dropout"),
        ("amp", "precision"),
        ("zzz", ""),
    ],
)
def test_the_nearest_hyperparameter_is_found(name: str, found: str) -> None:
    assert nearest(name, HPARAMS) == found
    assert did_you_mean(name, HPARAMS) == (f"did you mean {found}? " if found else "")


def test_a_synonym_is_preferred_to_similar_spelling_and_needs_an_existing_name() -> None:
    assert nearest("tflite", ["lite", "litert"]) == "litert"
    assert nearest("tflite", ["lite", "onnx"]) == "lite"
    assert same_or_synonym("tflite", ["lite", "onnx"]) == ""


def test_synonyms_are_in_the_spelling_that_is_looked_up() -> None:
    assert all(name == name.lower().replace("-", "_") for name in SYNONYMS)
    assert list(SYNONYMS) == sorted(SYNONYMS)
