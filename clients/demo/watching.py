"""Follows a campaign with its simulated reader, and notices when either gives up."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from clients.client import Addresses, EchoLoopClient
from clients.connection import Patience
from clients.reading import OracleReader
from clients.study_folder import MaskFolder
from echoloop.v1 import coordinator_pb2
from services.platform.errors import EchoLoopError, IllegalStateError, InternalError

__all__ = ["CampaignFailed", "follow_campaign"]

# The supervisor brings a crashed process back within seconds; a loaded machine takes longer.
_PATIENCE: Final = Patience(total_s=300)
_CHECK_EVERY_S: Final = 1.0

Event = coordinator_pb2.WatchCampaignResponse


class CampaignFailed(IllegalStateError):
    """A phase of the campaign failed."""


def follow_campaign(
    addresses: Addresses,
    campaign: str,
    masks: MaskFolder,
    *,
    reader_error_px: float,
    seed: int,
    on_event: Callable[[Event], None],
    check: Callable[[], None],
) -> None:
    """Label what the campaign asks for until it is completed.

    Args:
        addresses: Of the stack.
        campaign: Id or name.
        masks: Reference masks.
        reader_error_px: Standard deviation of the reader's border error, pixels.
        seed: Of that error.
        on_event: Called with every change of the campaign.
        check: Called every second; raises when there is no point in waiting.

    Raises:
        CampaignFailed: A phase failed.
        EchoLoopError: Reader, watch or `check` failed.
    """
    stop = threading.Event()
    events: queue.Queue[Event | EchoLoopError | None] = queue.Queue()
    with (
        EchoLoopClient(addresses, patience=_PATIENCE) as reading,
        EchoLoopClient(addresses, patience=_PATIENCE) as watching,
    ):
        oracle = OracleReader(
            client=reading,
            masks=masks,
            campaign=campaign,
            error_px=reader_error_px,
            seed=seed,
        )

        def watch() -> None:
            for event in watching.campaigns.watch(campaign):
                events.put(event)
            events.put(None)

        def read() -> None:
            oracle.read(stopped=stop.is_set)

        threads = [
            threading.Thread(target=_reporting(work, events, stop), daemon=True)
            for work in (watch, read)
        ]
        for thread in threads:
            thread.start()
        try:
            while True:
                try:
                    event = events.get(timeout=_CHECK_EVERY_S)
                except queue.Empty:
                    check()
                    continue
                if event is None:
                    return
                if isinstance(event, EchoLoopError):
                    raise event
                on_event(event)
                if event.campaign.failure:
                    raise CampaignFailed(
                        f"Phase {event.campaign.phase} failed: {event.campaign.failure}"
                    )
        finally:
            stop.set()


def _reporting(
    work: Callable[[], None],
    events: "queue.Queue[Event | EchoLoopError | None]",
    stop: threading.Event,
) -> Callable[[], None]:
    """Return the work with its failure put where the main thread sees it."""

    def run() -> None:
        try:
            work()
        except EchoLoopError as error:
            events.put(error)
        except Exception as error:
            if stop.is_set():
                return  # Nobody listens any more, and the channel was closed under a call.
            events.put(InternalError(f"The demo failed unexpectedly: {type(error).__name__}."))
            raise

    return run
