"""What MLflow shows of a training while it runs, and that the training never waits for it."""

import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from fpenet.cli.main import main
from fpenet.core.errors import Diverged
from fpenet.core.progress import EpochEnd, notify_epoch
from fpenet.release.registry.live_metrics import is_image_epoch, live_metrics, overlay_sheet
from tests.dots import losses

if TYPE_CHECKING:
    from mlflow.entities import Run

Command = Callable[..., list[str]]


def runs_of(experiment: str) -> "list[Run]":
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return client.search_runs([found.experiment_id])


def test_a_training_is_a_run_with_its_curve_and_its_faces(
    mlflow_store: Path, tmp_path: Path, train_command: Command
) -> None:
    from mlflow import MlflowClient

    name = f"live-{uuid.uuid4().hex[:8]}"
    words = [*train_command(tmp_path / "root"), "--set", f"register.experiment={name}"]
    assert main(words) == 0
    (run,) = runs_of(name)
    assert run.info.status == "FINISHED"
    client = MlflowClient()
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in curve] == [1, 2, 3, 4]
    assert [point.value for point in curve] == losses(tmp_path / "root/train")
    assert {"train/val_crop_px", "train/learning_rate", "train/faces_per_second"} <= set(
        run.data.metrics
    )
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "live")]
    assert pictures == [f"live/epoch_000{n}.png" for n in (1, 2, 3)]
    assert main(words) == 0  # finished already: nothing is trained, nothing is shown
    assert len(runs_of(name)) == 1


def end_of(epoch: int) -> EpochEnd:
    curve = [{"epoch": n, "loss": 1.0 / n, "seconds": 2.0 * n} for n in range(1, epoch + 1)]
    images = np.full((3, 1, 80, 80), 40, np.uint8)
    points = np.array([[[20.0, 30.0]], [[40.0, 40.0]], [[60.0, 50.0]]], np.float32)
    return EpochEnd(curve, images, points, points + 10)


def show(experiment: str, epochs: tuple[int, ...], error: BaseException) -> None:
    """A training of these epochs that ends of ``error``."""
    with live_metrics(experiment, "0123"):
        for epoch in epochs:
            notify_epoch(end_of(epoch))
        raise error


def test_a_run_that_was_killed_goes_on_where_its_curve_ended(mlflow_store: Path) -> None:
    from mlflow import MlflowClient

    name = f"live-{uuid.uuid4().hex[:8]}"
    with pytest.raises(KeyboardInterrupt):
        show(name, (1, 2), KeyboardInterrupt())
    assert [run.info.status for run in runs_of(name)] == ["KILLED"]
    with pytest.raises(Diverged):
        show(name, (2, 3), Diverged("loss is nan"))  # the second was not saved: it is trained again
    (run,) = runs_of(name)
    assert run.info.status == "FAILED"
    curve = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert curve[2].timestamp - run.info.start_time == 6000


def test_a_training_does_not_end_of_an_mlflow_that_is_away(
    tmp_path: Path,
    train_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with caplog.at_level(logging.WARNING):
        assert main(train_command(tmp_path)) == 0
        for _ in range(600):
            if (
                "the training is no longer logged to MLflow: MLflow at http://127.0.0.1:9"
                in caplog.text
            ):
                break
            time.sleep(0.1)
    assert caplog.text.count("the training is no longer logged to MLflow") == 1
    assert (tmp_path / "train/manifest.json").exists()


def test_the_drawn_points_lie_where_they_were_said() -> None:
    sheet = np.asarray(overlay_sheet(end_of(1)))
    assert sheet.shape == (240, 720, 3)
    assert Image.fromarray(sheet).getpixel((20 * 3 + 1, 30 * 3 + 1)) == (255, 216, 58)
    label = sheet[37 * 3 : 43 * 3 + 3, 27 * 3 : 33 * 3 + 3].astype(int)  # about (30, 40), hollow
    assert (label[10, 10] == 40).all()
    assert (label == (255, 216, 58)).all(-1).sum() >= 4


def test_pictures_come_often_at_first() -> None:
    expected = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300]
    assert [n for n in range(1, 301) if is_image_epoch(n)] == expected
