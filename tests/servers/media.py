"""A loopback HTTP server in a thread that serves media well, or badly in every way a remote server can."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behaviour = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request. `raw` writes bytes as they are, so that a behaviour may lie about them."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.owner.seen.append((path, {k.lower(): v for k, v in self.headers.items()}))
        behaviour = self.server.owner.routes.get(path, status(404))
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough, which is what some tests are about

    def log_message(self, format: str, *args: object) -> None:
        pass

    def head(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def raw(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: MediaServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # broken connections are part of the play


class MediaServer:
    """`routes` maps a path to its behaviour and may be changed at any time; `seen` lists (path, lower-case headers)."""

    def __init__(self, port: int, stop: threading.Event, scheme: str = "http") -> None:
        self.routes: dict[str, Behaviour] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.port = port
        self.stop = stop
        self.scheme = scheme

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def media_server(tls: ssl.SSLContext | None = None) -> Iterator[MediaServer]:
    """Run until the block ends. Endless behaviours end with it."""
    stop = threading.Event()
    server = _Server(("127.0.0.1", 0), Exchange)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.owner = MediaServer(server.server_address[1], stop, "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.owner
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def body(data: bytes, **headers: str) -> Behaviour:
    """Answer 200 with `data`."""

    def play(x: Exchange) -> None:
        x.head(200, Content_Length=str(len(data)), **headers)
        x.raw(data)

    return play


def with_etag(data: bytes) -> Behaviour:
    """Answer 200 with an ETag of the content, and 304 to whoever has it."""
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'

    def play(x: Exchange) -> None:
        if x.headers.get("If-None-Match") == etag:
            x.head(304, ETag=etag)
        else:
            body(data, ETag=etag)(x)

    return play


def status(code: int, **headers: str) -> Behaviour:
    def play(x: Exchange) -> None:
        x.head(code, Content_Length="0", **headers)

    return play


def redirect(to: str, code: int = 302) -> Behaviour:
    return status(code, Location=to)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request gets the first, and so on; the last one stays."""
    left = list(behaviours)

    def play(x: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(x)

    return play


def shorter_than_promised(data: bytes, promised: int) -> Behaviour:
    """Promise more bytes than are sent, then hang up."""

    def play(x: Exchange) -> None:
        x.head(200, Content_Length=str(promised))
        x.raw(data)
        x.close_connection = True

    return play


def endless(x: Exchange) -> None:
    """A body without a length that does not end."""
    x.head(200, Connection="close")
    while not x.server.owner.stop.is_set():
        x.raw(b"\0" * 65536)


def dripping(x: Exchange) -> None:
    """A byte now and then: never silent for long, never done."""
    x.head(200, Content_Length="1000000")
    while not x.server.owner.stop.wait(0.02):
        x.raw(b"\0")


def dripping_head(x: Exchange) -> None:
    """The same, before the headers are even complete."""
    x.raw(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not x.server.owner.stop.wait(0.02):
        x.raw(b"a")


def self_signed(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server, client) contexts around a certificate made now for the host `name`, trusted by that client only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        other = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = certificate.public_bytes(serialization.Encoding.PEM)
    pem.write_bytes(private + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=public.decode())
