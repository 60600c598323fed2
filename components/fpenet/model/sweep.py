"""``fpenet sweep``: trainings that differ in some keys of ``train``, proposed by Optuna.

Input: the crop store. Does: holds some people of ``train`` aside, trains each trial on the others,
judges it by those held aside after every epoch and ends it early where others were better; nobody
of ``val`` or ``kpi`` is looked at. Output: the study, in SQLite or Postgres; a sweep that was
killed goes on, and its last trial from its last checkpoint.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from fpenet.core.errors import Diverged, InputError, Pruned
from fpenet.core.files import locked
from fpenet.core.progress import EpochEnd, observed_epochs
from fpenet.core.yaml_tree import nested, overlay
from fpenet.data.crops.store import CropStore, hold_aside
from fpenet.model.train import train_on
from fpenet.params import RangeParams, SweepParams, TrainParams

Shown = Callable[[str, Mapping[str, Any]], AbstractContextManager[None]]
"""Shows the training of one trial, given its name in the study and its settings."""
_FOLDER, _WHY = "folder", "why"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        best: key of params.yaml -> its value in the best trial.
        value: mean error of that trial on those held aside, crop pixels.
        table: all trials, in words.
    """

    best: Mapping[str, Any]
    value: float
    table: str


def run_sweep(
    store: CropStore, train: TrainParams, sweep: SweepParams, name: str, folder: Path, shown: Shown
) -> SweepResult:
    """Go on with the study ``name`` until it has ``sweep.trials``.

    Args:
        folder: of the trials that are running, and of the study where it is in SQLite.

    Raises:
        InputError: nobody is held aside, or no trial came to its end.
        ConnectionError: the study's database refused or could not be reached.
        Resumable: SIGTERM came; the trial goes on next time.
    """
    store = hold_aside(store, sweep.aside_fraction, sweep.aside_seed)
    if not len(store.rows("val")):
        raise InputError(
            f"sweep.aside_fraction is {sweep.aside_fraction}: nobody of train is held aside; with a"
            " sweep.aside_seed that is split.seed, they are val's already"
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = _open(sweep, name, folder)
        _take_over(study, folder)
        while len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) < sweep.trials:
            _run_trial(study, store, train, sweep, folder, shown)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        said = " ".join(str(error).split())
        raise ConnectionError(f"sweep.storage: {said}") from None
    whole = study.get_trials(states=(TrialState.COMPLETE,))
    if not whole:
        raise InputError(f"study {name}: no trial came to its end:\n{_table(study)}")
    best = min(whole, key=_value)
    return SweepResult(best.params, _value(best), _table(study))


def settings_of(train: TrainParams, tried: Mapping[str, Any]) -> TrainParams:
    """``train`` with the values that are tried, by their keys in params.yaml."""
    return TrainParams.model_validate(overlay(train.model_dump(), nested(tried)["train"]))


def _open(sweep: SweepParams, name: str, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=sweep.storage or f"sqlite:///{folder.resolve()}/studies.db",
        load_if_exists=True,
        direction="minimize",
        pruner=MedianPruner(sweep.pruning.first_trials, sweep.pruning.first_epochs + 1),
    )


def _take_over(study: optuna.Study, folder: Path) -> None:
    """Have the trials of processes that died here go on; those of other machines are left."""
    with locked(folder / ".lock"):
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            own = folder / trial.user_attrs.get(_FOLDER, "none")
            try:
                with locked(own.with_suffix(".lock"), wait=False):
                    if not own.is_dir():
                        continue
                    study.tell(trial.number, state=TrialState.FAIL)
                    study.enqueue_trial(trial.params, user_attrs={_FOLDER: own.name})
            except BlockingIOError:  # it is running
                continue


def _run_trial(
    study: optuna.Study,
    store: CropStore,
    train: TrainParams,
    sweep: SweepParams,
    folder: Path,
    shown: Shown,
) -> None:
    """Train one trial, and tell the study how it ended."""
    with ExitStack() as held:
        with locked(folder / ".lock"):
            trial = study.ask()
            own = folder / trial.user_attrs.get(_FOLDER, f"{study.study_name}-{trial.number:04d}")
            own.mkdir(exist_ok=True)
            held.enter_context(locked(own.with_suffix(".lock")))
            trial.set_user_attr(_FOLDER, own.name)
        study.sampler = TPESampler(seed=sweep.seed + trial.number)  # the same one, resumed or not
        tried = {key: _suggest(trial, key, values) for key, values in sweep.space.items()}
        try:
            with shown(own.name, tried), observed_epochs(_pruning(trial)):
                summary = train_on(store, settings_of(train, tried), own)
            study.tell(trial, summary["val_crop_px"])
        except (Pruned, Diverged, ValidationError) as error:
            trial.set_user_attr(_WHY, " ".join(str(error).split())[:200])
            study.tell(trial, state=TrialState.PRUNED)
        shutil.rmtree(own)
        own.with_suffix(".lock").unlink()


def _value(trial: FrozenTrial) -> float:
    """Error at the end, or where the trial was ended early; infinite where there is none."""
    said = list(trial.intermediate_values.values())
    return trial.value if trial.value is not None else said[-1] if said else math.inf


def _table(study: optuna.Study) -> str:
    """One line a trial, the best first, those that were ended early last."""
    lines = [f"{'trial':>5} {'px':>7} {'epochs':>6}  tried"]
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    for trial in sorted(trials, key=lambda one: (one.state != TrialState.COMPLETE, _value(one))):
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
    """A value of ``key``; by the trial's own where it has one already."""
    if not isinstance(values, RangeParams):
        return trial.suggest_categorical(key, values)
    if values.whole:
        return trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)


def _pruning(trial: optuna.Trial) -> Callable[[EpochEnd], None]:
    """What is told of each epoch of ``trial``, and ends it."""
    told = 0

    def judge(end: EpochEnd) -> None:
        nonlocal told
        for line in end.curve[told:]:
            trial.report(line["val_crop_px"], int(line["epoch"]))
        told = len(end.curve)
        if trial.should_prune():
            raise Pruned(f"worse than the median after epoch {end.curve[-1]['epoch']}")

    return judge
