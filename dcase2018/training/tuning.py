"""Hyperparameter search by validation MAP@3 with Optuna; a study is a file and can be resumed."""

import dataclasses
import functools
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from dcase2018.features.store import Store
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.provenance import input_difference
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import EpochLog, StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import parse_value, setting_fields
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.locks import exclusive_lock
from dcase2018.utils.parallel import INLINE, Submit, Workers, run_tasks
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import Interrupted
from dcase2018.utils.suggestions import did_you_mean

try:
    import optuna
    import sqlalchemy
except ImportError:
    raise InputError("tune requires Optuna; pip install 'dcase2018[tune]'") from None

log = logging.getLogger(__name__)

STUDY_DB = "study.db"
STUDY_INPUTS = ("training_fingerprint", "validation_fingerprint")
COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
RUNNING, FAIL = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.FAIL

SearchRange = tuple[Any, Any] | list[str]  # (low, high), or choices as text
SearchSpace = dict[str, SearchRange]

HPARAM_FIELDS = {field.name: field for field, _ in setting_fields(HParams)}


def parse_search_space(text: str) -> SearchSpace:
    """Parse a search space: `lr=1e-4:1e-2,dropout=0:0.5,clip_pooling=mean|geometric_mean`.

    Raises
    ------
    InputError
        If a name is unknown, a value is not allowed, or a range is empty.
    """
    space: SearchSpace = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, values = (token.strip() for token in item.partition("="))
        if name not in HPARAM_FIELDS:
            hint = did_you_mean(name, HPARAM_FIELDS)
            known = ", ".join(HPARAM_FIELDS)
            raise InputError(f"--search-space {name!r} is unknown; {hint}allowed are {known}")
        if not equals:
            raise InputError(f"--search-space {item!r} is not name=low:high or name=this|that")
        if name in space:
            raise InputError(f"--search-space {name} is given twice")
        field, is_range = HPARAM_FIELDS[name], ":" in values
        if is_range and isinstance(field.default, str):
            raise InputError(f"--search-space {item!r}: {name} has no range; write {name}=this|that")
        texts = [text.strip() for text in (values.split(":", 1) if is_range else values.split("|"))]
        parsed = [parse_value(field, value) for value in texts]
        for value in parsed:
            dataclasses.replace(HParams(), **{name: value})  # validates the value
        if is_range and not parsed[0] < parsed[1]:
            raise InputError(f"--search-space {item!r}: {texts[0]} is not less than {texts[1]}")
        space[name] = (parsed[0], parsed[1]) if is_range else texts
    if not space:
        raise InputError("--search-space is empty; use, for example, lr=1e-4:1e-2")
    return space


def suggest(trial: optuna.Trial, space: SearchSpace, base_hparams: HParams) -> HParams:
    """Draw hyperparameters; a range that spans a factor of ten or more is searched on a log scale."""
    values: dict[str, object] = {}
    for name, search_range in space.items():
        if isinstance(search_range, list):
            values[name] = parse_value(HPARAM_FIELDS[name], trial.suggest_categorical(name, search_range))
            continue
        low, high = search_range
        draw = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        values[name] = draw(name, low, high, log=low > 0 and high >= 10 * low)
    return dataclasses.replace(base_hparams, **values)  # type: ignore[arg-type]


def tune(
    folder: StrPath,
    search_space: str,
    preset: Preset,
    store: Store,
    labels: pd.DataFrame,
    validation: pd.DataFrame,
    n_trials: int = 20,
    criteria: StoppingCriteria | None = None,
    seed: int = 0,
    workers: Workers | None = None,
) -> tuple[float, str]:
    """Search hyperparameters by validation MAP@3. The same call resumes an interrupted study.

    A trial is pruned if its validation MAP@3 is below the median of the others at the same epoch.

    Parameters
    ----------
    folder
        Folder of the study: study.db, and one run per trial.
    search_space
        Ranges and choices: `lr=1e-4:1e-2,clip_pooling=mean|geometric_mean`.
    preset
        Architecture, number of epochs, and values of the other hyperparameters.
    store
        Features of the training and validation clips.
    labels, validation
        Training and validation clips (see `read_labels`).
    n_trials
        Number of trials of the study, including those of earlier calls.
    criteria
        Criteria that stop the training of a trial early.
    seed
        Seed of the search and of the trainings.
    workers
        Processes, or a Dask cluster, that train; this process if None. They are started after the study is
        locked. With several workers, the drawn values depend on the order in which trials finish.

    Returns
    -------
    tuple
        The best validation MAP@3, and its hyperparameters in the format of `--hparams`.

    Raises
    ------
    InputError
        If the search space or the data are invalid (see `Experiment.create`), the folder holds another study,
        or no trial was completed.
    Dcase2018Error
        If another process uses this study.

    Examples
    --------
    >>> preset = dcase2018.PRESETS["quick"]
    >>> dcase2018.tune("study", "lr=1e-4:1e-2", preset, store, labels, validation, n_trials=5)
    (0.9123, 'lr=0.0012')
    """
    folder, criteria = Path(folder), criteria or StoppingCriteria()

    def make_experiment(name: str, hparams: HParams) -> Experiment:
        trial = dataclasses.replace(preset, hparams=hparams)
        return Experiment.create(folder / name, trial, store, labels, validation, seed=seed)

    def draw(trial: optuna.Trial) -> Experiment:
        return make_experiment(f"trial-{trial.number}", suggest(trial, space, preset.hparams))

    base = make_experiment("trial", preset.hparams)  # reports invalid data before anything is written
    space = parse_search_space(search_space)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder, folder / STUDY_DB):
        study = _open_study(folder / STUDY_DB, seed)
        _check_same_study(study, folder, base.run, space)
        n_done = len(study.get_trials(states=[COMPLETE, PRUNED]))  # interrupted trials are replaced
        with (
            workers or nullcontext(INLINE) as opened,
            Progress("tune", n_trials, "trials", done=min(n_done, n_trials)) as progress,
        ):
            for trial in _run_trials(study, n_trials - n_done, draw, criteria, opened):
                log.info("trial %d: %s, %s", trial.number, trial.state.name.lower(), _format(trial.params))
                progress.update(1)
    if not study.get_trials(states=[COMPLETE]):
        raise InputError(f"no trial of {folder} was completed; increase --trials")
    return study.best_value, _format(study.best_params)


