"""F26: a calibration cache of other weights, other faces or another TensorRT is not used."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.deploy.engines.targets import TARGETS, Network, cache_name, tensorrt_number
from fpenet.deploy.engines.tensorrt_engine import chosen_source
from fpenet.deploy.int8.calibration_cache import read_cache
from fpenet.deploy.int8.quantise import quantised_tensors
from fpenet.deploy.onnx.network import opset_of, read_network
from fpenet.execution import stage_key
from fpenet.params import Params
from fpenet.provenance.manifest import Manifest, seal
from fpenet.stages import STAGES

ORIN = TARGETS["orin-nx"]


def finished(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_text(content)
    seal(folder, Manifest(folder.name, "", {}, {}, "", {}, {}, {}))
    return folder


@pytest.mark.parametrize("changed", ["export", "crop"])
def test_other_weights_or_faces_are_calibrated_anew(
    params: Params, tmp_path: Path, changed: str
) -> None:
    keys = []
    for run in ("one", "other"):
        inputs = {
            name: finished(tmp_path / run / name, run if name == changed else "same")
            for name in ("export", "crop")
        }
        keys.append(stage_key(STAGES["calibrate"], inputs, params).key)
    assert keys[0] != keys[1]


def test_a_cache_belongs_to_the_network_beside_it_and_to_one_version(
    stages: SimpleNamespace,
) -> None:
    fp32 = stages.calibrate / "opset17" / "fp32.onnx"
    network = read_network(fp32)
    assert opset_of(network) == ORIN.opset
    for version in ORIN.calibrated:
        path = stages.calibrate / cache_name(version, ORIN.opset)
        number, scales = read_cache(path.read_text())
        assert number == tensorrt_number(version)
        assert set(quantised_tensors(network)) <= scales.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a calibration cache"),
        ("<html>404</html>\n", "not a calibration cache"),
        ("TRT-8502-EntropyCalibration2\nx: 3f800000\n", "cache of TensorRT 8502, not 100300"),
        ("TRT-100300-EntropyCalibration2\nx: zzzz\n", "not a calibration cache"),
    ],
    ids=["zero bytes", "foreign", "another version", "torn"],
)
def test_a_file_that_is_not_the_versions_own_cache_stops_the_build(
    tmp_path: Path, text: str, said: str
) -> None:
    cache = tmp_path / "int8.cache"
    cache.write_text(text)
    network = Network(tmp_path / "int8.onnx", tmp_path / "fp32.onnx", ((100300, cache),))
    with pytest.raises(ValueError, match=rf"int8\.cache: .*{said}"):
        chosen_source(network, (10, 3, 0))
