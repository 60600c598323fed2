"""A sweep finds the better rate on people held aside, ends bad trials early, and goes on."""

import fcntl
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from fpenet.cli.main import main
from fpenet.data.sample import fixed_lists, points_of, read_table, write_table
from fpenet.data.split import hash_part
from fpenet.model import train as train_module
from fpenet.params import Params, load_params
from fpenet.provenance.manifest import Manifest, seal

PARAMS = Path(__file__).parents[2] / "params.yaml"
Sweep = Callable[..., list[str]]
RATES = "{train.learning_rate: [0.004, 0.0000001]}"


@pytest.fixture
def sweep(train_command: Callable[..., list[str]]) -> Sweep:
    """The words after ``fpenet`` of a sweep on the dots, of three epochs a trial."""

    def words(root: Path, trials: int = 3, space: str = RATES, seed: int = 2) -> list[str]:
        options = train_command(root, epochs=3)[1:]
        settings = {
            "sweep.trials": trials,
            "sweep.space": space,
            "sweep.seed": seed,
            "sweep.pruning.first_trials": 1,
            "sweep.pruning.first_epochs": 1,
            "sweep.aside_fraction": 0.3,
        }
        pairs = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return ["sweep", *options, *pairs]

    return words


def trials_of(root: Path) -> list[FrozenTrial]:
    storage = f"sqlite:///{root / 'sweep/studies.db'}"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def test_the_better_rate_wins_as_a_preset_and_the_other_ends_early(
    tmp_path: Path, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/laptop.yaml").write_text("train: {epochs: 50}\n")
    params, out = tmp_path / "params.yaml", tmp_path / "presets/found.yaml"
    words = [*sweep(tmp_path, trials=2), "--params", str(params), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    first, second = trials_of(tmp_path)
    rates = [trial.params["train.learning_rate"] for trial in (first, second)]
    assert rates == [0.004, 1e-7]  # which are drawn by the seed alone
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert max(second.intermediate_values) == 2  # of 3 epochs
    assert "worse than the median after epoch 2" in said
    found = load_params(params, "found").train
    assert (found.learning_rate, found.net, found.epochs) == (0.004, "nano", 3)
    assert "use this preset with --preset found" in said
    assert [path for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == []


def test_a_killed_sweep_goes_on_with_its_trial_from_its_checkpoint(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = sweep(tmp_path, trials=2, space="{train.learning_rate: {low: 0.001, high: 0.01}}")
    words += ["--set", "sweep.pruning.first_trials=9"]
    real = train_module._train_epoch

    def die_in_the_second_trial(stepper: Any, *rest: Any) -> float | None:
        running = next((tmp_path / "sweep").glob("*-0001"), None)
        if running is not None and stepper.training.epoch == 1:
            raise KeyboardInterrupt
        return real(stepper, *rest)

    monkeypatch.setattr(train_module, "_train_epoch", die_in_the_second_trial)
    assert main(words) == 130
    monkeypatch.undo()
    first, second = trials_of(tmp_path)
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    lock = next((tmp_path / "sweep").glob("*-0001.lock"))
    with lock.open("w") as file:  # as if another process still ran it
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr("fpenet.model.sweep._run_trial", interrupt)
        assert main(words) == 130
        monkeypatch.undo()
    assert [trial.state for trial in trials_of(tmp_path)] == [first.state, second.state]
    with caplog.at_level(logging.INFO):
        assert main(words) == 0
    assert "resumed after epoch 1" in caplog.text
    one, gone, again = trials_of(tmp_path)
    assert one == first
    assert (gone.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert again.params == second.params
    assert sorted(again.intermediate_values) == [1, 2, 3]
    caplog.clear()
    assert main(words) == 0  # all is there: nothing is trained
    assert len(trials_of(tmp_path)) == 3


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_watched_and_judged_faces_have_no_say(tmp_path: Path, sweep: Sweep) -> None:
    values = []
    for wrong in (0.0, 30.0):
        root = tmp_path / f"by-{wrong}"
        words = sweep(root, trials=1)
        table, about = read_table(root / "crop/faces.parquet")
        points = points_of(table).reshape(len(table), -1).copy()
        points[np.array(table["part"].to_pylist()) == "val"] += wrong
        place = table.column_names.index("points")
        table = table.set_column(place, "points", fixed_lists(points))
        (root / "crop/manifest.json").unlink()
        write_table(table, root / "crop/faces.parquet", name=about["name"], box_scale="1.2")
        seal(root / "crop", Manifest("crop", f"key{wrong}", {}, {}, "code", {}, {}, {}))
        assert main(words) == 0
        values.append(trials_of(root)[0].value)
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_trials_are_runs_nested_in_the_sweeps_own(
    mlflow_store: Path, tmp_path: Path, sweep: Sweep
) -> None:
    from mlflow import MlflowClient

    name = f"sweep-{uuid.uuid4().hex[:8]}"
    words = [*sweep(tmp_path, trials=2), "--set", f"register.experiment={name}"]
    assert main(words) == 0
    client = MlflowClient()
    found = client.get_experiment_by_name(name)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    (parent,) = [run for run in runs if "fpenet.sweep" in run.data.tags]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(nested) == len(runs) - 1 == 2
    ended = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}
    assert sorted(
        (run.data.params["train.learning_rate"], run.info.status) for run in nested
    ) == sorted(
        (str(trial.params["train.learning_rate"]), ended[trial.state])
        for trial in trials_of(tmp_path)
    )
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best.train.learning_rate"] == "0.004"
    best = min(trial.value for trial in trials_of(tmp_path) if trial.value is not None)
    assert parent.data.metrics["best/val_crop_px"] == pytest.approx(best)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sweep.space={crop.box_scale: [1.1, 1.2]}", "crop.box_scale is not a key of train"),
        (
            "sweep.space={train.loss: [wing, wing]}",
            "train.loss needs at least two different values",
        ),
        ("sweep.space={train.seed: {low: 3, high: 3}}", "low must be below high"),
        ("sweep.space={train.loss: [wing, huber]}", "train.loss is 'huber': Input should be 'l1'"),
        ("sweep.space={train.learning_rat: [1, 2]}", "no such key; did you mean learning_rate?"),
        ("sweep.space={train.augment.zoom: {low: 0.1, high: 2.0}}", "train.augment.zoom is 2.0"),
        ("sweep.storage=postgresql+psycopg://u:secret@host/db", "sweep.storage"),
        ("sweep.aside_fraction=0.0001", "no subject of train is held out"),
    ],
)
def test_a_sweep_over_what_cannot_be_tried_is_refused_before_it_trains(
    setting: str, said: str, tmp_path: Path, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*sweep(tmp_path), "--set", setting]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "sweep/studies.db").exists()


def test_people_are_held_aside_of_those_that_the_split_left_in_train(
    params_with: Callable[..., Params],
) -> None:
    params = params_with()
    people = [f"{n:03d}" for n in range(300)]
    train = [
        who for who in people if hash_part(who, params.split.seed) >= params.split.val_fraction
    ]
    aside = [
        who
        for who in train
        if hash_part(who, params.sweep.aside_seed) < params.sweep.aside_fraction
    ]
    assert 0.05 < len(aside) / len(train) < 0.15


def test_one_process_trains_a_trial(
    tmp_path: Path,
    sweep: Sweep,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(sweep(tmp_path)) == 2
    assert "a sweep runs in one process; to run several, start each" in capsys.readouterr().err
