"""Which network addresses may be reached: public ones only, plus what an operator allows by name or network.

What belongs here: resolving a host ourselves and judging every address it has. What does not: connecting (guard.py).
Pure but for `resolve_by_system`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from viralsync_pipelines.errors import ViralsyncError

Resolve = Callable[[str, int], Sequence[str]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Spelled out rather than `is_global`: what that counts as private changed between patch releases of Python 3.11 and 3.12,
# and it calls multicast global.
_CLOSED_4 = tuple(
    ipaddress.IPv4Network(n)
    for n in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also Alibaba's metadata service 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, metadata behind a public-looking number
        "169.254.0.0/16",  # link-local; metadata of AWS, GCP, Azure
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)
# Only global unicast is open in IPv6, which shuts out ::1, IPv4-mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96), fc00::/7,
# fe80::/10 and ff00::/8.
_OPEN_6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    ipaddress.IPv6Network(n)
    for n in (
        "2001::/23",  # protocol assignments, Teredo among them: an IPv4 address in disguise
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",
    )
)


class AddressRefused(ViralsyncError):
    """The host lies on a network that documents may not reach."""

    code = "ADDRESS_REFUSED"


class HostUnknown(ViralsyncError):
    """The name does not resolve. `temporary` when the name server could not be asked."""

    code = "HOST_UNKNOWN"

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


def is_public(address: str) -> bool:
    """Whether `address` (text, IPv4 or IPv6) belongs to the public internet. False for text that is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _CLOSED_4)
    return ip.scope_id is None and ip in _OPEN_6 and not any(ip in network for network in _CLOSED_6)


@dataclass(frozen=True)
class Allow:
    """What may be reached although it is not public. A rule is a host name or a network, and a port or None for all ports."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[_Network, int | None], ...] = ()

    @staticmethod
    def of(entries: Iterable[str]) -> Allow:
        """Parse "media.internal", "media.internal:9000", "10.1.0.0/16", "127.0.0.1:8123", "[::1]:80". Raises ValueError."""
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[_Network, int | None]] = []
        for entry in entries:
            name, port = _split_port(entry.strip())
            try:
                networks.append((ipaddress.ip_network(name), port))
            except ValueError:
                if not name or "/" in name or ":" in name:
                    raise ValueError(
                        f"{entry!r} is neither a host, nor a network such as 10.1.0.0/16 (its host bits zero)"
                    ) from None
                hosts.add((name.lower().rstrip("."), port))
        return Allow(frozenset(hosts), tuple(networks))

    def covers(self, host: str, address: _Address, port: int) -> bool:
        name = host.lower().rstrip(".")
        if (name, None) in self.hosts or (name, port) in self.hosts:
            return True
        return any(p in {None, port} and address.version == n.version and address in n for n, p in self.networks)


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest.startswith(":") else None
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isdigit():
        return name, int(port)
    return entry, None


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Every address of `host`, in the order the system prefers."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def verified(host: str, port: int, allow: Allow, resolve: Resolve) -> list[str]:
    """The addresses of `host` to connect to. Raises AddressRefused when any of them is neither public nor allowed.

    One bad address spoils all: a name with a public and a private address is how rebinding is done.
    Odd spellings (0x7f.1, 2130706433, 127.1) need no rule here, as the resolver turns them into plain numbers first.
    """
    try:
        addresses = list(dict.fromkeys(resolve(host, port)))
    except socket.gaierror as error:
        again = error.errno == socket.EAI_AGAIN
        raise HostUnknown(f"the host {host} is not known; check the address", temporary=again) from error
    except (OSError, UnicodeError) as error:
        raise HostUnknown(f"the host {host} cannot be looked up ({error}); check the address", temporary=False) from error
    if not addresses:
        raise HostUnknown(f"the host {host} has no address; check its spelling", temporary=False)
    for address in addresses:
        if not is_public(address) and not _allowed(host, address, port, allow):
            # The number is not told: it would let a document map the network it stands in.
            raise AddressRefused(
                f"{host} lies on a private or reserved network, which movies may not reach; "
                "put the file at a public address, or let the operator allow this host"
            )
    return addresses


def _allowed(host: str, address: str, port: int, allow: Allow) -> bool:
    try:
        return allow.covers(host, ipaddress.ip_address(address), port)
    except ValueError:
        return False
