"""Case 62: a company's list of hosts without proxy; the services and runs lost it."""

from pathlib import Path

import pytest

from infra.services import chosen_ports, environment


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "127.0.0.1,localhost"),
        (
            {"NO_PROXY": "minio.corp.example,10.0.0.0/8"},
            "minio.corp.example,10.0.0.0/8,127.0.0.1,localhost",
        ),
        ({"no_proxy": "minio.corp.example"}, "minio.corp.example,127.0.0.1,localhost"),
        (
            {"NO_PROXY": "a.example, b.example", "no_proxy": "b.example,c.example"},
            "a.example,b.example,c.example,127.0.0.1,localhost",
        ),
        ({"NO_PROXY": "localhost,a.example"}, "localhost,a.example,127.0.0.1"),
        ({"no_proxy": "*"}, "*,127.0.0.1,localhost"),
    ],
)
def test_the_list_of_the_user_is_kept_and_loopback_added(
    variables: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        if name in variables:
            monkeypatch.setenv(name, variables[name])
    values = environment(tmp_path, chosen_ports({}))
    assert (values["NO_PROXY"], values["no_proxy"]) == (expected, expected)
    monkeypatch.setenv("NO_PROXY", expected)  # `make release` sets it, and then starts services
    assert environment(tmp_path, chosen_ports({}))["NO_PROXY"] == expected
