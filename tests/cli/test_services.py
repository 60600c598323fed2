"""The services of the checkout: found without a variable; where they are down, one line says so."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpenet.cli.main import main
from fpenet.cli.services import ADDRESSES, use_services
from fpenet.core.service_addresses import ServiceAddresses
from fpenet.provenance.signing import make_key

ROOT = Path(__file__).parents[2]
DOWN = "MLflow of this checkout is not running: make up"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: params.yaml, a trusted key, and no MLFLOW_TRACKING_URI."""
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / ".keys").mkdir()
    make_key(tmp_path / ".keys/development.pem")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that the test may set it
    return tmp_path


@pytest.fixture
def checkout(folder: Path) -> Path:
    (folder / "flows").symlink_to(ROOT / "flows")
    return folder


@pytest.fixture
def address() -> Iterator[str]:
    """The URL of a server that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


QUESTIONS = [
    ["promote", "1"],
    ["approve", "1", "--reason", "better", "--key", ".keys/development.pem"],
    ["rollback", "--to", "1"],
    ["history"],
    ["compare", "models:/fpenet-deployable/1", "models:/fpenet-deployable@candidate"],
    ["evaluate", "--model", "models:/fpenet-deployable/1"],
    ["get", "--target", "cpu", "--out", "bundle"],
    ["plan", "--set", "train.start_from=models:/fpenet-trainable/1"],
    ["plan", "--set", "gate.champion=models:/fpenet-deployable/1"],
    ["register"],
]


@pytest.mark.parametrize("words", QUESTIONS, ids=lambda words: words[0])
def test_a_question_while_the_services_are_down_is_one_line_and_creates_nothing(
    words: list[str], checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(checkout.rglob("*"))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert DOWN in error
    assert error.startswith(f"fpenet {words[0]}: ")
    assert error.count("\n") == 1
    assert sorted(checkout.rglob("*")) == before


@pytest.mark.parametrize("words", [QUESTIONS[0], QUESTIONS[2], QUESTIONS[4]])
def test_outside_a_checkout_the_variable_is_named(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert main(words) == 2
    assert f"fpenet {words[0]}: MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_database_that_is_not_there_is_not_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nowhere.db")
    assert main(["promote", "1"]) == 2
    line = "fpenet promote: MLFLOW_TRACKING_URI is sqlite:///nowhere.db: no such database\n"
    assert capsys.readouterr().err == line
    assert not (folder / "nowhere.db").exists()


def addresses(folder: Path, mlflow: str) -> None:
    (folder / ADDRESSES).parent.mkdir()
    ServiceAddresses("http://127.0.0.1:1", mlflow, "http://127.0.0.1:2").write(folder / ADDRESSES)


def test_the_running_mlflow_of_the_checkout_is_used_unless_a_variable_names_one(
    checkout: Path, address: str
) -> None:
    addresses(checkout, address)
    environ: dict[str, str] = {}
    use_services(environ)
    assert environ == {"MLFLOW_TRACKING_URI": address}
    environ = {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    use_services(environ)
    assert environ == {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def test_addresses_of_services_that_died_are_those_of_services_that_are_down(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    addresses(checkout, gone)
    assert main(["promote", "1"]) == 2
    assert capsys.readouterr().err == f"fpenet promote: {DOWN}\n"
    assert os.environ["MLFLOW_TRACKING_URI"] == ""


def test_a_question_reaches_the_mlflow_of_the_checkout(
    checkout: Path, mlflow_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = ""  # the fixture of the server may set it
    addresses(checkout, mlflow_server)
    assert main(["promote", "12345"]) == 2
    expected = "fpenet promote: fpenet-deployable: has no version 12345;"
    assert capsys.readouterr().err.startswith(expected)
    assert not list(checkout.glob("mlflow.db"))
    assert not list(checkout.glob("mlruns"))
