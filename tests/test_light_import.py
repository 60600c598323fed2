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
    "fpenet.deploy.engines.targets",
    "fpenet.deploy.engines.runtimes",
    "fpenet.deploy.engines.onnxruntime_engine",
    "fpenet.deploy.engines.tensorrt_engine",
    "fpenet.deploy.engines.tensorrt_rtx_engine",
    "fpenet.deploy.engines.build",
    "fpenet.deploy.benchmark.benchmark",
    "fpenet.deploy.benchmark.benchmark",
    "fpenet.deploy.engines.builder",
    "fpenet.deploy.benchmark.machine_state",
    "fpenet.deploy.benchmark.trtexec_times",
    "fpenet.deploy.bundle.bundle",
    "fpenet.deploy.runtime.landmarker",
    "fpenet.deploy.runtime.infer",
    "fpenet.deploy.engines.merge_builds",
    "fpenet.keypoints",
    "fpenet.data.sample",
    "fpenet.cli.main",
    "fpenet.kpi.evaluate",
    "fpenet.kpi.gate",
    "fpenet.release.fetch.get",
    "fpenet.release.fetch.clients",
    "fpenet.provenance.encryption",
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


HELP = """
import sys
from fpenet.cli.main import main
assert main(["--help"]) == main(["train", "--help"]) == 0
heavy = {"numpy", "pyarrow", "yaml", "onnxruntime", "cryptography", "PIL"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_the_help_pages_load_none_of_the_packages_that_the_commands_use() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
