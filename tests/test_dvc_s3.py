"""Data on a real S3 server: as the remote of DVC, and as labels read straight from there."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fpenet.cli import main as cli
from fpenet.data.sources.dvc_pointer import check_pointer
from fpenet.provenance import object_store
from fpenet.provenance.digest import digest_dataset, files_of
from tests.dvc_project import DvcProject, storage
from tests.s3_server import Bucket, S3Server

ROOT = Path(__file__).parents[1]


def wipe(project: DvcProject) -> None:
    shutil.rmtree(project.folder / ".dvc/cache")
    shutil.rmtree(project.folder / "data")


@pytest.mark.slow
def test_faces_pushed_and_wiped_come_back_the_same_and_dvc_repro_goes_on(
    pushed: DvcProject, bucket: Bucket
) -> None:
    said = []
    assert pushed.dvc("push") == (0, "Everything is up to date.\n")
    before = digest_dataset(pushed.folder / "data")
    assert len(bucket.names("fpenet/dvc/files/md5/")) == 22
    wipe(pushed)
    said.append(pushed.dvc("pull", "-v", "data.dvc"))
    assert digest_dataset(pushed.folder / "data") == before
    check_pointer(pushed.folder / "data")
    assert pushed.dvc("status", "data.dvc") == (0, "Data and pipelines are up to date.\n")
    said.append(pushed.dvc("repro", "-v", "validate"))
    assert "Running stage 'validate'" in said[-1][1]
    said.append(pushed.dvc("push", "-v"))
    assert [status for status, _ in said] == [0, 0, 0]
    secret = bucket.server.secret
    assert [text for _, text in said if secret in text] == []
    kept = files_of(pushed.folder)
    names = {path.relative_to(pushed.folder).as_posix() for path in kept}
    assert {".dvc/config.local", "dvc/validate/manifest.json", "dvc.lock"} <= names
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert not any(secret.encode() in body for body in bucket.objects().values())


def test_an_object_that_changed_on_the_server_is_not_pulled(
    pushed: DvcProject, bucket: Bucket
) -> None:
    key = next(key for key in bucket.names() if not key.endswith(".dir"))
    body = bytearray(bucket.objects(key)[key])
    body[len(body) // 2] ^= 1
    bucket.put(key, bytes(body))
    wipe(pushed)
    status, said = pushed.dvc("pull", "data.dvc")
    assert status != 0, said
    assert not (pushed.folder / ".dvc/cache/files/md5" / "/".join(key.split("/")[-2:])).exists()


def test_a_wrong_secret_is_refused_and_not_told(
    faces_project: DvcProject, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert faces_project.fpenet("remote", *storage(bucket))[0] == 0
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong-secret")
    status, told = faces_project.dvc("push")
    assert status != 0
    assert "Forbidden" in told
    assert bucket.names() == []
    status, said = faces_project.fpenet("remote", *storage(bucket))
    assert status == 2
    assert said.startswith("fpenet remote: s3://test-bucket/fpenet/dvc: access refused (Signature")
    assert said.count("\n") == 1
    assert "canary" not in told + said
    local = (faces_project.folder / ".dvc/config.local").read_text()
    assert "canary" not in local
    assert bucket.server.access_key not in local


@pytest.fixture
def fpenet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run one command below ``tmp_path/root``: its exit status, stdout and stderr."""
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
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
    status, said, error = fpenet("fetch", url, endpoint)
    folder = Path("root/labels", digest_dataset(faces)[:16], "faces")
    assert (status, said, error) == (0, f"{folder}\n", "")
    assert fpenet("validate", url, endpoint)[0] == 0
    manifest = json.loads(Path("root/validate/manifest.json").read_text())
    assert manifest["inputs"] == {"labels": digest_dataset(faces)}
    assert (manifest["summary"]["kept"], manifest["summary"]["dataset"]) == (20, "faces")
    table = pq.read_table("root/validate/samples.parquet")
    assert table.schema.metadata[b"root"].decode() == str(tmp_path / folder)
    # that folder, and the same faces at another prefix, have the same key
    for labels in (str(folder), f"s3://{bucket.name}/2026/april/faces"):
        status, said, _ = fpenet("plan", labels, endpoint)
        assert (status, said.splitlines()[0].split()) == (0, ["validate", "done"])
    written = files_of(tmp_path / "root")
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
        ("s3://test-bucket/nowhere", "s3://test-bucket/nowhere: no objects; name the "),
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
        f"fpenet fetch: s3://{bucket.name}/faces/: no server answers at {endpoint}"
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


def test_a_remote_needs_a_bucket_and_a_dvc_project(dvc_project: DvcProject, bucket: Bucket) -> None:
    status, said = dvc_project.fpenet("remote")
    assert (status, said.count("\n")) == (2, 1)
    assert "storage.bucket is null" in said
    shutil.rmtree(dvc_project.folder / ".dvc")
    status, said = dvc_project.fpenet("remote", *storage(bucket))
    assert (status, said.count("\n")) == (2, 1)
    assert "not a DVC project" in said
