"""Case 61: an option of several values that is given twice; the first values were lost."""

import pytest

from flows import watch, webhook
from fpenet.core.errors import InputError


def test_a_release_takes_all_values_of_an_option_that_is_given_twice() -> None:
    words = ["--set", "train.net=nano", "--set", "train.batch_size=8", "split.seed=1"]
    assert watch._parameters([*words, "--targets", "cpu", "--targets", "t4", "nano"]) == {
        "overrides": {"train.net": "nano", "train.batch_size": 8, "split.seed": 1},
        "targets": ["cpu", "t4", "nano"],
        "json": False,
    }


def test_a_second_call_does_not_have_the_values_of_the_first() -> None:
    watch._parameters(["--set", "train.net=nano"])
    assert watch._parameters([]) == {"json": False}


def test_the_promotion_watcher_takes_all_of_them_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    received = []

    def record(overrides: object) -> None:
        received.append(overrides)
        raise InputError("recorded")

    monkeypatch.setenv(webhook.SECRET, "s" * 32)
    monkeypatch.setattr(webhook, "project_params", record)
    words = ["--set", "promote.approvals=1", "--set", "promote.reconcile_seconds=7"]
    assert webhook.main(words) == 2
    assert received == [{"promote.approvals": 1, "promote.reconcile_seconds": 7}]
    assert capsys.readouterr().err == "watcher: recorded\n"
