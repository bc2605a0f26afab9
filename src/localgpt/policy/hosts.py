"""Host names and addresses: one spelling, one meaning. What two resolvers could read differently is refused.

Source: RFC 1123 section 2.1; the WHATWG URL standard on numeric hosts (`127.1`, `0x7f000001`, `2130706433`).
"""

from __future__ import annotations

import ipaddress
import re
from enum import Enum
from typing import Final, TypeAlias

_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC: Final = re.compile(r"([0-9]+|0x[0-9a-f]*)", re.ASCII)
_METADATA: Final = frozenset({
    "169.254.169.254", "169.254.170.2", "169.254.169.253", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "fd00:ec2::254", "fd20:ce::254",
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
})  # fmt: skip
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet")


class HostKind(Enum):
    """What a host is, as far as its spelling tells. A name may still resolve to anything."""

    BAD = "bad"
    METADATA = "metadata"
    LOCAL = "local"
    PUBLIC = "public"


def classify(host: str) -> HostKind:
    """Sort a host name or address (no brackets, no port) into its kind."""
    name = normalise(host)
    if name is None:
        return HostKind.BAD
    address = _address(name)
    if name in _METADATA or (address is not None and str(address) in _METADATA):
        return HostKind.METADATA
    if address is None:
        local = "." not in name or name.endswith(_LOCAL_SUFFIXES)  # a bare name is searched in the local domain
    else:
        local = address.is_multicast or not address.is_global
    return HostKind.LOCAL if local else HostKind.PUBLIC


def normalise(host: str) -> str | None:
    """Lower-case ASCII without the final dot; addresses in their canonical text. None when the spelling is unsafe."""
    name = host.lower().removesuffix(".")
    if not name or len(name) > 253 or not name.isascii():
        return None
    if ":" in name:
        return _canonical(name) if "%" not in name else None
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _canonical(name)  # a numeric last label is an address: only the dotted quad is one
    return name if all(_LABEL.fullmatch(label) for label in labels) else None


def matches(pattern: str, host: str, port: int | None) -> bool:
    """Whether `HOST`, `HOST:PORT`, `*.DOMAIN`, `[V6]:PORT` or `*` covers `host`. A domain does not cover itself."""
    wanted, wanted_port = split_port(pattern)
    name = normalise(host)
    if name is None or (wanted_port is not None and wanted_port != port):
        return False
    if wanted == "*":
        return True
    if wanted.startswith("*."):
        return name.endswith(wanted[1:].lower())
    return normalise(wanted) == name


def split_port(pattern: str) -> tuple[str, int | None]:
    """Split `HOST:PORT`; a bare IPv6 address has none. A port that is no number stays in the host."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]{1,5}))?", pattern)
    plain = re.fullmatch(r"([^:]*):([0-9]{1,5})", pattern)
    found = bracketed or plain
    if found is None:
        return pattern, None
    return found[1], None if found[2] is None else int(found[2])


def is_host_pattern(pattern: str) -> bool:
    """Whether a rule may use this pattern."""
    host, port = split_port(pattern)
    if port is not None and not 0 < port < 65536:
        return False
    return host == "*" or normalise(host.removeprefix("*.")) is not None


def _canonical(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(_embedded(address) or address)


def _embedded(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped, NAT64 or 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _address(name: str) -> _Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
