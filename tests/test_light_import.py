"""What an edge device runs imports without the packages of the pipeline."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]

HEAVY = (
    "torch",
    "prefect",
    "mlflow",
    "tensorrt",
    "tensorrt_rtx",
    "polygraphy",
    "onnx",
    "onnx_graphsurgeon",
    "great_expectations",
    "matplotlib",
    "pandas",
    "scipy",
    "dvc",
    "boto3",
    "botocore",
    "dlib",
)

LIGHT = (
    "fpenet",
    "components.deploy.targets",
    "components.deploy.engine",
    "components.deploy.engine_onnxruntime",
    "components.deploy.engine_tensorrt",
    "components.deploy.engine_tensorrt_rtx",
    "components.deploy.build",
    "components.deploy.benchmark",
    "components.deploy.benchmark_table",
    "components.deploy.builder_process",
    "components.deploy.machine_state",
    "components.deploy.trtexec_times",
    "components.deploy.bundle",
    "components.deploy.landmarker",
    "components.deploy.infer",
    "components.deploy.join",
    "components.keypoints",
    "components.data.sample",
    "components.cli",
    "components.kpi.evaluate",
    "components.kpi.gate",
    "components.release.get",
    "components.release.source",
    "components.provenance.model_key",
)

SCRIPT = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy}:
            raise ImportError("an edge device has no " + name)

sys.meta_path.insert(0, Absent())
for name in {light}:
    importlib.import_module(name)
print(sorted(set({heavy}) & set(sys.modules)))
"""


def test_the_runtime_side_imports_without_the_packages_of_the_pipeline() -> None:
    script = SCRIPT.format(heavy=HEAVY, light=LIGHT)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
