"""Hosts have one spelling, and what is near is known as near in every form of an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.policy import hosts as policy_hosts
from localgpt.sandbox import hosts

_ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@pytest.mark.parametrize(
    "near",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.0.1", "172.16.0.1",
        "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1",
        "3fff::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
    ],
)  # fmt: skip
def test_what_is_near(near):
    address = hosts.address_of(near)
    assert address is not None
    assert hosts.refusal_of_address(address) == "net.private"


@pytest.mark.parametrize(
    "far", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:2800:220::1", "64:ff9b::101:101"]
)
def test_what_is_far(far):
    address = hosts.address_of(far)
    assert address is not None
    assert hosts.refusal_of_address(address) == ""


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "168.63.129.16"]
)
def test_metadata(address):
    assert hosts.refusal_of_name(hosts.normalise(address) or "") == "net.metadata"


@given(_ADDRESSES)
def test_whatever_python_calls_private_is_near(address):
    parsed = hosts.address_of(str(address))
    assert parsed is not None
    if not parsed.is_global or parsed.is_multicast:
        assert hosts.refusal_of_address(parsed) != ""


@given(_ADDRESSES | st.from_regex(r"[a-z0-9_.:\[\]%*-]{0,30}", fullmatch=True) | st.text(max_size=30))
def test_the_spelling_is_that_of_the_policy(host):
    text = str(host)
    ours, theirs = hosts.normalise(text), policy_hosts.normalise(text)
    if ours != theirs:  # 6to4 leads to an IPv4 address: the policy says to which, the sandbox that it is near
        assert theirs is not None
        assert ipaddress.ip_address(ours or "").sixtofour  # type: ignore[union-attr]
    if ours is not None:
        assert hosts.normalise(ours) == ours


@given(_ADDRESSES)
def test_the_policy_calls_nothing_local_public(address):
    host = hosts.normalise(str(address))
    assert host is not None
    if hosts.refusal_of_name(host) == "net.metadata":
        assert policy_hosts.classify(host) is policy_hosts.HostKind.METADATA


@given(st.from_regex(r"(\*\.)?[a-z0-9.:\[\]*-]{0,20}(:[0-9]{0,6})?", fullmatch=True))
def test_a_pattern_has_one_spelling(pattern):
    known = hosts.normalise_pattern(pattern)
    if known is not None:
        assert hosts.normalise_pattern(known) == known


@given(st.sampled_from(["a.example", "b.a.example", "10.0.0.1", "::1", "localhost"]), st.integers(1, 65535))
def test_listing_more_never_refuses_what_was_listed(host, port):
    patterns = ["a.example:443", "*.a.example", "10.0.0.1:80", "[::1]:8080", "*"]
    for count in range(len(patterns)):
        if hosts.is_listed(host, port, patterns[:count]):
            assert hosts.is_listed(host, port, patterns[: count + 1])


def test_a_star_covers_nothing_near():
    for near in ("localhost", "10.0.0.1", "::1", "metadata.google.internal", "printer.lan"):
        assert not hosts.is_listed(near, 80, ["*"])
        assert hosts.is_listed(near, 80, [hosts.shown(near, None)])
    assert hosts.is_listed("pypi.org", 80, ["*"])


def test_a_domain_does_not_cover_itself_nor_a_longer_word():
    assert hosts.is_listed("a.pypi.org", 443, ["*.pypi.org"])
    assert not hosts.is_listed("pypi.org", 443, ["*.pypi.org"])
    assert not hosts.is_listed("evilpypi.org", 443, ["*.pypi.org"])


@pytest.mark.parametrize(
    "host", ["github.com", "api.github.com", "*.github.com", "bucket.s3.amazonaws.com", "*", "*.com"]
)
def test_hosts_of_many_tenants(host):
    assert hosts.is_shared(host)


@pytest.mark.parametrize("host", ["example.org", "notgithub.com", "github.com.example.org", "10.0.0.1"])
def test_hosts_of_one(host):
    assert not hosts.is_shared(host)


def test_the_list_of_shared_hosts_is_well_formed():
    names = hosts.shared_hosts()
    assert len(names) > 80
    assert len(set(names)) == len(names)
    assert all(hosts.normalise(name) == name for name in names)
