"""calibration.json of a run: reading, writing, damaged files."""

import json
from pathlib import Path

import pytest

from dcase2018.evaluation.calibration import Calibration
from dcase2018.utils.errors import InputError

CALIBRATION = Calibration(temperature=1.25, clips=120, ece_before=0.08, ece_after=0.03)


def test_round_trip(tmp_path: Path) -> None:
    CALIBRATION.save(tmp_path)
    assert Calibration.load(tmp_path) == CALIBRATION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature must be > 0, not 0.0"),
        ({"temperature": "warm"}, "temperature must be a number, not 'warm'"),
        ({"temperature": float("inf")}, "temperature must be a number, not inf"),
        ({"clips": 1.5}, "clips must be a whole number, not 1.5"),
        ({"ece_before": -0.1}, "ece_before must be >= 0, not -0.1"),
        ({"colour": "red"}, "settings of another version of dcase2018: colour"),
    ],
)
def test_invalid_values_are_reported(tmp_path: Path, change: dict[str, object], message: str) -> None:
    CALIBRATION.save(tmp_path)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as raised:
        Calibration.load(tmp_path)
    assert (
        str(raised.value)
        == f"{path} is damaged or of an unknown version: {message}; train again with fit --overwrite"
    )


@pytest.mark.parametrize("text", ["", "[]", '{"temperature": 1.25'])
def test_truncated_file_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(InputError, match="is damaged or of an unknown version"):
        Calibration.load(tmp_path)
