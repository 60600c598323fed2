"""The rules of CONTRIBUTING.md that can be checked on the source text."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tomllib
import yaml

from fpenet.params import load_params
from fpenet.provenance.digest import imported_files
from fpenet.stages import STAGES

ROOT = Path(__file__).parents[1]
CHAPTERS = ("data", "kpi", "model", "deploy", "release", "production")
BELOW = ("keypoints", "layouts", "params", "provenance", "core")
"""What every chapter may import."""
SOURCES = sorted(
    path.relative_to(ROOT)
    for top in ("components", "flows", "infra")
    for path in (ROOT / top).rglob("*.py")
)
_FORMATTER_OFF = re.compile(r"#\s*fmt:\s*(off|skip)")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_bytes())


@cache
def imports_of(path: Path, at_import: bool = False) -> set[str]:
    """The dotted names that a source file imports; ``at_import``: only those outside functions."""
    return set(_names(tree_of(path), at_import))


def _names(node: ast.AST, at_import: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not (at_import and (lazy or types_only)):
            yield from _names(child, at_import)


def importers(package: str) -> set[str]:
    """The source files that import ``package`` or something of it."""
    return {
        path.as_posix()
        for path in SOURCES
        if any(f"{name}.".startswith(f"{package}.") for name in imports_of(path))
    }


def chapter(path: Path) -> int:
    """Place in the order of imports: 0 below all chapters, -1 above all of them."""
    parts = path.with_suffix("").parts
    if parts[:2] == ("components", "synthface"):
        return 0
    if parts[:2] != ("components", "fpenet"):
        return -1
    if parts[2] in CHAPTERS:
        return CHAPTERS.index(parts[2]) + 1
    return 0 if parts[2] in BELOW else -1


def imports_within(paths: Iterable[Path]) -> dict[Path, set[Path]]:
    """The files of ours that each file imports, but for empty packages on the way to a module."""
    return {
        path: {
            found.relative_to(ROOT)
            for found in imported_files(ROOT / path)
            if found.name != "__init__.py" or found.read_text().strip()
        }
        for path in paths
    }


def test_a_chapter_imports_only_itself_and_those_below_it() -> None:
    wrong = []
    for path, targets in imports_within(SOURCES).items():
        if chapter(path) >= 0:
            for target in targets:
                if not 0 <= chapter(target) <= chapter(path):
                    wrong.append(f"{path} imports {target}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: they are for weight, never to hide a circle."""
    graph = imports_within(path for path in SOURCES if path.parts[0] == "components")
    while free := {path for path, targets in graph.items() if not targets & graph.keys()}:
        graph = {path: targets for path, targets in graph.items() if path not in free}
    assert sorted(path.as_posix() for path in graph) == []


def test_the_environment_is_read_at_the_edges() -> None:
    """What a child process inherits is no setting: golden.py passes on where libraries lie."""
    inherits = {"components/fpenet/deploy/judge/golden.py"}
    reading = {
        path.as_posix()
        for path in SOURCES
        if path.parts[0] == "components" and path.parts[2] != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    }
    assert reading == inherits


def test_importing_our_modules_leaves_the_environment_as_it_was() -> None:
    names = [
        ".".join(path.with_suffix("").parts[1:])
        for path in SOURCES
        if path.parts[0] == "components" and path.name not in ("__init__.py", "__main__.py")
    ]
    code = (
        "import importlib, os, sys\n"
        "before = dict(os.environ)\n"
        f"for name in {sorted(names)!r}:\n"
        "    importlib.import_module(name)\n"
        "after = dict(os.environ)\n"
        "print(sorted(k for k in {*before, *after} if before.get(k) != after.get(k)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {key for key in ast.literal_eval(done.stdout.strip().splitlines()[-1])}
    assert {key for key in ours if key.startswith(("FPENET", "GOMP", "OMP", "PREFECT"))} == set()


def test_the_renderer_knows_nothing_of_the_pipeline() -> None:
    allowed = {"synthface", "numpy", "scipy", "PIL", *sys.stdlib_module_names}
    for path in SOURCES:
        if path.parts[:2] == ("components", "synthface"):
            assert {name.split(".")[0] for name in imports_of(path)} <= allowed, path


def test_a_folder_has_twelve_modules_at_most() -> None:
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > 12} == {}