def _run_trials(
    study: optuna.Study,
    n_trials: int,
    draw: Callable[[optuna.Trial], Experiment],
    criteria: StoppingCriteria,
    workers: Sequence[Submit],
) -> Iterator[optuna.trial.FrozenTrial]:
    """Run trials; only this process reads and writes the study.

    SQLite files are not safe with writers on several machines. A task therefore receives the completed
    trials that pruning compares with, and returns its score of each epoch.
    """
    running: dict[int, optuna.Trial] = {}

    def tasks() -> Iterator[Callable[[], TrialResult]]:
        for _ in range(n_trials):
            trial = study.ask()
            running[trial.number] = trial
            completed = study.get_trials(deepcopy=False, states=[COMPLETE])
            yield functools.partial(_train_trial, trial.number, draw(trial), completed, criteria)

    try:
        for result in run_tasks(tasks(), workers):
            trial = running.pop(result.number)
            for epoch, score in result.scores.items():
                trial.report(score, epoch)
            if result.error:
                log.warning("trial %d: %s", trial.number, result.error)
            yield study.tell(trial, result.best, PRUNED if result.best is None else COMPLETE)
    finally:
        for trial in running.values():
            study.tell(trial, state=FAIL)


def _open_study(path: Path, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    connect = functools.partial(sqlite3.connect, path, check_same_thread=False)
    try:
        study = optuna.create_study(
            # `creator` instead of a URL, in which some characters of a path are not allowed
            storage=optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect}),
            study_name="dcase2018",
            direction="maximize",
            load_if_exists=True,
        )
        for trial in study.get_trials(deepcopy=False, states=[RUNNING]):  # of a process that was killed
            study.tell(trial.number, state=FAIL)
        sampler_seed = (seed + len(study.trials)) % 2**32  # a resumed study draws new values
        # constant_liar keeps concurrent trials apart
        study.sampler = optuna.samplers.TPESampler(seed=sampler_seed, constant_liar=True)
        return study
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is not an Optuna study ({reason}); name another folder") from None


def _check_same_study(study: optuna.Study, folder: Path, run: Run, space: SearchSpace) -> None:
    """Raise if the study was started with other settings; store the settings of a new study."""
    fixed = {name: value for name, value in dataclasses.asdict(run.hparams).items() if name not in space}
    settings = {
        "--search-space": ",".join(f"{name}={_format_range(values)}" for name, values in space.items()),
        "--model": run.model,
        "--epochs": run.epochs,
        "--seed": run.seed,
        **{f"--hparams {name}": value for name, value in fixed.items()},
        **{name: getattr(run, name) for name in STUDY_INPUTS},
    }
    stored = study.user_attrs.get("settings", settings)
    differences = [
        f"{name}={value}, not {stored[name]}"
        for name, value in settings.items()
        if name not in STUDY_INPUTS and value != stored.get(name, value)
    ]
    for name in STUDY_INPUTS:
        differences += input_difference(name, getattr(run, name), stored.get(name, ""))
    if differences:
        raise InputError(f"{folder} holds another study ({'; '.join(differences)}); name another folder")
    study.set_user_attr("settings", settings)  # at once, so that a kill leaves all or none


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """Result of a trial.

    Attributes
    ----------
    number
        Number of the trial.
    scores
        Validation MAP@3 by epoch.
    best
        Highest validation MAP@3; None if the trial was pruned or failed.
    error
        Error message of a failed trial.
    """

    number: int
    scores: dict[int, float]
    best: float | None = None
    error: str = ""


def _train_trial(
    number: int,
    experiment: Experiment,
    completed: Sequence[optuna.trial.FrozenTrial],
    criteria: StoppingCriteria,
) -> TrialResult:
    """Train the model of a trial until it is finished or pruned."""
    from dcase2018.training.fit import fit  # imports Keras, only in the process that trains

    trial = _pruning_trial(completed)
    scores: dict[int, float] = {}

    def report(row: EpochLog) -> None:
        scores[row["epoch"]] = row["map3"]
        trial.report(row["map3"], row["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        fit(experiment, criteria, on_epoch_end=report, keep_checkpoints=1)
    except Interrupted:
        raise
    except optuna.TrialPruned:
        return TrialResult(number, scores)
    except Dcase2018Error as error:  # such as a loss that is not finite
        return TrialResult(number, scores, error=str(error))
    best = experiment.run.state().best
    return TrialResult(number, scores, best["map3"] if best else 0.0)


def _pruning_trial(completed: Sequence[optuna.trial.FrozenTrial]) -> optuna.Trial:
    """Create a trial of a temporary study that is pruned below the median of completed trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),  # unused
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
    )
    study.add_trials(completed)
    return study.ask()


def _format_range(values: SearchRange) -> str:
    """Format a range or choices as `parse_search_space` reads them."""
    return "|".join(values) if isinstance(values, list) else ":".join(map(str, values))


def _format(hparams: dict[str, object]) -> str:
    return ",".join(f"{name}={value}" for name, value in hparams.items())
