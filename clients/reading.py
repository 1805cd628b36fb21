"""A simulated reader: an ordinary client that answers requests from reference masks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clients.boundary_error import with_boundary_error
from clients.client import EchoLoopClient
from clients.study_folder import MaskFolder
from echoloop.v1 import annotation_pb2, coordinator_pb2
from services.platform.errors import NotFoundError, StaleError
from services.platform.masks import encode_mask_png

__all__ = ["OracleReader", "ReadingCounts"]

_BATCH: Final = 8
_ACTIVE: Final = (
    coordinator_pb2.CAMPAIGN_STATE_DRAFT,
    coordinator_pb2.CAMPAIGN_STATE_RUNNING,
    coordinator_pb2.CAMPAIGN_STATE_PAUSED,
)


@dataclass(slots=True)
class ReadingCounts:
    """What a reader has done.

    Attributes:
        submitted: Labels that were accepted.
        skipped: Requests without a reference mask.
        lost: Leases that ended before the answer; someone else gets those requests.
    """

    submitted: int = 0
    skipped: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleReader:
    """Answers requests until its campaign is completed.

    Attributes:
        client: A running stack; its patience decides how long an absent one is waited for.
        masks: Reference masks by frame name.
        reader: Name under which it reads.
        campaign: Id or name; empty reads for every campaign until none is active.
        error_px: Standard deviation of the border's shift, pixels.
        delay_s: Time spent on a frame.
        seed: Of the border's shift.
        idle_s: Wait before asking again when nothing is open.
    """

    client: EchoLoopClient
    masks: MaskFolder
    reader: str = "oracle"
    campaign: str = ""
    error_px: float = 0.0
    delay_s: float = 0.0
    seed: int = 0
    idle_s: float = 0.5

    def read(
        self,
        *,
        stopped: Callable[[], bool] = lambda: False,
        on_change: Callable[[ReadingCounts], None] = lambda _: None,
    ) -> ReadingCounts:
        """Work until there is nothing left to wait for.

        Args:
            stopped: Asked between frames; True ends the work and gives leases back.
            on_change: Called after every answered request.

        Raises:
            EchoLoopError: The campaign does not exist, a mask was refused, or the stack is away
                for longer than the client's patience.
        """
        counts = ReadingCounts()
        # A slow reader takes one at a time, so that the others are not kept waiting.
        batch = 1 if self.delay_s > 0 else _BATCH
        while not stopped():
            requests = self.client.annotation.pull(self.reader, batch, self.campaign)
            for request in requests:
                if stopped():
                    self._give_back(request)
                    continue
                self._answer(request, counts)
                on_change(counts)
            if not requests:
                if self._finished():
                    break
                time.sleep(self.idle_s)
        return counts

    def _answer(self, request: annotation_pb2.AnnotationRequest, counts: ReadingCounts) -> None:
        mask = self.masks.find(request.frame_name)
        token = request.lease.token
        try:
            if mask is None:
                self.client.annotation.skip(
                    request.id,
                    self.reader,
                    token,
                    annotation_pb2.SKIP_REASON_OTHER,
                    "no reference mask",
                )
                counts.skipped += 1
                return
            if self.delay_s > 0:
                time.sleep(self.delay_s)
            drawn = with_boundary_error(
                mask, self.error_px, seed=self.seed, name=request.frame_name
            )
            self.client.annotation.submit(
                request.id,
                self.reader,
                token,
                encode_mask_png(drawn),
                lv_absent=not drawn.any(),
            )
            counts.submitted += 1
        except StaleError:
            counts.lost += 1

    def _give_back(self, request: annotation_pb2.AnnotationRequest) -> None:
        try:
            self.client.annotation.release(request.id, self.reader, request.lease.token)
        except (StaleError, NotFoundError):
            return  # Not held any more: nothing to give back.

    def _finished(self) -> bool:
        if self.campaign:
            state = self.client.campaigns.get(self.campaign).state
            return state == coordinator_pb2.CAMPAIGN_STATE_COMPLETED
        return all(campaign.state not in _ACTIVE for campaign in self.client.campaigns.list())
