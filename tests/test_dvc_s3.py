"""Data on a real S3 server: as the remote of DVC, and as labels read straight from there."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components import cli
from components.data import s3
from components.data.pointer import check_pointer
from components.provenance.digest import digest_dataset, files_of
from tests.dvc_project import DvcProject
from tests.s3_server import Bucket, S3Server

ROOT = Path(__file__).parents[1]


@pytest.fixture
def remote(faces_project: DvcProject, bucket: Bucket) -> DvcProject:
    """The project with its faces pushed to the bucket."""
    done = faces_project.fpenet("remote", *storage(bucket))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"s3://{bucket.name}/fpenet/dvc\n"
    done = faces_project.dvc("push")
    assert (done.returncode, done.stdout) == (0, "22 files pushed\n")  # the folder's list too
    return faces_project


def storage(bucket: Bucket) -> list[str]:
    pairs = {"bucket": bucket.name, "endpoint": bucket.server.endpoint}
    return [word for key, value in pairs.items() for word in ("--set", f"storage.{key}={value}")]


def wipe(project: DvcProject) -> None:
    shutil.rmtree(project.folder / ".dvc/cache")
    shutil.rmtree(project.folder / "data")


def test_faces_pushed_and_wiped_come_back_the_same_and_dvc_repro_goes_on(
    remote: DvcProject, bucket: Bucket
) -> None:
    said = []
    assert remote.dvc("push").stdout == "Everything is up to date.\n"
    before = digest_dataset(remote.folder / "data")
    assert len(bucket.keys("fpenet/dvc/files/md5/")) == 22
    wipe(remote)
    done = remote.dvc("pull", "data.dvc")
    assert done.returncode == 0, done.stderr
    assert digest_dataset(remote.folder / "data") == before
    check_pointer(remote.folder / "data")
    done = remote.dvc("status", "data.dvc")
    assert (done.returncode, done.stdout) == (0, "Data and pipelines are up to date.\n")
    said.append(remote.dvc("repro", "-v", "validate"))
    assert said[-1].returncode == 0, said[-1].stderr
    assert "Running stage 'validate'" in said[-1].stdout
    said.append(remote.dvc("push", "-v"))
    secret = bucket.server.secret
    for one in said:
        assert secret not in one.stdout + one.stderr
    folders = (remote.folder / "dvc", remote.folder / ".dvc", remote.folder / ".git")
    kept = [path for folder in folders for path in files_of(folder)]
    kept += [path for path in remote.folder.iterdir() if path.is_file()]
    names = {path.relative_to(remote.folder).as_posix() for path in kept}
    assert {".dvc/config.local", "dvc/validate/manifest.json", "dvc.lock"} <= names
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert not any(secret.encode() in body for body in bucket.objects().values())


def test_an_object_that_changed_on_the_server_is_not_pulled(
    remote: DvcProject, bucket: Bucket
) -> None:
    key = next(key for key in bucket.keys() if not key.endswith(".dir"))
    body = bytearray(bucket.objects(key)[key])
    body[len(body) // 2] ^= 1
    bucket.put(key, bytes(body))
    wipe(remote)
    done = remote.dvc("pull", "data.dvc")
    assert done.returncode != 0
    assert not (remote.folder / ".dvc/cache/files/md5" / "/".join(key.split("/")[-2:])).exists()


def test_a_wrong_secret_is_refused_and_not_told(remote: DvcProject, bucket: Bucket) -> None:
    wipe(remote)
    wrong = {"AWS_SECRET_ACCESS_KEY": "canary-wrong-secret"}
    done = remote.dvc("pull", "data.dvc", env=wrong)
    assert done.returncode != 0
    assert "Forbidden" in done.stderr
    told = done.stdout + done.stderr
    done = remote.fpenet("remote", *storage(bucket), env=wrong)
    assert done.returncode == 2
    assert done.stderr.startswith("fpenet remote: s3://test-bucket/fpenet/dvc: access refused (")
    assert done.stderr.count("\n") == 1
    for secret in ("canary-wrong-secret", bucket.server.secret):
        assert secret not in told + done.stdout + done.stderr


@pytest.fixture
def fpenet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run one command below ``tmp_path/root``: its exit status, stdout and stderr."""
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.chdir(tmp_path)

    def call(
        command: str, labels: str, endpoint: str | None = None, root: str = "root"
    ) -> tuple[int, str, str]:
        pairs = {"data.labels": labels, "validate.min_faces": 5}
        if endpoint:
            pairs["storage.endpoint"] = endpoint
        sets = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        words = [command, "--params", str(ROOT / "params.yaml"), "--root", root, *sets]
        status = cli.main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_stage_reads_s3_as_it_reads_the_same_faces_here(
    bucket: Bucket, fpenet: Any, tiny_labels: Any, tmp_path: Path
) -> None:
    faces = tiny_labels.write()
    endpoint = bucket.server.endpoint
    for prefix in ("2026/march", "2026/april"):
        bucket.put_folder(faces, f"{prefix}/faces")
    url = f"s3://{bucket.name}/2026/march/faces"
    status, here, error = fpenet("fetch", url, endpoint)
    assert (status, error) == (0, "")
    assert here == f"root/labels/{digest_dataset(faces)[:16]}/faces\n"
    assert fpenet("validate", url, endpoint)[0] == 0
    assert fpenet("validate", str(faces), root="local")[0] == 0
    ours, local = (
        json.loads((tmp_path / root / "validate/manifest.json").read_text())
        for root in ("root", "local")
    )
    assert ours["inputs"] == local["inputs"]
    assert ours["summary"] == local["summary"]
    tables = [pq.read_table(tmp_path / root / "validate/samples.parquet") for root in ("root", "local")]
    assert tables[0].equals(tables[1])  # the metadata says where they lie
    # the same faces at another place are the same input, and the stage does not run again
    assert fpenet("validate", f"s3://{bucket.name}/2026/april/faces", endpoint)[0] == 0
    again = json.loads((tmp_path / "root/validate/manifest.json").read_text())
    assert again["key"] == ours["key"]
    written = [path for path in files_of(tmp_path / "root") if path.is_file()]
    assert not [path for path in written if bucket.server.secret.encode() in path.read_bytes()]


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("command", ["fetch", "validate"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("s3://no-such-bucket/faces", "s3://no-such-bucket/faces/: no such bucket"),
        ("s3://test-bucket/nowhere", "s3://test-bucket/nowhere: nothing lies there; give the "),
        ("s3://test-bucket/faces/other.json", "faces/other.json: no such object"),
        ("s3://Faces", "data.labels: must be s3://bucket/prefix"),
    ],
)
def test_what_is_not_there_is_one_line(
    bucket: Bucket, fpenet: Any, tmp_path: Path, command: str, labels: str, said: str
) -> None:
    bucket.put("faces/labels.json", b"[]")
    status, _, error = fpenet(command, labels, bucket.server.endpoint)
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith(f"fpenet {command}: ")
    assert said in error
    assert [path.name for path in files_of(tmp_path)] in ([".lock"], [])


