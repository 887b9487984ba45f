"""Training on a store made by hand: reproducible, resumed exactly, and honest about a lost cause."""

import dataclasses
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dcase2018.training.fit as fit_module
from dcase2018.data.labels import multi_hot
from dcase2018.evaluation.calibration import Calibration, calibrate_scores, calibration_error, fit_temperature
from dcase2018.evaluation.metrics import ranking
from dcase2018.features.store import ClipRecord, Store, checksum, write_store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import StorePredictor, predict
from dcase2018.models.architectures import MODELS
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training import callbacks
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import Interrupted

PRESET = Preset("mlp", HParams(batch_size=8, nh=16, lr=0.01, weights_init_stddev=0.1), epochs=4)
EXAMPLES = 30 * 4


def make_store(path: Path, level: float = 1.0) -> Store:
    """Clips of three classes, each of noise around a level of its own."""
    rng = np.random.default_rng(0)
    frames = [level * (rng.standard_normal((61, 64)) + 2 * (i % 3)).astype(np.float32) for i in range(40)]
    entries = [ClipRecord(f"{i}.wav", 61, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(path, BASELINE, entries, frames)
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


def assert_same(a: Run, b: Run) -> None:
    for mine, theirs in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    pd.testing.assert_frame_equal(history(a), history(b), check_exact=True)


def test_the_same_seed_gives_the_same_weights(store: Store) -> None:
    a, b, c = (make_experiment(store, name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for experiment in (a, b, c):
        assert fit(experiment) == "all 4 epochs are done"
    assert_same(a.run, b.run)
    assert (weights(a.run)[0] != weights(c.run)[0]).any()


def test_a_weight_for_each_clip_is_learned_as_one_for_all(store: Store) -> None:
    table = labels().assign(manually_verified=["1", "0", "0"] * 10)
    weight = table["manually_verified"].map({"1": "1", "0": "0.65"})
    of_all = dataclasses.replace(PRESET, hparams=dataclasses.replace(PRESET.hparams, unverified_weight=0.65))
    each = Experiment.create(store.path.with_name("each"), PRESET, store, table.assign(weight=weight))
    together = Experiment.create(store.path.with_name("together"), of_all, store, table)
    for experiment in (each, together):
        fit(experiment)
    assert_same(each.run, together.run)
    assert each.run.training_fingerprint != together.run.training_fingerprint


def test_a_clip_of_no_weight_teaches_nothing(store: Store) -> None:
    weight = ["0"] + ["1"] * 29
    tables = [labels().assign(weight=weight), labels().assign(weight=weight)]
    tables[1].loc[0, "label"] = "class 1"
    runs = [
        Experiment.create(store.path.with_name(f"run-{i}"), PRESET, store, t) for i, t in enumerate(tables)
    ]
    for experiment in runs:
        fit(experiment)
    for mine, theirs in zip(weights(runs[0].run), weights(runs[1].run), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def noisy_network(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """A network with everything that has a state: dropout, batch normalisation, noise."""
    x = keras.layers.GaussianNoise(0.1)(keras.layers.Flatten()(x))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(16)(x))
    return keras.layers.Dropout(0.5)(x)


@pytest.mark.slow
def test_a_training_that_is_stopped_again_and_again_ends_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "noisy", noisy_network)
    hparams = HParams(
        batch_size=8, lr=0.01, lr_schedule="cosine", warmup_epochs=1, mixup_alpha=0.3, time_mask=0.2, loss_mask_std=2,
        dropout=0.2, weight_decay=0.01, normalization="per_band",
    )  # fmt: skip
    preset = Preset("noisy", hparams, epochs=4)
    whole = make_experiment(store, "whole", preset, validation=labels(range(30, 39)))
    fit(whole)
    parts = make_experiment(store, "parts", preset, validation=labels(range(30, 39)))
    for step in (1, 14, 15, 16, 37):  # an epoch has 15
        assert fit(parts, StoppingCriteria(max_steps=step)) == f"{step} steps are done"
        assert parts.run.state().step == step
    assert fit(parts) == "all 4 epochs are done"
    assert_same(whole.run, parts.run)
    assert fit(parts) == "all 4 epochs are done"  # nothing is left to do
    assert_same(whole.run, parts.run)

    events = EventAccumulator(str(parts.run.path / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("map3")] == [15, 30, 45, 60]


def test_more_epochs_go_on_if_nothing_depends_on_their_number(store: Store) -> None:
    whole = make_experiment(store, "whole")
    fit(whole)
    short = Preset("mlp", PRESET.hparams, epochs=2)
    fit(make_experiment(store, "parts", short))
    fit(make_experiment(store, "parts"))
    assert_same(whole.run, make_experiment(store, "parts").run)
    for name, hparams in (
        ("cosine", HParams(lr_schedule="cosine")),
        ("stretch", HParams(verified_finetune_fraction=0.5)),
    ):
        fit(make_experiment(store, name, Preset("mlp", hparams, epochs=1)))
        with pytest.raises(InputError, match="holds another run \\(epochs=2, not 1\\)"):
            fit(make_experiment(store, name, Preset("mlp", hparams, epochs=2)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_keeps_the_state(
    store: Store, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment(store, "run")
    told = callbacks.HistoryLogger._log_step

    def tell_and_be_hit(callback: callbacks.HistoryLogger, loss: float) -> None:
        told(callback, loss)
        if callback.state.step == 20:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    monkeypatch.setattr(callbacks.HistoryLogger, "_log_step", tell_and_be_hit)
    with pytest.raises(Interrupted, match="stopped after step 20; run the same command again") as stopped:
        fit(experiment)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is handler
    assert experiment.run.state().step == 20
    assert not (experiment.run.path / "model.keras").exists()
    monkeypatch.undo()
    fit(experiment)
    whole = make_experiment(store, "whole")
    fit(whole)
    assert_same(whole.run, experiment.run)


def test_early_stopping_keeps_the_best(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7])
    monkeypatch.setattr(callbacks, "validation_map3", lambda run, model, clips: next(scores))
    experiment = make_experiment(store, "run", Preset("mlp", PRESET.hparams, 9), validation=labels(range(30, 36)))
    assert fit(experiment, StoppingCriteria(patience=2)) == "validation MAP@3 has not increased for 2 epochs"
    run = experiment.run
    assert history(run)["map3"].tolist() == [0.5, 0.7, 0.6, 0.7]
    best = keras.saving.load_model(run.checkpoint_dir(30) / "model.keras")
    for mine, theirs in zip(weights(run), best.weights, strict=True):
        np.testing.assert_array_equal(mine, keras.ops.convert_to_numpy(theirs))
    clips = experiment.validation
    assert clips
    kept = StorePredictor(run, run.load_for_inference(30), store).scores(clips.rows)
    assert Calibration.load(run.path).temperature == fit_temperature(kept, clips.y_true, exclusive=True)
    last = StorePredictor(run, run.load_for_inference(run.checkpoints[-1]), store).scores(clips.rows)
    assert fit_temperature(last, clips.y_true, True) != fit_temperature(kept, clips.y_true, True)


def test_a_temperature_mends_what_a_network_says_of_clips_that_neither_has_seen(tmp_path: Path) -> None:
    """It learns few clips of classes that are hard to tell apart, by heart: it is too sure of itself."""
    rng = np.random.default_rng(0)
    clips, own = 1240, np.arange(1240) % 3
    middles = 0.2 * rng.standard_normal((3, 64))[own] + rng.standard_normal((clips, 64))
    frames = [middle + 0.1 * rng.standard_normal((25, 64)) for middle in middles]
    frames = [clip.astype(np.float32) for clip in frames]
    entries = [ClipRecord(f"{i}.wav", 25, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(tmp_path / "s.h5", BASELINE, entries, frames, fsync=False)
    store = Store(tmp_path / "s.h5")
    names = np.array([f"{i}.wav" for i in range(clips)], object)
    every = pd.DataFrame({"fname": names, "label": np.array([f"class {i}" for i in own], object)})
    every["manually_verified"] = np.where(np.arange(clips) % 7, "1", "0")
    every.loc[(every["manually_verified"] == "0") & (every.index >= 240), "label"] = "class 0"  # or by guess
    seen, unseen = every[240:740], every[740:]
    experiment = Experiment.create(
        tmp_path / "run", Preset("mlp", PRESET.hparams, 20), store, every[:240], seen
    )
    fit(experiment)
    kept = Calibration.load(tmp_path / "run")
    assert kept.clips == (seen["manually_verified"] == "1").sum()

    ensemble = Ensemble.open([tmp_path / "run"], [store])
    checked = unseen[unseen["manually_verified"] == "1"]
    raw = predict(ensemble, list(checked["fname"]))
    told = calibrate_scores(ensemble, raw)
    y_true = multi_hot(checked, experiment.run.classes)
    before, after = (calibration_error(scores.to_numpy(), y_true) for scores in (raw, told))
    assert kept.temperature > 1.2
    assert after < before / 2
    np.testing.assert_array_equal(ranking(told.to_numpy()), ranking(raw.to_numpy()))


def test_minutes_end_a_training(store: Store) -> None:
    experiment = make_experiment(store, "run", Preset("mlp", PRESET.hparams, 10**6))
    assert fit(experiment, StoppingCriteria(max_minutes=0.01)).endswith(" minutes are over")
    state = experiment.run.state()
    assert 0 < state.step < 10**5
    assert state.seconds >= 0.6
    assert (experiment.run.path / "model.keras").exists()


def test_a_class_map_sets_the_order_and_may_name_more(store: Store) -> None:
    experiment = make_experiment(store, "run", classes=["class 2", "another", "class 1", "class 0"])
    fit(experiment)
    assert Run.load(experiment.run.path).class_counts == [10, 0, 10, 10]
    assert experiment.run.load_for_inference().output_shape == (None, 4)


def test_a_checkpoint_now_and_then_is_kept_for_good(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "MAX_CHECKPOINTS", 2)
    a, b = make_experiment(store, "a"), make_experiment(store, "b")
    fit(a, save_every=3)
    assert a.run.checkpoints == [57, 60]
    monkeypatch.setattr(callbacks, "PERMANENT_EVERY_SECONDS", 0)
    fit(b, save_every=3)
    assert b.run.checkpoints == list(range(3, 61, 3))


def test_a_loss_that_is_no_number_stops_and_the_last_good_state_stays(tmp_path: Path) -> None:
    store = make_store(tmp_path / "loud.h5", level=1e37)
    experiment = make_experiment(store, "run")
    with pytest.raises(
        Dcase2018Error, match=r"the loss is (nan|inf) at step \d+; the last checkpoint is of step 0"
    ):
        fit(experiment)
    assert experiment.run.checkpoints == []
    assert not (experiment.run.path / "model.keras").exists()


def test_weights_that_are_no_numbers_are_not_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(store, "run")
    told = callbacks.HistoryLogger._log_step

    def tell_and_spoil(callback: callbacks.HistoryLogger, loss: float) -> None:
        told(callback, loss)
        if callback.state.step == 15:
            callback.model.weights[0].assign(callback.model.weights[0] * np.nan)

    monkeypatch.setattr(callbacks.HistoryLogger, "_log_step", tell_and_spoil)
    with pytest.raises(Dcase2018Error, match=r"a weight is NaN or infinite at step 15; the last checkpoint is of step 14"):
        fit(experiment, save_every=7)
    assert experiment.run.checkpoints == [7, 14]


def test_a_run_may_begin_with_the_layers_of_another(store: Store) -> None:
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
    learned, begun = weights(experiment.run), weights(first.run)
    assert [w.shape for w in learned] == [(1600, 16), (16,), (16, 16), (16,), (16, 2), (2,)]
    for mine, theirs in zip(learned[:4], begun[:4], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    unfrozen = Preset("mlp", PRESET.hparams, 2)
    fresh = Experiment.create(store.path.with_name("second"), unfrozen, store, other)
    with pytest.raises(
        InputError, match=r"holds another run \(pretrained_fingerprint=, not [0-9a-f]+; freeze=none, not"
    ):
        fit(fresh)
    with pytest.raises(
        InputError, match="freeze=backbone requires pretrained weights; add --pretrained RUN"
    ):
        Experiment.create(store.path.with_name("second"), Preset("mlp", settings, 2), store, other)
    with pytest.raises(
        InputError, match="has no layer that fits --model cnn; use the --model of that file"
    ):
        fit(
            plan(
                store, "third", Preset("cnn", PRESET.hparams, 1), initial=InitialWeights.find(first.run.path)
            )
        )


def test_two_trainings_of_one_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(store, "run")

    learn = fit_module._train

    def second(*args: object) -> None:
        with pytest.raises(Dcase2018Error, match="run is being written by another process"):
            fit(experiment)
        learn(*args)

    monkeypatch.setattr(fit_module, "_train", second)
    fit(experiment)


def test_a_damaged_state_is_named(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment, StoppingCriteria(max_steps=5))
    (experiment.run.checkpoint_dir(5) / "state.json").write_text('{"step": 5')
    with pytest.raises(Dcase2018Error, match=r"step-00000005/state.json is damaged .* to resume from the"):
        fit(experiment)


def test_the_number_of_workers_does_not_matter(store: Store) -> None:
    hparams = dataclasses.replace(
        PRESET.hparams, mixup_alpha=0.3, time_mask=0.2, example_sampling="random_crop"
    )
    preset = Preset("mlp", hparams, 4)
    one, many = make_experiment(store, "one", preset), make_experiment(store, "many", preset)
    fit(one)
    fit(many, StoppingCriteria(max_steps=6), jobs=4)
    fit(many, jobs=3)
    assert_same(one.run, many.run)


def test_a_batch_may_be_longer_than_an_epoch_of_the_last_stretch(store: Store) -> None:
    table = labels()
    table["manually_verified"] = ["1" if i in (0, 1, 2) else "0" for i in range(30)]
    hparams = HParams(batch_size=8, nh=8, example_sampling="random_crop", verified_finetune_fraction=0.5)
    path, checked = store.path.with_name("run"), labels(range(30, 36))
    experiment = Experiment.create(path, Preset("mlp", hparams, 12), store, table, checked)
    assert fit(experiment) == "all 12 epochs are done"
    told = history(experiment.run)
    assert told["epoch"].tolist() == list(range(1, 13))
    steps = np.cumsum([30 // 8] * 6 + [1] * 6)
    assert told["step"].tolist() == steps.tolist()
    assert told["map3"].notna().all()


def test_all_epochs_may_be_shorter_than_a_batch(store: Store) -> None:
    table = labels()
    table["manually_verified"] = ["1" if i in (0, 1, 2) else "0" for i in range(30)]
    hparams = HParams(batch_size=8, nh=8, example_sampling="random_crop", verified_finetune_fraction=1)
    experiment = Experiment.create(store.path.with_name("run"), Preset("mlp", hparams, 2), store, table)
    assert (fit(experiment), experiment.run.state().step) == ("all 2 epochs are done", 2)


def test_a_run_may_begin_with_a_checkpoint(store: Store) -> None:
    first = make_experiment(store, "first", validation=labels(range(30, 36)))
    fit(first, save_every=5)
    for checkpoint in (5, "best"):
        initial = InitialWeights.find(first.run.path, checkpoint)
        second = plan(
            store,
            f"from {checkpoint}",
            Preset("mlp", dataclasses.replace(PRESET.hparams, lr=1e-12), 1),
            initial=initial,
        )
        fit(second)
        theirs = [
            keras.ops.convert_to_numpy(weight) for weight in first.run.load_for_inference(checkpoint).weights
        ]
        for mine, begun in zip(weights(second.run), theirs, strict=True):
            np.testing.assert_allclose(mine, begun, atol=1e-6)
    with pytest.raises(InputError, match=r"does not exist; --checkpoint takes the steps 5, "):
        InitialWeights.find(first.run.path, 4)
    with pytest.raises(InputError, match="is neither a run folder nor YAMNet weights"):
        InitialWeights.find(Path("yamnet.h5"), "best")


def test_a_step_that_does_not_fit_into_memory_is_told(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module.os, "sysconf", lambda name: 100)
    fit(make_experiment(store, "run"), StoppingCriteria(max_steps=1))
    assert "a step of 8 examples needs an estimated 0 GB of memory, and this machine has 0 GB" in caplog.text
