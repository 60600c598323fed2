"""F33: an engine may hold a plugin library, so none is deserialised unsigned or with host code."""

import ast
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fpenet
from fpenet.deploy.engines import tensorrt_engine
from fpenet.deploy.judge.golden import check_golden

DEPLOY = Path(tensorrt_engine.__file__).parent


def test_f33_an_unsigned_engine_is_neither_run_nor_queried(
    stages: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "l4"
    shutil.copytree(stages.bundle / "l4", folder)
    (folder / "SHA256SUMS.sig").unlink()
    for use in (fpenet.Landmarker, check_golden):
        with pytest.raises(ValueError, match=r"SHA256SUMS: not signed"):
            use(folder)


@pytest.mark.tensorrt
def test_f33_the_deserialiser_is_told_to_run_no_host_code(
    stages: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    asked: list[bool] = []

    class Runtime:
        """RTX's own, told the worst first; it notes what it is allowed when an engine comes."""

        own: Any

        def __init__(self, logger: Any) -> None:
            self.__dict__["own"] = rtx.Runtime(logger)
            self.own.engine_host_code_allowed = True

        def __setattr__(self, name: str, value: bool) -> None:
            setattr(self.own, name, value)

        engine_host_code_allowed = True

        def deserialize_cuda_engine(self, engine: bytes) -> Any:
            asked.append(self.own.engine_host_code_allowed)
            return self.own.deserialize_cuda_engine(engine)

    monkeypatch.setattr(
        tensorrt_engine,
        "import_module",
        lambda name: SimpleNamespace(Runtime=Runtime, __version__=rtx.__version__),
    )
    monkeypatch.setattr("polygraphy.config.USE_TENSORRT_RTX", True)
    with pytest.raises(ValueError, match="cannot read this engine here"):
        tensorrt_engine.deserialised("tensorrt_rtx", b"no engine", "x.engine")
    assert asked == [False]


def test_f33_one_place_deserialises_and_no_loader_of_polygraphy_does() -> None:
    places = []
    for path in sorted(DEPLOY.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            assert name not in {"engine_from_bytes", "EngineFromBytes", "engine_from_path"}, path
            if name == "deserialize_cuda_engine":
                places.append(path.name)
    assert places == ["tensorrt_engine.py"]
