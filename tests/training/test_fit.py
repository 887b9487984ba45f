"""Training on a small synthetic store: reproducible, resumed exactly, with clear errors."""

import dataclasses
import errno
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dcase2018.training.fit as fit_module
from dcase2018.data.labels import multi_hot
from dcase2018.evaluation.calibration import Calibration, calibrate, calibration_error, fit_temperature
from dcase2018.evaluation.metrics import ranking
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import StorePredictor, predict
from dcase2018.models.architectures import MODELS, build
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training import callbacks
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import Interrupted

PRESET = Preset("mlp", HParams(batch_size=8, nh=16, lr=0.01, weights_init_stddev=0.1), epochs=4)


def make_store(path: Path, level: float = 1.0) -> Store:
    """Clips of three classes: noise around one level per class."""
    rng = np.random.default_rng(0)
    frames = [level * (rng.standard_normal((61, 64)) + 2 * (i % 3)).astype(np.float32) for i in range(40)]
    records = [ClipRecord(f"{i}.wav", 61, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(path, BASELINE, records, frames)
    return Store(path)


def labels(numbers: range = range(30)) -> pd.DataFrame:
    columns = {"fname": [f"{i}.wav" for i in numbers], "label": [f"class {i % 3}" for i in numbers]}
    return pd.DataFrame(columns, dtype=object)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "s.h5")


def make_experiment(store: Store, name: str, preset: Preset = PRESET, **settings: object) -> Experiment:
    return Experiment.create(store.path.with_name(name), preset, store, labels(), **settings)


def weights(run: Run) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(w) for w in run.load_for_inference().weights]


def history(run: Run) -> pd.DataFrame:
    return pd.read_csv(run.path / "history.csv").drop(columns="seconds")


