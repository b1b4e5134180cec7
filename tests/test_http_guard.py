"""The guarded client: public addresses only, every hop judged, one address for check and connection, nothing endless."""

from __future__ import annotations

import ipaddress
import pickle
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.media import (
    MediaServer,
    body,
    dripping,
    dripping_head,
    endless,
    in_turn,
    media_server,
    redirect,
    self_signed,
    shorter_than_promised,
    status,
)
from viralsync_pipelines.addresses import AddressRefused, Allow, is_public, verified
from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.http import Permanent, Transient, open_client, raise_for_status, retry_after, retrying, shown, stream


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


@pytest.fixture
def client(server: MediaServer) -> Iterator[httpx.Client]:
    """May reach this one server on loopback, and nothing else that is not public."""
    with open_client(allow=[server.authority], connect_s=5, read_s=5) as opened:
        yield opened


def read(client: httpx.Client, url: str, *, plain_http: bool = True) -> bytes:
    with stream(client, url, plain_http=plain_http) as answer:
        return b"".join(answer.iter_raw())


CLOSED = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1"),
    *("198.18.0.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "fe80::1"),
    *("fe80::1%eth0", "2606:4700::1111%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::"),
    *("3fff::1", "100::1", "::127.0.0.1", "fec0::1", "localhost", "1", ""),
]
OPEN = [
    *("1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"),
    *("2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"),
]


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_public_is_closed(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OPEN)
def test_a_public_address_is_open(address: str) -> None:
    assert is_public(address)


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_python_calls_special_is_open(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = (
        address.is_private or address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    ) or address.is_reserved
    assert not (special and is_public(str(address)))


def test_one_private_address_among_public_ones_spoils_the_host() -> None:
    with pytest.raises(AddressRefused, match="private or reserved"):
        verified("mixed.test", 443, Allow(), lambda host, port: ["93.184.216.34", "10.0.0.1"])


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "covered"),
    [
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.1", 8000, True),
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.1", 8001, False),
        ("127.0.0.1", "evil.test", "127.0.0.1", 80, True),
        ("10.1.0.0/16", "media", "10.1.9.9", 80, True),
        ("10.1.0.0/16", "media", "10.2.0.1", 80, False),
        ("media.internal", "MEDIA.internal.", "10.2.0.1", 9000, True),
        ("media.internal:9000", "media.internal", "10.2.0.1", 9001, False),
        ("media.internal", "other.internal", "10.2.0.1", 9000, False),
        ("[::1]:80", "localhost", "::1", 80, True),
        ("[::1]:80", "localhost", "::1", 81, False),
        ("fd00::/8", "x", "fd12::1", 5, True),
    ],
)
def test_an_allowance_opens_what_it_names_and_no_more(entry: str, host: str, address: str, port: int, covered: bool) -> None:
    assert Allow.of([entry]).covers(host, ipaddress.ip_address(address), port) is covered


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "http://x/", "", "a:b:c:d"])
def test_an_allowance_that_makes_no_sense_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a host"):
        Allow.of([entry])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_loopback_is_refused_in_every_spelling_and_not_connected_to(host: str, server: MediaServer) -> None:
    server.routes["/"] = body(b"secret")
    with open_client() as guarded, pytest.raises(Permanent) as caught:
        read(guarded, server.url("/", host))
    assert caught.value.code in {"ADDRESS_REFUSED", "HOST_UNKNOWN", "HTTP_URL_INVALID"}
    assert server.seen == []


def test_another_port_of_an_allowed_host_stays_closed(client: httpx.Client) -> None:
    with media_server() as other:
        with pytest.raises(Permanent) as caught:
            read(client, other.url("/"))
        assert caught.value.code == "ADDRESS_REFUSED"
        assert other.seen == []


def test_a_redirect_into_a_private_network_is_refused(server: MediaServer, client: httpx.Client) -> None:
    with media_server() as inside:
        for target in [inside.url("/secret"), "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.1/"]:
            server.routes["/go"] = redirect(target)
            with pytest.raises(Permanent) as caught:
                read(client, server.url("/go"))
            assert caught.value.code == "ADDRESS_REFUSED"
        assert inside.seen == []


