"""The calibration that a run's folder keeps: written and read, and what is no calibration."""

import json
from pathlib import Path

import pytest

from dcase2018.evaluation.calibration import Calibration
from dcase2018.utils.errors import InputError

KEPT = Calibration(temperature=1.25, clips=120, ece_before=0.08, ece_after=0.03)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    KEPT.save(tmp_path)
    assert Calibration.load(tmp_path) == KEPT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature must be > 0, not 0.0"),
        ({"temperature": "warm"}, "temperature must be a number, not 'warm'"),
        ({"temperature": float("inf")}, "temperature must be a number, not inf"),
        ({"clips": 1.5}, "clips must be a whole number, not 1.5"),
        ({"ece_before": -0.1}, "error must be >= 0, not -0.1"),
        ({"colour": "red"}, "settings of another version of dcase2018: colour"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    KEPT.save(tmp_path)
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError) as raised:
        Calibration.load(tmp_path)
    assert str(raised.value) == f"{file} is damaged or foreign: {message}; fit it again with --force"


@pytest.mark.parametrize("text", ["", "[]", '{"temperature": 1.25'])
def test_half_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(InputError, match="is damaged or foreign"):
        Calibration.load(tmp_path)