def test_components_know_nothing_of_flows_and_infra() -> None:
    for package in ("flows", "infra"):
        assert not {path for path in importers(package) if path.startswith("components/")}


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("prefect", r"flows/"),
        ("mlflow", r"components/fpenet/release/registry/"),
        ("tensorrt", r"components/fpenet/deploy/"),
        ("tensorrt_rtx", r"components/fpenet/deploy/"),
        ("polygraphy.backend.trt", r"components/fpenet/deploy/"),
        ("great_expectations", r"components/fpenet/data/"),
        ("boto3", r"components/fpenet/provenance/object_store\.py"),
        ("dvc", r"components/fpenet/data/sources/dvc_(remote|project)\.py"),
        ("optuna", r"components/fpenet/model/sweep\.py"),
        ("torch", r"components/fpenet/(model/|tao/|deploy/onnx/export\.py)"),
    ],
)
def test_a_framework_has_one_place(package: str, places: str) -> None:
    found = importers(package)
    assert [path for path in sorted(found) if not re.match(places, path)] == []


def test_every_source_imports_where_the_optional_packages_are_absent() -> None:
    """The run of the examples in docstrings imports them all."""
    optional = {"av", "dlib", "face_recognition_models", "tensorrt", "tensorrt_rtx"}
    wrong = [
        f"{path} imports {name}"
        for path in SOURCES
        for name in imports_of(path, at_import=True)
        if name.partition(".")[0] in optional
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "modules",
    [
        "fpenet",
        "fpenet.cli.main",
        "fpenet.kpi.gate fpenet.kpi.evaluate fpenet.kpi.metrics",
        "fpenet.data.sample fpenet.keypoints fpenet.params",
        "fpenet.deploy.engines.targets fpenet.deploy.engines.build fpenet.deploy.bundle.bundle",
        "fpenet.deploy.runtime.infer fpenet.deploy.runtime.landmarker",
        "fpenet.deploy.benchmark.benchmark",
    ],
)
def test_the_edge_imports_neither_torch_nor_the_pipeline(modules: str) -> None:
    heavy = ("torch", "prefect", "mlflow", "great_expectations", "tensorrt", "tensorrt_rtx")
    imports = ", ".join(modules.split())
    code = f"import sys; import {imports}; print(*set({heavy!r}) & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def definitions() -> Iterator[tuple[Path, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every class and function of the sources, with its file."""
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_a_public_class_name_exists_once() -> None:
    places: dict[str, list[str]] = {}
    for path, node in definitions():
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            places.setdefault(node.name, []).append(path.as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_parameter_is_named_by_what_it_is() -> None:
    vague = {"said", "told", "wanted", "found", "own", "other", "how", "chance"}
    wrong = [
        f"{path}: {node.name}({argument.arg})"
        for path, node in definitions()
        if not isinstance(node, ast.ClassDef)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if argument.arg in vague
    ]
    assert wrong == []


def test_every_stage_function_takes_what_its_row_gives() -> None:
    import inspect

    for stage in STAGES.values():
        module, function = stage.run.split(":")
        takes = set(inspect.signature(getattr(import_module(module), function)).parameters)
        gives = {"inputs"} if stage.reads_all else {f"{name}_dir" for name in stage.inputs}
        gives |= set(stage.sections) | {"out_dir"}
        gives |= {"signing_key"} if stage.signs else set()
        gives |= {"trusted"} if stage.trusts else set()
        assert takes == gives, stage.name


def test_git_ignores_no_module_and_all_that_runs_leave_behind() -> None:
    tests = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")]
    kept = [path.as_posix() for path in [*SOURCES, *tests]]
    left = [
        ".keys/x.pem",
        "data/x.png",
        "work/train/x",
        "dvc/train/x",
        ".services/x",
        "mlruns/x",
        ".venv/x",
        "x/__pycache__/y",
    ]
    assert _ignored(kept) == []
    assert _ignored(left) == left


def _ignored(paths: list[str]) -> list[str]:
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(
        command, cwd=ROOT, input="\n".join(paths), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.split()


def test_modules_are_short_and_are_named_for_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handlers", "base"}
    assert [path for path in SOURCES if vague & {path.stem, *path.parts[:-1]}] == []
    long = [path for path in SOURCES if len((ROOT / path).read_text().splitlines()) > 300]
    assert long == []


def test_a_runtime_is_compared_by_name_in_the_folder_of_the_engines_only() -> None:
    wrong = [
        f"{path}: {ast.unparse(node)}"
        for path in SOURCES
        if path.parts[:4] != ("components", "fpenet", "deploy", "engines")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Compare)
        and ast.unparse(node.left).rpartition(".")[2] == "runtime"
        and any(isinstance(each, ast.Constant | ast.Tuple | ast.Set) for each in node.comparators)
    ]
    assert wrong == []


def test_no_source_gets_around_the_formatter() -> None:
    """No comment for it, no unpacked literal, no words split that could be a tuple."""
    files = [ROOT / path for path in SOURCES]
    files += [path for top in ("benchmarks", "tests") for path in (ROOT / top).rglob("*.py")]
    wrong = []
    for path in files:
        text = path.read_text()
        lines = [text[: match.start()].count("\n") + 1 for match in _FORMATTER_OFF.finditer(text)]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List):
                lines.append(node.lineno)
            if isinstance(node, ast.Attribute) and node.attr == "split":
                lines += [node.lineno] if isinstance(node.value, ast.Constant) else []
        wrong += [f"{path.relative_to(ROOT)}:{line}" for line in sorted(lines)]
    assert wrong == []