def test_a_key_goes_to_the_server_that_was_asked_and_to_no_other(server: MediaServer) -> None:
    with media_server() as other, open_client(allow=("127.0.0.1",)) as both:
        server.routes["/go"], server.routes["/on"] = redirect("/on"), redirect(other.url("/file"))
        other.routes["/file"] = body(b"picture")
        with stream(both, server.url("/go"), headers={"If-None-Match": "x"}, secret={"X-Key": "secret"}, plain_http=True) as answer:
            assert answer.read() == b"picture"
        assert [headers.get("x-key") for _, headers in server.seen] == ["secret", "secret"]
        assert [(headers.get("x-key"), headers.get("if-none-match")) for _, headers in other.seen] == [(None, "x")]


def test_the_address_that_was_judged_is_the_one_connected_to(server: MediaServer) -> None:
    """DNS rebinding: a name that is public when asked first and loopback when asked again reaches nothing."""
    server.routes["/"] = body(b"secret")
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        # Loopback, allowed below only under another port: if the client resolved on its own it would arrive.
        return ["192.0.2.1"] if len(asked) % 2 else ["127.0.0.1"]

    with open_client(resolve=rebinding) as guarded:
        for _ in range(2):
            with pytest.raises(Permanent) as caught:
                read(guarded, server.url("/", "rebind.test"))
            assert caught.value.code == "ADDRESS_REFUSED"
    assert asked == ["rebind.test", "rebind.test"], "one question for each connection: no second one to answer differently"
    assert server.seen == []


def test_a_name_that_turns_to_loopback_after_the_check_still_goes_where_the_check_was(server: MediaServer) -> None:
    """The first answer is allowed and silent, the second would be the server: it is not reached."""
    server.routes["/"] = body(b"secret")
    answers = [["127.0.0.2"], ["127.0.0.1"]]
    with (
        open_client(allow=["127.0.0.2"], resolve=lambda host, port: answers.pop(0)) as guarded,
        pytest.raises(Transient),
    ):
        read(guarded, server.url("/", "rebind.test"))
    assert server.seen == []
    assert answers == [["127.0.0.1"]]


def test_a_name_is_resolved_once_and_keeps_its_host_header(server: MediaServer) -> None:
    server.routes["/"] = body(b"hello")
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with open_client(allow=["media.test"], resolve=resolve) as guarded:
        assert read(guarded, server.url("/", "media.test")) == b"hello"
    assert asked == [("media.test", server.port)]
    assert server.seen[0][1]["host"] == f"media.test:{server.port}"


def test_tls_checks_the_name_although_the_address_is_connected_to(tmp_path: Path) -> None:
    ours, theirs = self_signed(tmp_path, "media.test")
    with media_server(ours) as server:
        server.routes["/"] = body(b"hello")
        with open_client(allow=["127.0.0.1"], resolve=lambda host, port: ["127.0.0.1"], verify=theirs) as guarded:
            assert read(guarded, server.url("/", "media.test"), plain_http=False) == b"hello"
            with pytest.raises(Permanent, match="certificate"):
                read(guarded, server.url("/", "other.test"))


def test_from_https_no_redirect_leads_down_to_http(tmp_path: Path, server: MediaServer) -> None:
    ours, theirs = self_signed(tmp_path, "127.0.0.1")
    server.routes["/"] = body(b"plain")
    with media_server(ours) as secure, open_client(allow=["127.0.0.1"], verify=theirs) as guarded:
        secure.routes["/down"] = redirect(server.url("/"))
        server.routes["/up"] = redirect(secure.url("/fine"))
        secure.routes["/fine"] = body(b"secure")
        with pytest.raises(Permanent) as caught:
            read(guarded, secure.url("/down"))
        assert caught.value.code == "HTTP_REDIRECT_REFUSED"
        assert read(guarded, server.url("/up")) == b"secure"
    assert [path for path, _ in server.seen] == ["/up"]


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://x/", "data:text/plain,hello", "javascript:1", "http://"]
)
def test_a_redirect_to_anything_but_the_web_is_refused(target: str, server: MediaServer, client: httpx.Client) -> None:
    server.routes["/go"] = redirect(target)
    with pytest.raises(Permanent) as caught:
        read(client, server.url("/go"))
    assert caught.value.code in {"HTTP_REDIRECT_REFUSED", "HTTP_URL_INVALID"}


def test_plain_http_is_closed_unless_opened(server: MediaServer, client: httpx.Client) -> None:
    with pytest.raises(Permanent, match="https://"):
        read(client, server.url("/"), plain_http=False)
    assert server.seen == []


def test_five_redirects_are_followed_and_a_sixth_or_a_circle_is_not(server: MediaServer, client: httpx.Client) -> None:
    for n in range(6):
        server.routes[f"/{n}"] = redirect(f"/{n + 1}")
    server.routes["/6"] = body(b"end")
    server.routes["/circle"] = redirect("/circle")
    assert read(client, server.url("/1")) == b"end"
    for start in ["/0", "/circle"]:
        with pytest.raises(Permanent) as caught:
            read(client, server.url(start))
        assert caught.value.code == "HTTP_REDIRECT_REFUSED"


