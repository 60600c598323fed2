"""DVC's .dvcignore and links into its cache: the check of the pointer says what DVC says."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.core.errors import InputError
from fpenet.data.readers import read_labels
from fpenet.data.sources import dvc_project
from fpenet.data.sources.dvc_pointer import check_pointer
from fpenet.params import Params
from tests.dvc_project import DvcProject

CACHE = Path(".dvc/cache/files/md5")


def place_of(project: DvcProject, out: str) -> Path:
    """Where the cache holds a file."""
    from dvc.api import DVCFileSystem

    md5 = str(DVCFileSystem(str(project.folder)).info(out)["dvc_info"]["md5"])
    return project.folder / CACHE / md5[:2] / md5[2:]


def told(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        check_pointer(folder)
    return str(refused.value)


def test_a_file_that_dvc_ignores_is_no_part_of_the_set(faces_project: DvcProject) -> None:
    Path("data/images/.DS_Store").write_text("x")
    assert "(first: images/.DS_Store)" in told(Path("data"))
    with Path(".dvcignore").open("a") as file:
        file.write(".DS_Store\n")
    assert faces_project.dvc("status", "data.dvc")[1] == "Data and pipelines are up to date.\n"
    check_pointer(Path("data"))
    assert faces_project.fpenet("validate")[0] == 0


def test_the_advice_deletes_nothing_and_brings_the_faces_back(faces_project: DvcProject) -> None:
    changed = Path("data/images/s004_1.png")
    before = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(b"another")
    text = told(Path("data"))
    assert "(first: images/s004_1.png)" in text
    assert not re.search(r"`rm |--force|dvc/cache", text)
    folder = faces_project.folder / "data"
    assert f"or `mv {folder} {folder}.kept` and `dvc checkout data.dvc` bring" in text
    Path("data").rename("data.kept")
    assert faces_project.dvc("checkout", "data.dvc")[0] == 0
    check_pointer(Path("data"))
    assert changed.read_bytes() == before


def test_a_cache_without_the_recorded_file_is_not_said_to_have_it(
    faces_project: DvcProject,
) -> None:
    place_of(faces_project, "data/images/s004_1.png").unlink()
    Path("data/images/s004_1.png").unlink()
    assert ".kept` and `dvc pull data.dvc` bring" in told(Path("data"))
    shutil.rmtree(CACHE)
    assert ".kept` and `dvc pull data.dvc` bring" in told(Path("data"))


@pytest.mark.parametrize("shared", [False, True])
def test_faces_that_are_links_into_dvcs_own_cache_are_read(
    faces_project: DvcProject, params_with: Callable[..., Params], shared: bool, tmp_path: Path
) -> None:
    if shared:
        shutil.move(".dvc/cache", tmp_path / "shared")
        assert faces_project.dvc("config", "--local", "cache.dir", str(tmp_path / "shared"))[0] == 0
    assert faces_project.dvc("config", "--local", "cache.type", "symlink")[0] == 0
    shutil.rmtree("data")
    assert faces_project.dvc("checkout", "data.dvc")[0] == 0
    dvc_project.cache_of.cache_clear()  # the settings have changed in this process
    assert Path("data/images/s004_1.png").is_symlink()
    labelled = read_labels(Path("data"), params_with().data)
    assert (len(labelled.samples), labelled.rejected) == (20, [])
    check_pointer(Path("data"))
    Path("data/images/s004_1.png").unlink()
    (tmp_path / "elsewhere.png").write_bytes(b"x")
    Path("data/images/s004_1.png").symlink_to(tmp_path / "elsewhere.png")
    (refused,) = read_labels(Path("data"), params_with().data).rejected
    assert "is outside of the labels' folder" in refused.detail
