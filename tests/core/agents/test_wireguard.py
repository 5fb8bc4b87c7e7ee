"""The overlay network's addresses: yoq's rules, as pure functions."""

from __future__ import annotations

import ipaddress

import pytest

from yoq_web.agents.wireguard import MAX_NODE, compute_container_subnet, compute_overlay_ip, format_endpoint


@pytest.mark.parametrize(
    ("number", "address", "subnet"),
    [
        (1, "10.40.0.1", "10.42.1.0/24"),
        (254, "10.40.0.254", "10.42.254.0/24"),
        (255, "10.40.0.255", "10.42.255.0/24"),
        (256, "10.40.1.0", "10.43.0.0/24"),
        (1000, "10.40.3.232", "10.45.232.0/24"),
        (MAX_NODE, "10.40.213.255", "10.255.255.0/24"),
    ],
)
def test_addresses(number: int, address: str, subnet: str) -> None:
    """A number's address and subnet, at the edges of the ranges."""
    assert (compute_overlay_ip(number), compute_container_subnet(number)) == (address, subnet)


def test_no_two_numbers_share_an_address() -> None:
    """All addresses and subnets are valid and each is one number's alone."""
    numbers = range(1, MAX_NODE + 1)
    assert len({ipaddress.ip_address(compute_overlay_ip(number)) for number in numbers}) == MAX_NODE
    assert len({ipaddress.ip_network(compute_container_subnet(number)) for number in numbers}) == MAX_NODE


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.0.0.5", "10.0.0.5:51820"), ("10.0.0.5:7701", "10.0.0.5:51820"), ("host.example", "host.example:51820")],
)
def test_endpoints(address: str, expected: str) -> None:
    """A port in the address is the agent's API and gives way to WireGuard's."""
    assert format_endpoint(address, 51820) == expected
