"""Addresses in each of their forms, and spans of time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import addresses, durations
from airflow_provider_polars.onprem.addresses import Address


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:5052", "10.0.0.1", 5052),
        (":5052", None, 5052),
        ("::1", "::1", None),
        ("[2001:db8::7]:5052", "2001:db8::7", 5052),
        ("[2001:db8::7]", "2001:db8::7", None),
        ({"ip": "10.0.0.1"}, "10.0.0.1", None),
        ({"ip": "10.0.0.1", "port": 5052}, "10.0.0.1", 5052),
        ({"hostname": "node-1.example.com", "port": 1}, "node-1.example.com", 1),
        ({"port": 65535}, None, 65535),
    ],
)
def test_an_address_is_read_in_each_of_its_forms(value: Any, host: str | None, port: int | None) -> None:
    assert addresses.parse(value) == Address(host, port)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", 'must be an address: "ip", "ip:port" or ":port"'),
        ("10.0.0.1:", 'must be an address: "ip", "ip:port" or ":port"'),
        ("http://10.0.0.1:5051", 'must be an address: "ip", "ip:port" or ":port"'),
        ("node-1:5052", 'a name is written as { hostname = "node-1", port = 5052 }'),
        ("node-1", 'a name is written as { hostname = "node-1" }'),
        ("10.0.0.256:5052", "must have an IP address; '10.0.0.256' is none"),
        ("10.0.0.1:0", "must have a port between 1 and 65535"),
        ("10.0.0.1:65536", "must have a port between 1 and 65535"),
        (5052, "must be an address"),
        (["10.0.0.1"], "must be an address"),
        ({}, "must have ip, hostname or port"),
        ({"address": "10.0.0.1"}, "must have ip, hostname or port"),
        ({"ip": "10.0.0.1", "hostname": "a"}, "must have one of ip and hostname, not both"),
        ({"ip": "node-1"}, "must have an IP address as ip"),
        ({"ip": 10}, "must have an IP address as ip"),
        ({"hostname": "10.0.0.1"}, "an IP address is written as ip"),
        ({"hostname": "a b"}, "must have a host name as hostname"),
        ({"ip": "10.0.0.1", "port": "5052"}, "must have a whole number as port"),
        ({"ip": "10.0.0.1", "port": True}, "must have a whole number as port"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule_that_it_breaks(value: Any, rule: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        addresses.parse(value)
    assert rule in str(raised.value)


@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.from_regex(r"[a-z][a-z0-9]{0,10}(\.[a-z]{1,5})?", fullmatch=True),
    ),
    st.one_of(st.none(), st.integers(1, 65535)),
)
def test_what_is_written_is_read_again(host: str, port: int | None) -> None:
    address = addresses.of_host(host, port)
    assert addresses.parse(address.as_toml()) == address


def test_kinds_of_hosts_are_told_apart() -> None:
    assert Address(None, 1).is_any
    assert Address("0.0.0.0").is_any
    assert Address("::").is_any
    assert not Address("10.0.0.1").is_any
    assert Address("127.0.0.1").is_loopback
    assert Address("localhost").is_loopback
    assert not Address("10.0.0.1").is_loopback
    assert Address("node-1").is_name
    assert not Address("::1").is_name
    assert Address("::1").or_port(5).port == 5
    assert Address("::1", 6).or_port(5).port == 6


@pytest.mark.parametrize("host", ["", "a b", "10.0.0.300", "-a", "http://a"])
def test_a_host_is_an_ip_address_or_a_name(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is neither an IP address nor a host name"):
        addresses.of_host(host)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5 secs", 5),
        ("10 mins", 600),
        ("20m", 1200),
        ("8h", 28800),
        ("1h 30m", 5400),
        ("1 hour, 30 minutes", 5400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("PT5S", 5),
        ("PT1H30M", 5400),
        ("pt0.5s", 0.5),
    ],
)
def test_spans_of_time_are_read_in_both_forms(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "five secs", "5 parsecs", "-5s", "5s and more", "PT", "P1D", "1 day", "s"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a span of time up to hours"):
        durations.parse(text)


@pytest.mark.parametrize("text", ["0s", "PT0S"])
def test_a_span_of_time_lasts(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be longer than nothing"):
        durations.parse(text)
