"""Case 65: the project as a ZIP, without .git."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_dvc_repro_runs_without_git_as_the_readme_says(tmp_path: Path) -> None:
    for name in (".dvc", "components", "presets"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("cache", "tmp", "config.local", "__pycache__"),
        )
    for name in ("dvc.yaml", "params.yaml", "data.dvc", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "data").mkdir()

    def dvc(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = dvc("repro", "--dry")
    assert refused.returncode != 0
    setting = "dvc config core.no_scm true"
    assert setting in (ROOT / "README.md").read_text(encoding="utf-8")
    assert dvc(*setting.split()[1:]).returncode == 0
    done = dvc("repro", "--dry", "--single-item", "validate")
    assert done.returncode == 0, done.stderr
    assert "Running stage 'validate'" in done.stdout
