"""Which loopback ports the processes of a stack use."""

import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from services.platform.errors import UnavailableError

__all__ = ["PortsTaken", "StackPorts"]

_HOST: Final = "127.0.0.1"
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT: Final = 10_000
_DEFAULT_FIRST_EPHEMERAL: Final = 32_768
_ATTEMPTS: Final = 2000


class PortsTaken(UnavailableError):
    """Other programs listen on the ports that the stack needs."""


@dataclass(frozen=True, slots=True)
class StackPorts:
    """One port per server; a crashed process is restarted on the same ones."""

    coordinator: int = 7101
    coordinator_metrics: int = 9101
    trainer: int = 7102
    trainer_metrics: int = 9102
    uncertainty: int = 7103
    uncertainty_metrics: int = 9103
    gateway: int = 7104
    gateway_metrics: int = 9104
    triton_http: int = 8000
    triton_grpc: int = 8001
    triton_metrics: int = 8002

    @classmethod
    def fixed(cls) -> Self:
        """Return the documented ports.

        Raises:
            PortsTaken: Names those that are in use.
        """
        ports = cls()
        taken = [port for port in ports.all() if not _is_free(port)]
        if taken:
            raise PortsTaken(
                f"Other programs listen on port {', '.join(map(str, taken))}. Stop them, or let "
                "free ports be chosen with --ports auto."
            )
        return ports

    @classmethod
    def auto(cls) -> Self:
        """Return free ports below the range that the kernel gives to outgoing connections.

        A port of that range could be taken by anybody's connection in the moment between a crash
        and the restart; a client that reconnects to it could even be connected to itself.

        Raises:
            PortsTaken: Not enough are free.
        """
        first_ephemeral = _first_ephemeral_port()
        chosen: set[int] = set()
        names = cls.__dataclass_fields__
        for _ in range(_ATTEMPTS):
            port = random.randrange(_LOWEST_PORT, first_ephemeral)  # noqa: S311  # not a secret
            if port not in chosen and _is_free(port):
                chosen.add(port)
            if len(chosen) == len(names):
                return cls(**dict(zip(names, chosen, strict=True)))
        raise PortsTaken(f"No free ports between {_LOWEST_PORT} and {first_ephemeral}.")

    def all(self) -> list[int]:
        """Return every port."""
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def address(self, name: str) -> str:
        """Return `host:port` of a field."""
        return f"{_HOST}:{getattr(self, name)}"


def _first_ephemeral_port() -> int:
    try:
        first = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_FIRST_EPHEMERAL
    # A machine that hands out everything leaves no better choice than the usual lower part.
    return first if first > _LOWEST_PORT + 1000 else _DEFAULT_FIRST_EPHEMERAL


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a connection that lingers from an earlier run is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True
