"""The Python client of EchoLoop."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from clients.annotation import Annotation
from clients.campaigns import Campaigns
from clients.connection import Connection, Patience
from clients.datasets import Datasets
from clients.jobs import Jobs
from clients.releases import Releases
from clients.searches import Searches
from clients.segmentation import Segmentation

__all__ = ["Addresses", "EchoLoopClient"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services answer, as `host:port`; the defaults are those of `echoloop up`."""

    coordinator: str = "127.0.0.1:7101"
    trainer: str = "127.0.0.1:7102"
    uncertainty: str = "127.0.0.1:7103"
    gateway: str = "127.0.0.1:7104"


class EchoLoopClient:
    """Everything that a user's program can ask of a running stack.

        with EchoLoopClient() as client:
            for event in client.campaigns.watch("first"):
                print(event.progress.activity)

    Thread-safe. Channels open with the first call to their service. Every method raises errors of
    `services.platform.errors`; a service that is away is waited for as long as `patience` says.

    Args:
        addresses: Where the services answer.
        patience: How long an unreachable service is waited for.
    """

    def __init__(
        self, addresses: Addresses | None = None, *, patience: Patience | None = None
    ) -> None:
        self.addresses = addresses or Addresses()
        patience = patience or Patience()
        coordinator = Connection(self.addresses.coordinator, "coordinator", patience)
        trainer = Connection(self.addresses.trainer, "trainer", patience)
        gateway = Connection(self.addresses.gateway, "gateway", patience)
        self._connections = (coordinator, trainer, gateway)
        self.campaigns = Campaigns(coordinator)
        self.datasets = Datasets(coordinator)
        self.annotation = Annotation(coordinator)
        self.releases = Releases(coordinator)
        self.jobs = Jobs(trainer)
        self.searches = Searches(trainer, self.jobs)
        self.segmentation = Segmentation(gateway)

    def close(self) -> None:
        """Close every channel."""
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
