"""A search for hyperparameters by validation score, with Optuna; a study is a file, and goes on."""

import dataclasses
import functools
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from dcase2018.models.hparams import HParams
from dcase2018.runs.training_state import EpochLog, StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.utils.atomic import exclusive_lock
from dcase2018.utils.config import parse_value, setting_fields
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.parallel import Executors, InlineExecutor, run_tasks
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import Interrupted

log = logging.getLogger(__name__)

FILE = "study.db"
COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
RUNNING, FAIL = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.FAIL

HERE = nullcontext([InlineExecutor()])
Plan = Callable[[Path, HParams], Experiment]
Range = tuple[Any, Any] | list[str]  # from low to high, or one of these, as text

KNOWN = {field.name: field for field, _ in setting_fields(HParams)}


def parse_search(text: str) -> dict[str, Range]:
    """Read what to search: `lr=1e-4:1e-2,dropout=0:0.5,clip_pooling=mean|geometric`.

    Raises
    ------
    InputError
        For a name that is unknown, a value that is not allowed, and a range that is none.
    """
    space: dict[str, Range] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, values = item.partition("=")
        if name not in KNOWN:
            raise InputError(f"--search-space {name!r} is unknown; known here: {', '.join(KNOWN)}")
        if not equals:
            raise InputError(f"--search-space {item!r} is not name=low:high or name=this|that")
        is_range = ":" in values
        texts = values.split(":", 1) if is_range else values.split("|")
        read = [parse_value(KNOWN[name], value) for value in texts]
        for value in read:
            dataclasses.replace(HParams(), **{name: value})  # refuses what is not allowed
        if is_range and not read[0] < read[1]:
            raise InputError(f"--search-space {item!r}: {texts[0]} is not below {texts[1]}")
        space[name] = (read[0], read[1]) if is_range else texts
    if not space:
        raise InputError("--search-space names nothing to search; try lr=1e-4:1e-2")
    return space


def suggest(trial: optuna.Trial, space: dict[str, Range], start: HParams) -> HParams:
    """Draw hyperparameters; a range that spans a factor of ten is searched on a logarithmic scale."""
    chosen: dict[str, object] = {}
    for name, values in space.items():
        if isinstance(values, list):
            chosen[name] = parse_value(KNOWN[name], trial.suggest_categorical(name, values))
            continue
        low, high = values
        draw = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        chosen[name] = draw(name, low, high, log=low > 0 and high >= 10 * low)
    return dataclasses.replace(start, **chosen)  # type: ignore[arg-type]


