"""F08: faces or results that DVC gives back with other bytes stop before a stage reads them."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from fpenet.provenance.digest import digest_dataset
from tests.dvc_project import DvcProject

CACHE = Path(".dvc/cache/files/md5")


def place_of(md5: str) -> Path:
    return CACHE / md5[:2] / md5[2:]


def md5_of(project: DvcProject, out: str) -> str:
    """MD5 of one file, as DVC has it."""
    from dvc.api import DVCFileSystem

    info = DVCFileSystem(str(project.folder)).info(out)
    return str(info["dvc_info"]["md5"])


def flip_a_bit(path: Path) -> None:
    """As a disk does it: size, time and mode of the file stay."""
    before = path.stat()
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(body)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refuses_to_train(project: DvcProject, capfd: pytest.CaptureFixture[str], line: str) -> None:
    """``dvc repro train`` ends at the stage validate, whose own line says why."""
    capfd.readouterr()
    status, said = project.dvc("repro", "train")
    assert status != 0
    ran = [each.split("'")[1] for each in said.splitlines() if each.startswith("Running stage")]
    assert ran == ["validate"]
    (told,) = [each for each in capfd.readouterr().err.splitlines() if "fpenet validate: " in each]
    assert line in told
    assert not Path("dvc").exists() or not list(Path("dvc").glob("[!.]*"))


def stops(project: DvcProject, said: str, *parts: str) -> None:
    """The one line of an error that ends with exit status 2 holds all ``parts``."""
    assert said.count("\n") == 1, said
    assert [part for part in parts if part not in said] == [], said
    assert not (project.folder / "dvc/train").exists()


def test_f08_a_bit_flipped_in_the_cache_stops_the_stage_that_reads_it_and_a_pull_mends_it(
    pushed: DvcProject,
) -> None:
    before = digest_dataset(Path("data"))
    flip_a_bit(place_of(md5_of(pushed, "data/images/s004_1.png")))
    shutil.rmtree("data")
    assert pushed.dvc("checkout", "data.dvc")[0] == 0
    assert pushed.dvc("status", "data.dvc")[1] == "Data and pipelines are up to date.\n"  # not so
    status, said = pushed.fpenet("validate")
    assert status == 2
    broken = place_of(md5_of(pushed, "data/images/s004_1.png")).resolve()
    folder = pushed.folder / "data"
    advice = f"`mv {folder} {folder}.kept`, `mv {broken} {broken}.broken` and `dvc pull data.dvc`"
    stops(pushed, said, "first: images/s004_1.png", f"{advice} bring the recorded faces back")
    assert not Path("dvc/validate").exists()
    Path("data").rename("data.kept")  # as the message says
    broken.rename(broken.with_suffix(".broken"))
    status, said = pushed.dvc("pull", "data.dvc")
    assert status == 0, said
    assert digest_dataset(Path("data")) == before
    assert pushed.fpenet("validate")[0] == 0

    assert pushed.dvc("commit", "--force", "validate")[0] == 0
    assert pushed.dvc("push")[0] == 0
    flip_a_bit(place_of(md5_of(pushed, "dvc/validate/samples.parquet")))
    shutil.rmtree("dvc/validate")
    assert pushed.dvc("checkout", "validate")[0] == 0
    status, said = pushed.fpenet("split")
    assert status == 2
    stops(pushed, said, "dvc/validate/samples.parquet: SHA-256 is ", "run the stage again")
    assert not Path("dvc/split").exists()
    mend(pushed, "dvc/validate", "validate")
    assert pushed.fpenet("split")[0] == 0


def mend(project: DvcProject, folder: str, target: str) -> None:
    """What the error and the README say."""
    shutil.rmtree(folder)
    shutil.rmtree(".dvc/tmp/broken", ignore_errors=True)
    Path(".dvc/cache").rename(".dvc/tmp/broken")
    status, said = project.dvc("pull", target)
    assert status == 0, said


def test_f08_a_bit_flipped_in_a_cache_that_the_faces_are_linked_to_stops_before_training(
    faces_project: DvcProject, capfd: pytest.CaptureFixture[str]
) -> None:
    assert faces_project.dvc("config", "--local", "cache.type", "hardlink")[0] == 0
    assert faces_project.dvc("checkout", "--relink", "data.dvc")[0] == 0
    broken = place_of(md5_of(faces_project, "data/labels.json"))
    assert broken.samefile("data/labels.json")
    flip_a_bit(broken)
    refuses_to_train(faces_project, capfd, "(first: labels.json); `dvc add data`")


@pytest.mark.parametrize("wiped", [False, True])
def test_f08_a_wrong_md5_in_data_dvc_stops_before_training(
    faces_project: DvcProject, capfd: pytest.CaptureFixture[str], wiped: bool
) -> None:
    right = Path("data.dvc").read_text()
    md5 = yaml.safe_load(right)["outs"][0]["md5"]
    wrong = "0" * 32 + ".dir"
    Path("data.dvc").write_text(right.replace(md5, wrong))
    faces_project.git("commit", "--quiet", "--all", "--message", "wrong")
    if wiped:
        shutil.rmtree("data")
        status, said = faces_project.dvc("checkout", "data.dvc")
        assert status != 0
        assert "data" in said
        assert faces_project.dvc("repro", "train")[0] != 0
        assert not Path("dvc").exists()
    else:
        status, said = faces_project.fpenet("validate")
        assert status == 2
        stops(faces_project, said, f"data: MD5 is {md5}, but", f"has {wrong}")
        refuses_to_train(
            faces_project, capfd, "data.dvc: differs from its version in git; `git add data"
        )
        assert Path("data.dvc").read_text() == right  # DVC has written it anew


def test_f08_faces_that_dvc_repro_would_record_anew_stop_before_training(
    faces_project: DvcProject, capfd: pytest.CaptureFixture[str]
) -> None:
    recorded = Path("data.dvc").read_text()
    with Path("data/images/s004_1.png").open("ab") as file:
        file.write(b"x")  # DVC sees this one, and takes it for the new version
    refuses_to_train(faces_project, capfd, "accepts these faces, or `git checkout data.dvc`, `mv ")
    assert Path("data.dvc").read_text() != recorded


def test_f08_a_wrong_md5_in_dvc_lock_runs_the_stage_again_or_stops(
    faces_project: DvcProject,
) -> None:
    for name in ("validate", "split"):
        Path("dvc", name).mkdir(parents=True)
        Path("dvc", name, "file").write_text(name)
    assert faces_project.dvc("commit", "--force", "validate", "split")[0] == 0
    lock = Path("dvc.lock").read_text()
    md5 = yaml.safe_load(lock)["stages"]["validate"]["outs"][0]["md5"]
    assert lock.count(md5) == 2  # what split reads, too
    Path("dvc.lock").write_text(lock.replace(md5, "0" * 32 + ".dir"))
    _, said = faces_project.dvc("status", "validate", "split")
    assert "modified:           dvc/validate" in said
    shutil.rmtree("dvc/validate")
    status, said = faces_project.dvc("checkout", "validate")
    assert status != 0
    assert "dvc/validate" in said
