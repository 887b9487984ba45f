"""Presets and their feature configs, the settings of an earlier run, and `info` about both."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ToyPipeline, run_fails, run_ok

from dcase2018.cli.inspection import describe_preset, describe_run, describe_store, format_description
from dcase2018.cli.main import main
from dcase2018.cli.settings import BaseSettings, extract_options
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig, config_name
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.models.hparams import PRESETS
from dcase2018.reporting.system_facts import changed_settings, nearest_preset
from dcase2018.runs.run import Run
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError


def refusal(preset: str | None, store: Store, model: str = "compact") -> str:
    with pytest.raises(InputError) as error:
        BaseSettings.find(preset).check_features(store, model)
    return str(error.value)


def test_a_preset_is_refused_on_the_features_of_another_with_the_lines_that_fix_it(
    stores: dict[str, Store],
) -> None:
    baseline, logmel96 = stores["baseline"].path, stores["logmel96"].path
    assert refusal("compact", stores["baseline"]).splitlines() == [
        f"preset compact is made for logmel96 features, and {baseline} has baseline. Either run",
        f"  dcase2018 extract AUDIO {baseline.with_name('baseline-logmel96.h5')} --features logmel96",
        f"or choose settings for the features of {baseline}:",
        "  --preset baseline or --preset quick",
        "or train on them all the same:",
        "  --any-features",
    ]
    message = refusal(None, stores["logmel96"], "cnn")
    assert message.startswith(f"preset baseline, the default, is made for baseline features, and {logmel96}")
    assert "  --preset compact or --preset compact-clean or --preset large\n" in message


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_accepts_its_own_features(name: str, store: Store) -> None:
    store.feature_config = FEATURE_CONFIGS[PRESETS[name].features]
    BaseSettings.find(name).check_features(store, PRESETS[name].model)


def test_features_that_were_changed_by_extract_are_accepted_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.feature_config = FeatureConfig(mel_bands=40)
    BaseSettings.find("quick").check_features(store, "mlp")
    assert caplog.messages == ["the features are not those of preset quick: mel_bands=40, not 64"]


def test_a_model_on_samples_needs_no_features_of_a_preset(store: Store) -> None:
    store.feature_config = FEATURE_CONFIGS["waveform16k"]
    BaseSettings.find("compact").check_features(store, "wave")
    assert "has waveform16k" in refusal("compact", store)


def test_fit_and_tune_refuse_other_features_unless_any_are_allowed(
    toy_pipeline: ToyPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit", str(toy_pipeline.train), str(toy_pipeline.labels), str(tmp_path / "run")]
    tune = ["tune", *fit[1:], "--validation", str(toy_pipeline.validation), "--search-space", "lr=1e-3:1e-2"]
    for command in (fit, tune):
        with pytest.raises(SystemExit) as exit_code:
            main([*command, "--preset", "compact"])
        assert exit_code.value.code == 2
        assert "--features logmel96\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # refused for a later reason: all rows are of one file
        main([*fit, "--preset", "compact", "--any-features", "--validation", str(toy_pipeline.labels)])
    assert "clips are in both the training and the validation file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [*FEATURE_CONFIGS.values(), FeatureConfig(mel_bands=40), FeatureConfig(trim_db=60, normalize="peak")],
)
def test_extract_options_reproduce_a_feature_config(config: FeatureConfig) -> None:
    words = extract_options(config).split()
    options = dict(zip(words[::2], words[1::2], strict=True))
    changed = apply_overrides(FEATURE_CONFIGS[options["--features"]], options.get("--hparams", ""))
    assert changed == config
    assert bool(config_name(config)) == ("--hparams" not in options)


@pytest.mark.slow
def test_config_repeats_a_run_exactly_and_options_override_it(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    again = ("fit", toy_pipeline.train, toy_pipeline.fit_labels, tmp_path / "again")
    config = ("--config", toy_pipeline.run / "run.json")
    run_ok(*again, *config, "--validation", toy_pipeline.validation)
    first, second = Run.load(toy_pipeline.run), Run.load(tmp_path / "again")
    assert second.differences(first) == []
    assert second.epochs == first.epochs
    assert [row["map3"] for row in second.history()] == [row["map3"] for row in first.history()]
    message = run_fails(2, *again, *config, "--hparams", "lr=0.5", "--seed", 7, "--epochs", 3)
    differences = "--seed 7, not 0; --validation is missing; --hparams lr=0.5, not 0.001"
    assert f"what differs from {toy_pipeline.run}: {differences}\n" in message
    assert f"holds another run ({differences})" in message
    assert "was trained by:\n  " in message
    assert "--config and --preset exclude each other" in run_fails(2, *again, *config, "--preset", "quick")
    wrong = ("--config", toy_pipeline.labels)
    assert "train.csv is not the run.json of a run" in run_fails(2, *again, *wrong)


def test_config_keeps_the_class_order_and_the_features_of_its_run(
    runs: dict[str, Path], stores: dict[str, Store]
) -> None:
    import pandas as pd

    base = BaseSettings.find(None, runs["baseline"])
    assert base.run
    labels = pd.DataFrame({"fname": list("abc"), "label": ["c2", "c0", "c1"]})
    assert base.classes_of(labels) == base.run.classes
    assert base.classes_of(labels.replace("c0", "other")) is None
    with pytest.raises(
        InputError, match=r"the run .*baseline is made for baseline features, and .* logmel96"
    ):
        base.check_features(stores["logmel96"], "mlp")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"validation_fingerprint": ""}, "--validation is missing"),
        ({"validation_fingerprint": "0" * 16}, "--validation has another content"),
        ({"pretrained_fingerprint": "0" * 16}, "--pretrained is new"),
        (
            {"training_fingerprint": "0" * 16},
            "other training clips, labels or frames in LABELS and STORE",
        ),
        ({"seed": 3}, "--seed 3, not 0"),
        ({"model": "cnn"}, "--model cnn, not mlp"),
        ({"classes": ["a", "b"]}, "the classes of LABELS, or the order in --class-map"),
        ({"feature_config": FeatureConfig(mel_bands=40)}, "STORE has mel_bands=40, not 64"),
    ],
)
def test_differences_between_runs_are_in_the_words_of_the_options(
    toy_pipeline: ToyPipeline, change: dict[str, object], expected: str
) -> None:
    run = Run.load(toy_pipeline.run)
    assert dataclasses.replace(run, **change).differences(run) == [expected]  # type: ignore[arg-type]


def test_info_marks_what_differs_from_the_preset(toy_pipeline: ToyPipeline) -> None:
    run = Run.load(toy_pipeline.run)
    assert nearest_preset(run) == "quick"
    assert changed_settings(run, PRESETS["quick"]) == {"epochs": (5, 20)}
    other = dataclasses.replace(run, hparams=dataclasses.replace(run.hparams, lr=0.5))
    assert changed_settings(other, PRESETS["quick"]) == {"epochs": (5, 20), "lr": (0.5, 1e-3)}
    assert "preset   quick, with 1 other setting" in format_description(describe_run(toy_pipeline.run))
    lines = list(format_description(describe_run(toy_pipeline.run, "baseline")))
    assert "preset   baseline, with 3 other settings" in lines
    assert "setting  model = mlp  <- baseline: cnn" in lines
    assert "hparams  lr = 0.001  <- baseline: 0.0001" in lines
    assert "hparams  batch_size = 64" in lines
    values = describe_run(toy_pipeline.run)
    assert json.loads(json.dumps(values)) == values
    assert (values["preset"], values["preset_has"]) == ("quick", {"epochs": 20})
    assert values["hparams"]["lr"] == 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_info_of_a_preset_prints_every_setting(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", "--preset", name])
    lines = capsys.readouterr().out.splitlines()
    preset, features = PRESETS[name], FEATURE_CONFIGS[PRESETS[name].features]
    title = f"preset {name}: {preset.model}, {preset.epochs} epochs on {preset.features} features"
    assert lines[0] == title + ", on corrected labels" * (name == "compact-clean")
    settings = [*dataclasses.asdict(preset.hparams).items(), *dataclasses.asdict(features).items()]
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == [
        f"{key} = {value}" for key, value in settings
    ]
    with pytest.raises(SystemExit):
        main(["info", "--preset", name, "--json"])
    assert json.loads(capsys.readouterr().out) == describe_preset(name)


def test_info_of_a_store_is_also_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", str(store.path), "--json", "--verify"])
    values = json.loads(capsys.readouterr().out)
    assert (values["n_clips"], values["n_frames"]) == (5, int(store.lengths.sum()))
    assert values["feature_config"]["mel_bands"] == 64
    assert values["verified"] == "all checksums match"


def test_info_prints_the_duration_of_hops_of_whole_samples(tmp_path: Path) -> None:
    config = FeatureConfig(sample_rate=1000, stft_hop_seconds=0.0014, mel_max_hz=400)
    frames = np.zeros((36_000, config.n_features), np.float32)  # a hop is one sample
    write_store(
        tmp_path / "s.h5", config, [ClipRecord("a.wav", len(frames), checksum(frames), 0, 0)], [frames]
    )
    values = describe_store(tmp_path / "s.h5")
    assert values["seconds"] == 36
    assert "clips    1 with 36000 frames (0.01 h)" in format_description(values)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--json"], "name a store or a run, or give --preset"),
        (["--verify", "--preset", "quick"], "--verify checks a store, and a preset is none; name a store"),
    ],
)
def test_info_needs_something_to_describe(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(["info", *args])
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err