def test_a_server_that_is_not_there_is_one_line(bucket: Bucket, fpenet: Any) -> None:
    endpoint = f"http://127.0.0.1:{closed_port()}"
    status, _, error = fpenet("fetch", f"s3://{bucket.name}/faces", endpoint)
    assert status == 2
    assert error == (
        f"fpenet fetch: s3://{bucket.name}/faces/: nothing answers at {endpoint}"
        " (storage.endpoint)\n"
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "canary-wrong", "access refused (SignatureDoesNotMatch); check"),
        ("AWS_ACCESS_KEY_ID", "nobody", "access refused (InvalidAccessKeyId); check the key, its"),
        ("AWS_SECRET_ACCESS_KEY", None, "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET"),
    ],
)
def test_credentials_that_do_not_do_are_one_line(
    bucket: Bucket, fpenet: Any, monkeypatch: pytest.MonkeyPatch, key: str, value: Any, said: str
) -> None:
    if value is None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv(key)
    else:
        monkeypatch.setenv(key, value)
    status, out, error = fpenet("fetch", f"s3://{bucket.name}/faces", bucket.server.endpoint)
    assert (status, error.count("\n")) == (2, 1)
    assert said in error
    assert "canary" not in out + error


def test_a_secret_in_the_params_is_refused_and_not_told(fpenet: Any, s3_server: S3Server) -> None:
    status, out, error = fpenet("fetch", f"s3://key:{s3_server.secret}@faces/a")
    assert (status, error.count("\n")) == (2, 1)
    assert s3_server.secret not in out + error


def test_a_remote_needs_a_bucket_and_a_dvc_project(
    dvc_project: DvcProject, bucket: Bucket, fpenet: Any
) -> None:
    status, _, error = fpenet("remote", "data")
    assert (status, error.count("\n")) == (2, 1)
    assert "storage.bucket is null" in error
    shutil.rmtree(dvc_project.folder / ".dvc")
    done = dvc_project.fpenet("remote", *storage(bucket))
    assert done.returncode == 2
    assert "not a DVC project" in done.stderr
