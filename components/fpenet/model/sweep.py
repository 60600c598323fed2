"""``fpenet sweep``: hyperparameter search over keys of ``train``, with Optuna.

Input: the crop store. Does: holds out some subjects of the part ``train``, trains each trial on the
others, evaluates it on the held-out subjects after every epoch, and prunes it if earlier trials
were better; faces of ``val`` and ``kpi`` are not used. Output: the study, in SQLite or Postgres. A
sweep that was killed continues; its last trial resumes from its last checkpoint.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from fpenet.core.errors import Diverged, InputError, Pruned
from fpenet.core.files import locked
from fpenet.core.progress import EpochEnd, observed_epochs
from fpenet.core.yaml_tree import nested, overlay
from fpenet.data.crops.store import CropStore, hold_aside
from fpenet.model.train import train_on
from fpenet.params import RangeParams, SweepParams, TrainParams

Shown = Callable[[str, Mapping[str, Any]], AbstractContextManager[None]]
"""Context that displays the training of one trial; arguments: its name and its settings."""
_FOLDER, _WHY = "folder", "why"
_TABLES_LOCK = 0x6670656E6574  # the key of an advisory lock of Postgres: "fpenet"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        best: key of params.yaml -> its value in the best trial.
        value: mean error of that trial on the held-out subjects, crop pixels.
        table: all trials as text.
    """

    best: Mapping[str, Any]
    value: float
    table: str


def run_sweep(
    store: CropStore, train: TrainParams, sweep: SweepParams, name: str, folder: Path, shown: Shown
) -> SweepResult:
    """Run trials of the study ``name`` until it has ``sweep.trials`` of them.

    Args:
        folder: folder of the running trials, and of the study if it is in SQLite.

    Raises:
        InputError: no subject is held out, or no trial was completed.
        ConnectionError: the study's database refused or could not be reached.
        Resumable: SIGTERM arrived; the trial resumes in the next run.
    """
    store = hold_aside(store, sweep.aside_fraction, sweep.aside_seed)
    if not len(store.rows("val")):
        raise InputError(
            f"sweep.aside_fraction is {sweep.aside_fraction}: no subject of train is held out; if"
            " sweep.aside_seed equals split.seed, these subjects are in val already"
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = _open(sweep, name, folder)
        _take_over(study, folder)
        while len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) < sweep.trials:
            _run_trial(study, store, train, sweep, folder, shown)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        message = " ".join(str(error).split())
        raise ConnectionError(f"sweep.storage: {message}") from None
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if not complete:
        raise InputError(f"study {name}: no trial was completed:\n{_table(study)}")
    best = min(complete, key=_value)
    return SweepResult(best.params, _value(best), _table(study))


def settings_of(train: TrainParams, tried: Mapping[str, Any]) -> TrainParams:
    """``train`` with the values of a trial; ``tried``: key of params.yaml -> value."""
    return TrainParams.model_validate(overlay(train.model_dump(), nested(tried)["train"]))


def _open(sweep: SweepParams, name: str, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with locked(folder / ".lock"), _server_lock(sweep.storage):
        return optuna.create_study(
            study_name=name,
            storage=sweep.storage or f"sqlite:///{folder.resolve()}/studies.db",
            load_if_exists=True,
            direction="minimize",
            pruner=MedianPruner(sweep.pruning.first_trials, sweep.pruning.first_epochs + 1),
        )


@contextmanager
def _server_lock(storage: str | None) -> Iterator[None]:
    """Hold a lock of the Postgres server, if there is one.

    Optuna creates its tables without a lock: of two machines that begin at the same time on an
    empty database, one would fail with a UniqueViolation.
    """
    if storage is None:
        yield
        return
    with create_engine(storage, poolclass=NullPool).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TABLES_LOCK})
        yield


def _take_over(study: optuna.Study, folder: Path) -> None:
    """Enqueue again the trials of processes that died on this machine; others are not touched."""
    with locked(folder / ".lock"):
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            trial_dir = folder / trial.user_attrs.get(_FOLDER, "none")
            try:
                with locked(trial_dir.with_suffix(".lock"), wait=False):
                    if not trial_dir.is_dir():
                        continue
                    study.tell(trial.number, state=TrialState.FAIL)
                    study.enqueue_trial(trial.params, user_attrs={_FOLDER: trial_dir.name})
            except BlockingIOError:  # the trial is running
                continue


def _run_trial(
    study: optuna.Study,
    store: CropStore,
    train: TrainParams,
    sweep: SweepParams,
    folder: Path,
    shown: Shown,
) -> None:
    """Train one trial, and store its result in the study."""
    with ExitStack() as locks:
        with locked(folder / ".lock"):
            trial = study.ask()
            default_name = f"{study.study_name}-{trial.number:04d}"
            trial_dir = folder / trial.user_attrs.get(_FOLDER, default_name)
            trial_dir.mkdir(exist_ok=True)
            locks.enter_context(locked(trial_dir.with_suffix(".lock")))
            trial.set_user_attr(_FOLDER, trial_dir.name)
        study.sampler = TPESampler(seed=sweep.seed + trial.number)  # the same for a resumed sweep
        tried = {key: _suggest(trial, key, values) for key, values in sweep.space.items()}
        try:
            with shown(trial_dir.name, tried), observed_epochs(_pruning(trial)):
                summary = train_on(store, settings_of(train, tried), trial_dir)
            study.tell(trial, summary["val_crop_px"])
        except (Pruned, Diverged, ValidationError) as error:
            trial.set_user_attr(_WHY, " ".join(str(error).split())[:200])
            study.tell(trial, state=TrialState.PRUNED)
        shutil.rmtree(trial_dir)
        trial_dir.with_suffix(".lock").unlink()


def _value(trial: FrozenTrial) -> float:
    """Final error, or the last one of a pruned trial; infinite without any."""
    reported = list(trial.intermediate_values.values())
    return trial.value if trial.value is not None else reported[-1] if reported else math.inf


def _table(study: optuna.Study) -> str:
    """One line per trial, the best first, pruned trials last."""
    lines = [f"{'trial':>5} {'px':>7} {'epochs':>6}  tried"]
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    for trial in sorted(trials, key=lambda t: (t.state != TrialState.COMPLETE, _value(t))):
        tried = " ".join(
            f"{key.removeprefix('train.')}={value:.4g}"
            if isinstance(value, float)
            else f"{key.removeprefix('train.')}={value}"
            for key, value in trial.params.items()
        )
        why = f" ({trial.user_attrs[_WHY]})" if _WHY in trial.user_attrs else ""
        epochs = max(trial.intermediate_values, default=0)
        lines.append(f"{trial.number:>5} {_value(trial):>7.3f} {epochs:>6}  {tried}{why}")
    return "\n".join(lines)


def _suggest(trial: optuna.Trial, key: str, values: RangeParams | tuple[Any, ...]) -> Any:
    """The value of ``key`` in this trial; Optuna returns the stored one of a resumed trial."""
    if not isinstance(values, RangeParams):
        return trial.suggest_categorical(key, values)
    if values.whole:
        return trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)


def _pruning(trial: optuna.Trial) -> Callable[[EpochEnd], None]:
    """An observer that reports each epoch to ``trial``; it raises ``Pruned`` to stop the trial."""
    num_reported = 0

    def observe(end: EpochEnd) -> None:
        nonlocal num_reported
        for line in end.curve[num_reported:]:
            trial.report(line["val_crop_px"], int(line["epoch"]))
        num_reported = len(end.curve)
        if trial.should_prune():
            raise Pruned(f"worse than the median after epoch {end.curve[-1]['epoch']}")

    return observe