def tune(
    folder: Path,
    space: dict[str, Range],
    start: HParams,
    plan: Plan,
    trials: int,
    limits: StoppingCriteria,
    seed: int = 0,
    executors: Executors = HERE,
) -> tuple[float, str]:
    """Search until `trials` trainings are done, those of earlier calls included.

    A training that stands worse than the median of the others at its epoch is broken off.

    Parameters
    ----------
    folder
        Gets study.db, and a run for each trial.
    start
        The hyperparameters that are not searched.
    plan
        Plans the training of a trial, with validation clips.
    places
        Where trainings run (see `make_executors`), found when the study is open. With several, what is drawn
        depends on which ends first.

    Returns
    -------
    tuple
        The best validation MAP@3, and its hyperparameters as `--hparams` takes them.

    Raises
    ------
    InputError
        If the folder holds a study of something else, or no trial came to its end.
    Dcase2018Error
        If another process is at this study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder, folder / FILE):
        study = _open_study(folder / FILE, seed)
        _compare(study, folder, plan(folder / "trial", start), space)
        earlier = len(study.get_trials(states=[COMPLETE, PRUNED]))  # one that was interrupted is made up for

        def draw(trial: optuna.Trial) -> Experiment:
            return plan(folder / f"trial-{trial.number}", suggest(trial, space, start))

        with executors as found, Progress("tune", trials, "trials", done=min(earlier, trials)) as progress:
            for last in _tried(study, trials - earlier, draw, limits, found):
                log.info("trial %d: %s, %s", last.number, last.state.name.lower(), _as_hparams(last.params))
                progress.update(1)
    if not study.get_trials(states=[COMPLETE]):
        raise InputError(f"no trial of {folder} came to its end; give more --trials")
    return study.best_value, _as_hparams(study.best_params)


def _tried(
    study: optuna.Study,
    count: int,
    draw: Callable[[optuna.Trial], Experiment],
    limits: StoppingCriteria,
    executors: Sequence[Executor],
) -> Iterator[optuna.trial.FrozenTrial]:
    """Try so many more; this process alone reads and writes the study.

    A file that several machines write is hard to keep sound, so a trial takes along what it is compared
    with, the trials that were complete when it began, and brings back the score of each epoch.
    """
    asked: dict[int, optuna.Trial] = {}

    def tasks() -> Iterator[Callable[[], Outcome]]:
        for _ in range(count):
            trial = study.ask()
            asked[trial.number] = trial
            others = study.get_trials(deepcopy=False, states=[COMPLETE])
            yield functools.partial(_train, trial.number, draw(trial), others, limits)

    try:
        for outcome in run_tasks(tasks(), executors):
            trial = asked.pop(outcome.number)
            for epoch, score in outcome.scores.items():
                trial.report(score, epoch)
            if outcome.problem:
                log.warning("trial %d: %s", trial.number, outcome.problem)
            yield study.tell(trial, outcome.best, PRUNED if outcome.best is None else COMPLETE)
    finally:
        for trial in asked.values():
            study.tell(trial, state=FAIL)


def _open_study(file: Path, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    connect = functools.partial(sqlite3.connect, file, check_same_thread=False)
    try:
        study = optuna.create_study(
            # The file's name may hold what an address may not.
            storage=optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect}),
            study_name="dcase2018",
            direction="maximize",
            load_if_exists=True,
        )
        for left in study.get_trials(deepcopy=False, states=[RUNNING]):  # by a process that was killed
            study.tell(left.number, state=FAIL)
        draws = (seed + len(study.trials)) % 2**32  # others than those that are done
        # Of trials that run at the same time, each keeps away from where the others are.
        study.sampler = optuna.samplers.TPESampler(seed=draws, constant_liar=True)
        return study
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is no study that can be read ({reason}); name another folder") from None


def _compare(study: optuna.Study, folder: Path, start: Experiment, space: dict[str, Range]) -> None:
    """Refuse to go on with a study of something else; note what a new one is of."""
    run = start.run
    fixed = dataclasses.asdict(run.hparams)
    mine = {
        "search": ", ".join(f"{name}={values}" for name, values in space.items()),
        "model": run.model,
        "hparams": json.dumps({name: value for name, value in fixed.items() if name not in space}),
        "epochs": run.epochs,
        "seed": run.seed,
        "data": f"{run.training_fingerprint} {run.validation_fingerprint}",
    }
    theirs = study.user_attrs or mine
    odd = [name for name in mine if mine[name] != theirs.get(name)]
    differing = [f"{name} {mine[name]}, not {theirs.get(name)}" for name in odd]
    if differing:
        raise InputError(f"{folder} holds a study of something else ({'; '.join(differing)}); name another")
    for name, value in mine.items():
        study.set_user_attr(name, value)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes
    ----------
    scores
        Validation MAP@3 of each epoch.
    best
        The highest; None if the training was broken off.
    problem
        Why it could not go on, if it could not.
    """

    number: int
    scores: dict[int, float]
    best: float | None = None
    problem: str = ""


def _train(
    number: int, experiment: Experiment, others: Sequence[optuna.trial.FrozenTrial], limits: StoppingCriteria
) -> Outcome:
    """Train the network of a trial, for as long as it keeps up with the others."""
    from dcase2018.training.fit import fit  # Keras is loaded where a network learns, and nowhere else

    trial = _compared_with(others)
    scores: dict[int, float] = {}

    def report(row: EpochLog) -> None:
        scores[row["epoch"]] = row["map3"]
        trial.report(row["map3"], row["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        fit(experiment, limits, after_epoch=report)
    except Interrupted:
        raise
    except optuna.TrialPruned:
        return Outcome(number, scores)
    except Dcase2018Error as error:  # such as a loss that became infinite
        return Outcome(number, scores, problem=str(error))
    best = experiment.run.state().best
    return Outcome(number, scores, best["map3"] if best else 0.0)


def _compared_with(others: Sequence[optuna.trial.FrozenTrial]) -> optuna.Trial:
    """Make a trial that is broken off where the median of the others was better at its epoch."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),  # which has nothing to draw
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
    )
    study.add_trials(others)
    return study.ask()


def _as_hparams(values: dict[str, object]) -> str:
    return ",".join(f"{name}={value}" for name, value in values.items())