def test_no_file_in_flows_hides_a_library() -> None:
    """Prefect puts the flow file's folder first on sys.path."""
    names = [path.stem for path in SOURCES if path.parts[0] == "flows" and path.stem != "__init__"]
    specs = [spec for name in names if (spec := importlib.util.find_spec(name))]
    assert [spec.name for spec in specs if not str(spec.origin).startswith(str(ROOT))] == []


def test_every_preset_loads() -> None:
    presets = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
    assert {"full", "laptop", "standard"} <= set(presets)  # and those of import-tao and sweep
    for preset in presets:
        assert load_params(ROOT / "params.yaml", preset).preset == preset


def test_each_device_that_builds_for_itself_has_a_deployment_in_its_own_pool() -> None:
    from fpenet.deploy.engines.targets import TARGETS

    deployments = _yaml("prefect.yaml")["deployments"]
    pools = {each["name"]: each["work_pool"]["name"] for each in deployments}
    devices: dict[str, str] = {
        name: target.pool for name, target in TARGETS.items() if target.built_on_device
    }
    assert pools == {"train-and-release": "fpenet", "answer": "fpenet", **devices}
    for deployment in deployments:
        path, function = deployment["entrypoint"].split(":")
        assert f"def {function}(" in (ROOT / path).read_text()


def test_the_lock_has_the_pins_and_no_place_of_its_own() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, flags=re.MULTILINE))
    assert not re.search(r"file:|find-links|index-url|https?://|\+cpu", lock)
    assert not [name for name in locked if name.startswith(("torch", "nvidia-", "cuda-"))]
    assert "triton" not in locked
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [each for extra in project["optional-dependencies"].values() for each in extra]
    pinned = [each.partition("==") for each in wanted if "==" in each and "," not in each]
    pins = {name: version for name, _, version in pinned}
    assert f"TORCH := torch=={pins.pop('torch')}\n" in (ROOT / "Makefile").read_text()
    assert {name: locked.get(name) for name in pins} == pins
    names = {re.split(r"[=<>\[]", each)[0].lower() for each in [*wanted, *project["dependencies"]]}
    # torch and TensorRT fit the machine; HEIC is an extra that no environment of the lock has.
    assert names - {"torch", "tensorrt", "pillow-heif"} <= set(locked)


def _yaml(name: str) -> Mapping[str, Any]:
    tree: Mapping[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return tree
