"""Hosts that a plan names, and addresses that no name may lead to. Pure.

A host has one spelling here: lower-case ASCII labels, a dotted quad, or an IPv6 address in its canonical text. What two
programs could read differently (``127.1``, ``0x7f000001``, ``example.com@evil.com``) is no host.

Source: RFC 1123 section 2.1; RFC 6890 and the IANA special-purpose address registries (2025-10); RFC 6052.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC: Final = re.compile(r"([0-9]+|0x[0-9a-f]*)", re.ASCII)
_PATTERN: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet")

_METADATA: Final = frozenset({
    "169.254.169.254", "169.254.170.2", "169.254.169.253", "169.254.170.23", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
})  # fmt: skip
_METADATA_NAMES: Final = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
})  # fmt: skip
_NOT_PUBLIC: Final = tuple(map(ipaddress.IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
# Whatever is not global unicast is not public; of that, documentation, Teredo and other protocol assignments, and 6to4,
# whose addresses lead to an IPv4 one.
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def normalise(host: str) -> str | None:
    """The one spelling of a host name or address (no brackets, no port); None when it is no host."""
    name = host.lower().removesuffix(".")
    if not name or len(name) > 253 or not name.isascii():
        return None
    labels = name.split(".")
    if ":" in name or _NUMERIC.fullmatch(labels[-1]):  # a numeric last label is an address, and only a whole one
        found = None if "%" in name else address_of(name)
        return None if found is None else str(found)
    return name if all(_LABEL.fullmatch(label) for label in labels) else None


def address_of(text: str) -> Address | None:
    """The address that `text` is, or leads to: IPv4 inside IPv6 (mapped, NAT64) becomes the IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def normalise_pattern(pattern: str) -> str | None:
    """The one spelling of ``HOST``, ``*.DOMAIN`` or ``*``, with or without ``:PORT``, or ``[V6]:PORT``; else None."""
    if pattern.count(":") > 1 and not pattern.startswith("["):
        pattern = f"[{pattern}]"
    parsed = _PATTERN.fullmatch(pattern)
    if parsed is None:
        return None
    name, port = parsed["v6"] or parsed["host"], parsed["port"]
    if port is not None and not 0 < int(port) < 65536:
        return None
    if parsed["v6"] is not None and (name is None or ":" not in name):
        return None
    host = name if name == "*" else normalise((name or "").removeprefix("*."))
    if host is None or (name.startswith("*.") and address_of(host) is not None) or is_nowhere(host):
        return None
    return shown(f"*.{host}" if name.startswith("*.") else host, None if port is None else int(port))


def shown(host: str, port: int | None) -> str:
    """``HOST:PORT``, with brackets around an IPv6 address."""
    bare = f"[{host}]" if ":" in host else host
    return bare if port is None else f"{bare}:{port}"


def is_listed(host: str, port: int, patterns: Iterable[str]) -> bool:
    """Whether a normalised host is covered by one of these normalised patterns. A domain does not cover itself."""
    return any(_covers(pattern, host, port) for pattern in patterns)


def _covers(pattern: str, host: str, port: int) -> bool:
    parsed = _PATTERN.fullmatch(pattern)
    if parsed is None or (parsed["port"] is not None and int(parsed["port"]) != port):
        return False
    name = parsed["v6"] or parsed["host"]
    if name == "*":
        return refusal_of_name(host) == ""  # everything public: what is nearer has to be named
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def refusal_of_name(host: str) -> str:
    """Why a normalised host may not be connected to unless it is named itself, as far as its spelling tells; "" if not.

    Returns:
        "net.metadata", "net.private" or "".
    """
    if host in _METADATA_NAMES:
        return "net.metadata"
    address = address_of(host)
    if address is not None:
        return refusal_of_address(address)
    return "net.private" if is_local_name(host) else ""


def is_local_name(host: str) -> bool:
    """Whether a name can only mean something near: a bare one, or one below a suffix for local networks."""
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def refusal_of_address(address: Address) -> str:
    """Why nobody may connect to `address` unless it is listed itself: "net.metadata", "net.private", or ""."""
    if str(address) in _METADATA:
        return "net.metadata"
    if isinstance(address, ipaddress.IPv4Address):
        return "net.private" if any(address in network for network in _NOT_PUBLIC) else ""
    public = address in _GLOBAL and not any(address in network for network in _NOT_PUBLIC_6)
    return "" if public else "net.private"


def is_nowhere(host: str) -> bool:
    """Whether `host` is an address of nobody's, which kernels take for this machine, or of many."""
    address = address_of(host)
    return address is not None and (address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255")


@cache
def shared_hosts() -> tuple[str, ...]:
    """Patterns of hosts with many tenants: who may send there can send to an account of his own."""
    for directory in (_PACKAGE / "data" / "sandbox", _PACKAGE.parent.parent / "sandbox"):
        path = directory / "shared_hosts.txt"
        if path.is_file():
            lines = path.read_text(encoding="ascii").splitlines()
            return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return ("*",)  # without the list every host counts as one


def is_shared(host: str) -> bool:
    """Whether a normalised host, or a pattern over hosts, is or contains one that many tenants share."""
    name = host.removeprefix("*.")
    return (
        any(
            name == (bare := pattern.removeprefix("*.")) or name.endswith("." + bare) or bare.endswith("." + name)
            for pattern in shared_hosts()
        )
        or host == "*"
    )
