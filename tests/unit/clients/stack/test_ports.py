"""Ports of a stack."""

import socket
from pathlib import Path

import pytest

from clients.stack.ports import PortsTaken, StackPorts


def test_chosen_ports_are_free_distinct_and_below_those_of_outgoing_connections() -> None:
    ports = StackPorts.auto().all()
    assert len(set(ports)) == len(ports) == 11
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert first < 12_000 or all(port < first for port in ports)
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_documented_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(
            StackPorts, "all", lambda self: [port]
        )  # the documented ports may be in use by whoever runs this test
        with pytest.raises(PortsTaken, match=rf"{port}.*--ports auto"):
            StackPorts.fixed()


def test_addresses_are_loopback() -> None:
    assert StackPorts().address("coordinator") == "127.0.0.1:7101"