def test_proxies_of_the_environment_are_not_used(
    server: MediaServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.routes["/"] = body(b"direct")
    with media_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        with open_client(allow=[server.authority]) as fresh:
            assert read(fresh, server.url("/")) == b"direct"
        assert proxy.seen == []


@pytest.mark.parametrize("behaviour", [dripping, dripping_head, endless])
def test_a_server_that_never_ends_is_left_at_the_deadline(behaviour, server: MediaServer, client: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    """Judged by a clock that the test moves on: each look at it is a second, so no real time is measured."""
    server.routes["/"] = behaviour
    ticks = count()
    with deadline(10, lambda: float(next(ticks))), pytest.raises(Transient, match="in time"):
        read(client, server.url("/"))
    assert next(ticks) < 100


def test_a_body_shorter_than_promised_is_an_error(server: MediaServer, client: httpx.Client) -> None:
    server.routes["/"] = shorter_than_promised(b"abc", 10)
    with pytest.raises(Transient, match="broke off"):
        read(client, server.url("/"))


def test_a_closed_port_is_transient(client: httpx.Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with open_client(allow=["127.0.0.1"]) as guarded, pytest.raises(Transient):
        read(guarded, f"http://127.0.0.1:{port}/")


def test_an_unknown_host_is_permanent_and_a_silent_name_server_is_transient() -> None:
    def answer(code: int):  # type: ignore[no-untyped-def]
        def resolve(host: str, port: int) -> list[str]:
            raise socket.gaierror(code, "no")

        return resolve

    with open_client(resolve=answer(socket.EAI_NONAME)) as guarded, pytest.raises(Permanent) as caught:
        read(guarded, "https://nowhere.test/")
    assert caught.value.code == "HOST_UNKNOWN"
    with open_client(resolve=answer(socket.EAI_AGAIN)) as guarded, pytest.raises(Transient):
        read(guarded, "https://nowhere.test/")


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_transient(code: int, server: MediaServer, client: httpx.Client) -> None:
    server.routes["/"] = status(code, Retry_After="7")
    with pytest.raises(Transient) as caught:
        read(client, server.url("/"))
    assert (caught.value.status, caught.value.retry_after) == (code, 7.0)


@pytest.mark.parametrize("code", [204, 206, 300, 400, 401, 403, 404, 410, 451])
def test_what_will_not_pass_is_permanent(code: int) -> None:
    with pytest.raises(Permanent) as caught:
        raise_for_status(httpx.Response(code, request=httpx.Request("GET", "https://x.test/")))
    assert caught.value.status == code


def test_retries_pause_longer_each_time_and_obey_the_server(server: MediaServer, client: httpx.Client) -> None:
    pauses: list[float] = []
    server.routes["/"] = in_turn(status(500), status(429, Retry_After="3"), status(503), body(b"at last"))
    got = retrying(lambda: read(client, server.url("/")), sleep=pauses.append, jitter=lambda: 0.0)
    assert got == b"at last"
    assert pauses == [0.5, 3.0, 2.0]


def test_a_pause_longer_than_a_minute_is_not_slept_through(server: MediaServer, client: httpx.Client) -> None:
    pauses: list[float] = []
    server.routes["/"] = status(429, Retry_After="3600")
    with pytest.raises(Transient):
        retrying(lambda: read(client, server.url("/")), sleep=pauses.append)
    assert pauses == []
    assert len(server.seen) == 1


def test_a_permanent_error_is_not_tried_again(server: MediaServer, client: httpx.Client) -> None:
    with pytest.raises(Permanent):
        retrying(lambda: read(client, server.url("/missing")), sleep=lambda s: None)
    assert len(server.seen) == 1


def test_retry_after_as_a_date_is_read_against_the_servers_own_clock() -> None:
    headers = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(headers) == 30.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}) is None
    assert retry_after({"retry-after": "soon"}) is None


def test_messages_keep_secrets_of_an_address_to_themselves() -> None:
    assert shown("https://user:pass@host.test/a.mp4?sig=secret#frag") == "https://host.test/a.mp4?..."


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Transient("x", status=503, retry_after=1.5)))
    assert (error.code, error.status, error.retry_after) == ("HTTP_UNAVAILABLE", 503, 1.5)
