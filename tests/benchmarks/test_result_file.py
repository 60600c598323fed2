"""--save writes figures with their header; make bench-check tells the figures that are older."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.check import measured_files, script_of
from benchmarks.result_file import RESULTS, Header, read_headers, render, save

ROOT = Path(__file__).parents[2]
COPIED = (
    "benchmarks/result_file.py",
    "benchmarks/check.py",
    "components/fpenet/core/python_source.py",
    "components/fpenet/provenance/digest.py",
)
HEADER = Header("python -m benchmarks.net", "abc1234", "2026-11-24", "a CPU", "Python 3.11")
NET = '''"""How fast a net is, beside another."""

import argparse

from benchmarks.result_file import NothingToMeasure, run_benchmark
from fpenet.net import layers

MEASURES = ("fpenet.net",)


def measure(options):
    print(f"{layers()} layers, {options.times} times")
    if options.times == 0:
        raise NothingToMeasure("0 times")
    if options.times < 0:
        raise ValueError("fewer than 0 times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=2)
    run_benchmark(parser, measure)
'''


@dataclass(frozen=True)
class Project:
    """A git repository with one benchmark, of ``fpenet.net``, which imports ``layers``."""

    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / RESULTS / "net.md"

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        for words in (["add", "-A"], [*who, "commit", "-q", "--allow-empty", "-m", "a change"]):
            subprocess.run(["git", *words], cwd=self.folder, check=True)
        words = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.check_output(words, cwd=self.folder, text=True).strip()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.folder / "components"),
        }
        command = [sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    for name in COPIED:
        made.write(name, (ROOT / name).read_text(encoding="utf-8"))
    for package in ("benchmarks", "components/fpenet", "components/fpenet/provenance"):
        made.write(f"{package}/__init__.py", "")
    made.write("benchmarks/net.py", NET)
    made.write("components/fpenet/net.py", "from fpenet.layers import layers\n")
    made.write("components/fpenet/layers.py", "def layers() -> int:\n    return 3\n")
    made.write("components/fpenet/other.py", "")
    subprocess.run(["git", "init", "-q"], cwd=made.folder, check=True)
    made.commit()
    return made


def test_saved_figures_have_command_commit_date_machine_and_versions(project: Project) -> None:
    commit = project.commit()
    done = project.run("benchmarks.net", "--times", "5", "--save")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "3 layers, 5 times"
    (header,) = read_headers(project.result)
    assert header.command == "python -m benchmarks.net --times 5"
    assert header.commit == commit
    assert not header.changed
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", header.date)
    assert re.search(r"\d cores, load \d", header.machine)
    assert header.versions.startswith(f"Python {sys.version_info.major}.")
    text = project.result.read_text()
    assert text.startswith("# How fast a net is, beside another\n")
    assert "```\n3 layers, 5 times\n```" in text


def test_code_that_differs_from_its_commit_is_told(project: Project) -> None:
    project.write("components/fpenet/layers.py", "def layers() -> int:\n    return 4\n")
    project.run("benchmarks.net", "--save")
    (header,) = read_headers(project.result)
    assert header.changed
    assert "with local changes" in project.result.read_text()


@pytest.mark.parametrize(("times", "status"), [("0", 0), ("-1", 1)])
def test_nothing_is_saved_where_nothing_was_measured(
    project: Project, times: str, status: int
) -> None:
    done = project.run("benchmarks.net", f"--times={times}", "--save")
    assert done.returncode == status
    assert not project.result.exists()


def test_without_save_figures_are_printed_only(project: Project) -> None:
    assert project.run("benchmarks.net").stdout == "3 layers, 2 times\n"
    assert not project.result.exists()


def test_the_same_command_replaces_its_figures_and_text_by_hand_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.md"
    save(path, "Nets", HEADER, "first")
    path.write_text(path.read_text() + "\nThe bar is 2.\n")
    other = Header("python -m benchmarks.net --times 9", "abc1234", "2026-11-24", "a CPU", "none")
    table = "| a table |\n|---|\n| 9 |"
    save(path, "Nets", other, table)
    save(path, "Nets", HEADER, "second")
    first, second = render(HEADER, "second"), render(other, table)
    assert path.read_text() == f"# Nets\n\n{first}\n\n{second}\n\nThe bar is 2.\n"
    assert "```" not in second
    assert read_headers(path) == [HEADER, other]


def test_figures_are_older_once_a_measured_file_changed_after_them(project: Project) -> None:
    measured = project.commit()
    project.run("benchmarks.net", "--save")
    project.commit()
    done = project.run("benchmarks.check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("1 measurements in 1 files: 0 older than the code they measured\n")

    project.write("components/fpenet/other.py", "x = 1\n")  # which the benchmark does not measure
    project.commit()
    assert "0 older" in project.run("benchmarks.check").stdout

    project.write("components/fpenet/layers.py", "def layers() -> int:\n    return 4\n")
    changed = project.commit()
    done = project.run("benchmarks.check")
    assert done.returncode == 0
    assert "net.md: `python -m benchmarks.net`" in done.stdout
    assert f"measured at {measured}" in done.stdout
    assert f"1 of 2 files changed, last in {changed} of" in done.stdout
    assert "components/fpenet/layers.py" in done.stdout
    assert "1 measurements in 1 files: 1 older" in done.stdout


def test_a_commit_that_is_not_in_the_history_is_told(project: Project) -> None:
    project.write("benchmarks/results/net.md", f"# Nets\n\n{render(HEADER, 'figures')}\n")
    done = project.run("benchmarks.check")
    assert done.returncode == 0
    assert "abc1234 is not in this repository's history" in done.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# Nets\n\n3 layers\n", "net.md: no measurement"),
        (render(HEADER, "3").replace("| date | 2026-11-24 |\n", ""), "without date in its header"),
        (
            render(HEADER, "3").replace("benchmarks.net", "benchmarks.gone"),
            "no benchmark of this project runs by `python -m benchmarks.gone`",
        ),
    ],
    ids=["no header", "no date", "no such command"],
)
def test_a_result_file_without_a_whole_header_fails_the_check(
    project: Project, text: str, reason: str
) -> None:
    project.write("benchmarks/results/net.md", text)
    done = project.run("benchmarks.check")
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / RESULTS).glob("*.md")), ids=lambda path: path.stem)
def test_every_result_file_has_headers_whose_benchmarks_exist(path: Path) -> None:
    for header in read_headers(path):
        script = script_of(path, header)
        assert script.stem == path.stem
        assert measured_files(script)
