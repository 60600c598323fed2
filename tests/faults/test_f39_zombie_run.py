"""A run that is thought dead and is not: another has answered since, so it can change nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fpenet.release.promotion.promotion import decide_request
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import release_store
from tests.promoting import Promoting
from tests.waiting import LONGEST_SECONDS

ROOT = Path(__file__).parents[2]
ZOMBIE = """
import sys
from pathlib import Path
from fpenet.cli.command import parse_overrides
from fpenet.params import load_params
from fpenet.release.promotion import promotion

params = load_params(Path(sys.argv[1]), overrides=parse_overrides(sys.argv[3::2]))
publish = promotion.publish

def hang(*given):
    publish(*given)
    print("hangs", flush=True)
    sys.stdin.readline()

promotion.publish = hang
print(promotion.decide_request(params), flush=True)
"""


def test_f39_a_zombie_cannot_promote(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    promoting: Callable[..., Promoting],
    contents: Callable[[Store], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    gate = promoting()
    register(stage_folders("first"))
    register(stage_folders("second", kpi_all=4.0))
    gate.request("1")
    command = [sys.executable, "-c", ZOMBIE, *gate.options[1:]]
    with subprocess.Popen(
        command,
        cwd=tmp_path,  # MLflow makes its folder there
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "components"), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as zombie:
        assert zombie.stdout is not None
        assert zombie.stdout.readline() == "hangs\n"  # it holds token 1
        gate.request("2")
        answer = decide_request(gate.params)
        assert answer is not None
        assert (answer.outcome, answer.requested, gate.pointer.token) == ("promoted", "2", 2)
        gate.request("1")  # as it was when the zombie last looked
        before = contents(release_store(gate.params))
        said, _ = zombie.communicate("\n", timeout=LONGEST_SECONDS)
    assert "version 1 (deployable_v3.1) superseded: this run has token 1, but another" in said
    assert contents(release_store(gate.params)) == before
    assert (gate.alias, gate.pointer.version) == ("1", "2")
    assert "fpenet.promotion" not in gate.page("1").tags