def assert_equal_weights(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for weight_a, weight_b in zip(a, b, strict=True):
        np.testing.assert_array_equal(weight_a, weight_b)


def assert_same(a: Run, b: Run) -> None:
    """Check that weights and histories are bit-identical."""
    assert_equal_weights(weights(a), weights(b))
    pd.testing.assert_frame_equal(history(a), history(b), check_exact=True)


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(store: Store) -> None:
    a, b, c = (make_experiment(store, name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for experiment in (a, b, c):
        assert fit(experiment) == "all 4 epochs are done"
    assert_same(a.run, b.run)
    assert (weights(a.run)[0] != weights(c.run)[0]).any()


def test_weight_column_equals_unverified_weight(store: Store) -> None:
    table = labels().assign(manually_verified=["1", "0", "0"] * 10)
    weight = table["manually_verified"].map({"1": "1", "0": "0.65"})
    with_setting = dataclasses.replace(
        PRESET, hparams=dataclasses.replace(PRESET.hparams, unverified_weight=0.65)
    )
    by_column = Experiment.create(store.path.with_name("column"), PRESET, store, table.assign(weight=weight))
    by_setting = Experiment.create(store.path.with_name("setting"), with_setting, store, table)
    for experiment in (by_column, by_setting):
        fit(experiment)
    assert_same(by_column.run, by_setting.run)
    assert by_column.run.training_fingerprint != by_setting.run.training_fingerprint


def test_clip_of_weight_zero_has_no_effect(store: Store) -> None:
    weight = ["0"] + ["1"] * 29
    tables = [labels().assign(weight=weight), labels().assign(weight=weight)]
    tables[1].loc[0, "label"] = "class 1"
    runs = [
        Experiment.create(store.path.with_name(f"run-{i}"), PRESET, store, t) for i, t in enumerate(tables)
    ]
    for experiment in runs:
        fit(experiment)
    assert_equal_weights(weights(runs[0].run), weights(runs[1].run))


def noisy_network(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """A network with all kinds of state: dropout, batch normalization, noise."""
    x = keras.layers.GaussianNoise(0.1)(keras.layers.Flatten()(x))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(16)(x))
    return keras.layers.Dropout(0.5)(x)


@pytest.mark.slow
def test_resume_is_exact_after_repeated_stops(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "noisy", noisy_network)
    hparams = HParams(
        batch_size=8, lr=0.01, lr_schedule="cosine", warmup_epochs=1, mixup_alpha=0.3, time_mask=0.2,
        loss_mask_std=2, dropout=0.2, weight_decay=0.01, normalization="per_band",
    )  # fmt: skip
    preset = Preset("noisy", hparams, epochs=4)
    uninterrupted = make_experiment(store, "uninterrupted", preset, validation=labels(range(30, 39)))
    fit(uninterrupted)
    resumed = make_experiment(store, "resumed", preset, validation=labels(range(30, 39)))
    for step in (1, 14, 15, 16, 37):  # an epoch has 15 steps
        assert fit(resumed, StoppingCriteria(max_steps=step)) == f"{step} steps are done"
        assert resumed.run.state().step == step
    assert fit(resumed) == "all 4 epochs are done"
    assert_same(uninterrupted.run, resumed.run)
    assert fit(resumed) == "all 4 epochs are done"  # does nothing
    assert_same(uninterrupted.run, resumed.run)

    events = EventAccumulator(str(resumed.run.path / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("map3")] == [15, 30, 45, 60]


def test_epochs_can_be_increased_if_nothing_depends_on_their_number(store: Store) -> None:
    uninterrupted = make_experiment(store, "uninterrupted")
    fit(uninterrupted)
    short = Preset("mlp", PRESET.hparams, epochs=2)
    fit(make_experiment(store, "extended", short))
    fit(make_experiment(store, "extended"))
    assert_same(uninterrupted.run, make_experiment(store, "extended").run)
    for name, hparams in (
        ("cosine", HParams(lr_schedule="cosine")),
        ("final phase", HParams(verified_finetune_fraction=0.5)),
    ):
        fit(make_experiment(store, name, Preset("mlp", hparams, epochs=1)))
        with pytest.raises(InputError, match="holds another run \\(--epochs 2, not 1\\)"):
            fit(make_experiment(store, name, Preset("mlp", hparams, epochs=2)))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_step_and_saves_a_checkpoint(
    store: Store, signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment(store, "run")
    log_step = callbacks.HistoryLogger._log_step

    def log_step_and_send_signal(callback: callbacks.HistoryLogger, step: int, *args: Any) -> None:
        log_step(callback, step, *args)
        if step == 20 - callbacks.N_IN_FLIGHT:
            os.kill(os.getpid(), signum)

    handler = signal.getsignal(signum)
    monkeypatch.setattr(callbacks.HistoryLogger, "_log_step", log_step_and_send_signal)
    with pytest.raises(Interrupted, match="stopped after step 20; run the same command again") as interrupted:
        fit(experiment)
    assert interrupted.value.exit_code == 128 + signum
    assert signal.getsignal(signum) is handler
    assert experiment.run.state().step == 20
    assert not (experiment.run.path / "model.keras").exists()
    monkeypatch.undo()
    fit(experiment)
    uninterrupted = make_experiment(store, "uninterrupted")
    fit(uninterrupted)
    assert_same(uninterrupted.run, experiment.run)


def test_early_stopping_keeps_the_best_model(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7])
    monkeypatch.setattr(callbacks, "validation_scores", lambda run, model, clips: {"map3": next(scores)})
    experiment = make_experiment(
        store, "run", Preset("mlp", PRESET.hparams, 9), validation=labels(range(30, 36))
    )
    reason = fit(experiment, StoppingCriteria(patience=2), keep_checkpoints=30)
    assert reason == "validation MAP@3 has not increased for 2 epochs"
    run = experiment.run
    assert history(run)["map3"].tolist() == [0.5, 0.7, 0.6, 0.7]
    best = keras.saving.load_model(run.checkpoint_dir(30) / "model.keras")
    assert_equal_weights(weights(run), [keras.ops.convert_to_numpy(weight) for weight in best.weights])
    clips = experiment.validation
    assert clips
    best_scores = StorePredictor(run, run.load_for_inference(30), store).scores(clips.rows)
    calibration_of_best = calibration_error(best_scores, clips.y_true)
    assert Calibration.load(run.path).ece_before == calibration_of_best
    last_scores = StorePredictor(run, run.load_for_inference(run.checkpoints[-1]), store).scores(clips.rows)
    assert calibration_error(last_scores, clips.y_true) != calibration_of_best


@pytest.mark.slow
def test_temperature_improves_calibration_on_unseen_clips(tmp_path: Path) -> None:
    """A network that memorizes few clips of similar classes is overconfident."""
    rng = np.random.default_rng(0)
    n_clips, class_of_clip = 1240, np.arange(1240) % 3
    centers = 0.2 * rng.standard_normal((3, 64))[class_of_clip] + rng.standard_normal((n_clips, 64))
    frames = [center + 0.1 * rng.standard_normal((25, 64)) for center in centers]
    frames = [clip.astype(np.float32) for clip in frames]
    records = [ClipRecord(f"{i}.wav", 25, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(tmp_path / "s.h5", BASELINE, records, frames, fsync=False)
    store = Store(tmp_path / "s.h5")
    fnames = np.array([f"{i}.wav" for i in range(n_clips)], object)
    table = pd.DataFrame({"fname": fnames, "label": np.array([f"class {i}" for i in class_of_clip], object)})
    table["manually_verified"] = np.where(np.arange(n_clips) % 7, "1", "0")
    table.loc[(table["manually_verified"] == "0") & (table.index >= 240), "label"] = "class 0"  # often wrong
    validation, test = table[240:740], table[740:]
    experiment = Experiment.create(
        tmp_path / "run", Preset("mlp", PRESET.hparams, 20), store, table[:240], validation
    )
    fit(experiment)
    calibration = Calibration.load(tmp_path / "run")
    assert calibration.clips == (validation["manually_verified"] == "1").sum()

    ensemble = Ensemble.open([tmp_path / "run"], [store])
    verified = test[test["manually_verified"] == "1"]
    raw = predict(ensemble, list(verified["fname"]))
    calibrated = calibrate(ensemble, raw)
    y_true = multi_hot(verified, experiment.run.classes)
    before, after = (calibration_error(scores.to_numpy(), y_true) for scores in (raw, calibrated))
    assert calibration.temperature > 1.2
    assert after < before / 2
    np.testing.assert_array_equal(ranking(calibrated.to_numpy()), ranking(raw.to_numpy()))


def test_max_minutes_stops_training(store: Store) -> None:
    experiment = make_experiment(store, "run", Preset("mlp", PRESET.hparams, 10**6))
    assert fit(experiment, StoppingCriteria(max_minutes=0.01)).endswith(" minutes are over")
    state = experiment.run.state()
    assert 0 < state.step < 10**5
    assert state.seconds >= 0.6
    assert (experiment.run.path / "model.keras").exists()


@pytest.mark.parametrize("moment", [(callbacks, "write_table"), (Run, "delete_checkpoints")])
def test_history_is_complete_after_a_kill_at_the_last_checkpoint(
    store: Store, moment: tuple[object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment(store, "run", dataclasses.replace(PRESET, epochs=1))

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*moment, stop)
    with pytest.raises(KeyboardInterrupt):
        fit(experiment)
    monkeypatch.undo()
    assert fit(experiment) == "all 1 epochs are done"
    assert [row["epoch"] for row in experiment.run.history()] == [1]


def test_patience_without_validation_gives_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    fit(make_experiment(store, "run"), StoppingCriteria(max_steps=1, patience=1))
    assert "patience has no effect, because there is no validation clip" in caplog.text


def test_class_map_sets_the_order_and_may_have_more_classes(store: Store) -> None:
    experiment = make_experiment(store, "run", classes=["class 2", "another", "class 1", "class 0"])
    fit(experiment)
    assert Run.load(experiment.run.path).class_counts == [10, 0, 10, 10]
    assert experiment.run.load_for_inference().output_shape == (None, 4)


@pytest.mark.slow
def test_old_checkpoints_are_deleted_except_permanent_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "MAX_CHECKPOINTS", 2)
    a, b = make_experiment(store, "a"), make_experiment(store, "b")
    seen: list[list[int]] = []
    fit(a, save_every=3, on_epoch_end=lambda row: seen.append(a.run.checkpoints))
    assert seen[-1] == [54, 57]
    assert a.run.checkpoints == [60]
    monkeypatch.setattr(callbacks, "PERMANENT_EVERY_SECONDS", 0)
    fit(b, save_every=3, on_epoch_end=lambda row: seen.append(b.run.checkpoints))
    assert seen[-1] == list(range(3, 60, 3))
    assert b.run.checkpoints == [60]


def test_keep_checkpoints_holds_in_training_and_after_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "PERMANENT_EVERY_SECONDS", 0)
    experiment = make_experiment(store, "run")
    seen: list[list[int]] = []
    fit(
        experiment,
        save_every=3,
        keep_checkpoints=3,
        on_epoch_end=lambda row: seen.append(experiment.run.checkpoints),
    )
    assert max(map(len, seen)) == 3
    assert experiment.run.checkpoints == [54, 57, 60]


def test_a_full_disk_names_what_may_be_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(store, "run")
    save = Run.delete_checkpoints

    def fail_at_third(run: Run, n_kept: int, permanent: Collection[int] = ()) -> None:
        save(run, n_kept, permanent)
        if len(run.checkpoints) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", "run/checkpoints")

    monkeypatch.setattr(Run, "delete_checkpoints", fail_at_third)
    message = (
        r"^run/checkpoints: No space left on device; all checkpoints in .*run/checkpoints but step-00000009"
        r" may be deleted \(\d+ MB\); the same command with --keep-checkpoints 1 does it and resumes$"
    )
    with pytest.raises(Dcase2018Error, match=message):
        fit(experiment, save_every=3)
    monkeypatch.undo()
    seen: list[list[int]] = []
    fit(experiment, keep_checkpoints=1, on_epoch_end=lambda row: seen.append(experiment.run.checkpoints))
    assert seen[0] == [9]
    assert experiment.run.checkpoints == [60]


def test_non_finite_loss_is_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path / "loud.h5", level=1e37)
    experiment = make_experiment(store, "run")
    with pytest.raises(
        Dcase2018Error, match=r"the loss is (nan|inf) at step \d+; the last checkpoint is of step 0"
    ):
        fit(experiment)
    assert experiment.run.checkpoints == []
    assert not (experiment.run.path / "model.keras").exists()


def test_non_finite_weights_are_not_saved(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(store, "run")
    log_step = callbacks.HistoryLogger._log_step

    def log_step_and_set_nan(callback: callbacks.HistoryLogger, *args: Any) -> None:
        log_step(callback, *args)
        if callback.state.step == 15:
            callback.model.weights[0].assign(callback.model.weights[0] * np.nan)

    monkeypatch.setattr(callbacks.HistoryLogger, "_log_step", log_step_and_set_nan)
    with pytest.raises(
        Dcase2018Error, match=r"a weight is NaN or infinite at step 15; the last checkpoint is of step 14"
    ):
        fit(experiment, save_every=7)
    assert experiment.run.checkpoints == [7, 14]


def test_pretrained_layers_of_another_run(store: Store) -> None:
    first = make_experiment(store, "first")
    fit(first)
    other = labels()
    other["label"] = [f"class {i % 2}" for i in range(30)]  # two classes: the output layer does not fit
    settings = dataclasses.replace(PRESET.hparams, freeze="backbone")
    experiment = Experiment.create(
        store.path.with_name("second"), Preset("mlp", settings, 2), store, other,
        initial=InitialWeights.find(first.run.path),
    )  # fmt: skip
    fit(experiment)
    trained, initial = weights(experiment.run), weights(first.run)
    assert [w.shape for w in trained] == [(1600, 16), (16,), (16, 16), (16,), (16, 2), (2,)]
    assert_equal_weights(trained[:4], initial[:4])
    unfrozen = Preset("mlp", PRESET.hparams, 2)
    fresh = Experiment.create(store.path.with_name("second"), unfrozen, store, other)
    with pytest.raises(
        InputError, match=r"holds another run \(--pretrained is missing; --hparams freeze=none, not"
    ):
        fit(fresh)
    with pytest.raises(InputError, match="freeze=backbone requires pretrained weights; add --pretrained RUN"):
        Experiment.create(store.path.with_name("second"), Preset("mlp", settings, 2), store, other)
    with pytest.raises(InputError, match="has no layer that fits --model cnn; use the --model of that file"):
        fit(
            make_experiment(
                store, "third", Preset("cnn", PRESET.hparams, 1), initial=InitialWeights.find(first.run.path)
            )
        )


def test_run_is_locked_during_training(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(store, "run")

    train = fit_module.train

    def fit_again_and_train(*args: object) -> None:
        with pytest.raises(Dcase2018Error, match="run is being written by another process"):
            fit(experiment)
        train(*args)

    monkeypatch.setattr(fit_module, "train", fit_again_and_train)
    fit(experiment)


def test_damaged_state_is_reported(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment, StoppingCriteria(max_steps=5))
    (experiment.run.checkpoint_dir(5) / "state.json").write_text('{"step": 5')
    with pytest.raises(Dcase2018Error, match=r"step-00000005/state.json is damaged .* to resume from the"):
        fit(experiment)


def test_result_does_not_depend_on_the_number_of_threads(store: Store) -> None:
    hparams = dataclasses.replace(
        PRESET.hparams, mixup_alpha=0.3, time_mask=0.2, example_sampling="random_crop"
    )
    preset = Preset("mlp", hparams, 4)
    one, several = make_experiment(store, "one", preset), make_experiment(store, "several", preset)
    fit(one)
    fit(several, StoppingCriteria(max_steps=6), jobs=4)
    fit(several, jobs=3)
    assert_same(one.run, several.run)


@pytest.mark.parametrize(
    ("device", "n_cores", "n_threads"), [("cpu:0", 16, 1), ("gpu:0", 2, 1), ("gpu:0", 6, 3), ("tpu:0", 64, 8)]
)
def test_threads_prepare_batches_by_default_if_the_cpu_is_free(
    device: str, n_cores: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: [device])
    monkeypatch.setattr(os, "cpu_count", lambda: n_cores)
    assert fit_module.default_jobs() == n_threads


def few_verified_labels() -> pd.DataFrame:
    return labels().assign(manually_verified=["1"] * 3 + ["0"] * 27)


def test_final_phase_may_have_fewer_examples_than_a_batch(store: Store) -> None:
    hparams = HParams(batch_size=8, nh=8, example_sampling="random_crop", verified_finetune_fraction=0.5)
    path, validation = store.path.with_name("run"), labels(range(30, 36))
    preset = Preset("mlp", hparams, 12)
    experiment = Experiment.create(path, preset, store, few_verified_labels(), validation)
    assert fit(experiment) == "all 12 epochs are done"
    table = history(experiment.run)
    assert table["epoch"].tolist() == list(range(1, 13))
    assert table["step"].tolist() == np.cumsum([30 // 8] * 6 + [1] * 6).tolist()
    assert table["map3"].notna().all()


def test_all_epochs_may_have_fewer_examples_than_a_batch(store: Store) -> None:
    hparams = HParams(batch_size=8, nh=8, example_sampling="random_crop", verified_finetune_fraction=1)
    preset = Preset("mlp", hparams, 2)
    experiment = Experiment.create(store.path.with_name("run"), preset, store, few_verified_labels())
    assert (fit(experiment), experiment.run.state().step) == ("all 2 epochs are done", 2)


def test_resume_is_exact_across_the_final_phase(store: Store) -> None:
    table = labels().assign(manually_verified=["1"] * 12 + ["0"] * 18)
    hparams = dataclasses.replace(PRESET.hparams, verified_finetune_fraction=0.5, mixup_alpha=0.3)
    preset = Preset("mlp", hparams, 4)
    uninterrupted, resumed = (
        Experiment.create(store.path.with_name(name), preset, store, table)
        for name in ("uninterrupted", "resumed")
    )
    fit(uninterrupted)
    assert uninterrupted.sampler.epoch_ends.tolist() == [15, 30, 36, 42]
    for step in (29, 30, 31, 37):
        assert fit(resumed, StoppingCriteria(max_steps=step)) == f"{step} steps are done"
    fit(resumed)
    assert_same(uninterrupted.run, resumed.run)


def test_pretrained_checkpoint_of_another_run(store: Store) -> None:
    first = make_experiment(store, "first", validation=labels(range(30, 36)))
    fit(first, save_every=5, keep_checkpoints=30)
    for checkpoint in (5, "best"):
        initial = InitialWeights.find(first.run.path, checkpoint)
        second = make_experiment(
            store,
            f"from {checkpoint}",
            Preset("mlp", dataclasses.replace(PRESET.hparams, lr=1e-12), 1),
            initial=initial,
        )
        fit(second)
        source = first.run.load_for_inference(checkpoint).weights
        for trained, initial_weight in zip(weights(second.run), source, strict=True):
            np.testing.assert_allclose(trained, keras.ops.convert_to_numpy(initial_weight), atol=1e-6)
    with pytest.raises(InputError, match=r"does not exist; --checkpoint takes the steps 5, "):
        InitialWeights.find(first.run.path, 4)
    with pytest.raises(InputError, match="is neither a run folder nor YAMNet weights"):
        InitialWeights.find(Path("yamnet.h5"), "best")


def test_step_larger_than_memory_gives_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module.os, "sysconf", lambda name: 100)
    fit(make_experiment(store, "run"), StoppingCriteria(max_steps=1))
    assert "a step of 8 examples needs an estimated 0 GB of memory, and this machine has 0 GB" in caplog.text


def test_temperature_that_increases_the_calibration_error_is_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One very confident error raises the temperature, which makes the other scores too cautious."""
    experiment = make_experiment(store, "run", validation=labels(range(30, 40)))
    experiment.run.path.mkdir()
    scores = np.full((100, 3), 0.005)
    scores[:, 0] = 0.99
    scores[-1] = [1 - 2e-12, 1e-12, 1e-12]
    y_true = np.eye(3, dtype=bool)[[0] * 99 + [1]]
    clips = dataclasses.replace(experiment.validation, rows=np.zeros(100, int), y_true=y_true)
    monkeypatch.setattr(StorePredictor, "scores", lambda *_: scores)
    network = build("mlp", experiment.run.example_shape, 3, PRESET.hparams)
    with caplog.at_level("INFO"):
        fit_module._calibrate(experiment.run, network, clips)
    calibration = Calibration.load(experiment.run.path)
    assert fit_temperature(scores, y_true, is_single_label=True) > 1.4
    assert calibration.temperature == 1
    assert calibration.ece_after == calibration.ece_before == pytest.approx(0.0001)
    assert "the temperature stays 1, because" in caplog.text
