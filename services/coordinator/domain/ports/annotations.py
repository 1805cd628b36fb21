"""Port: annotation requests, leases and labels."""

from collections.abc import Mapping
from typing import Protocol

from services.coordinator.domain.annotation import (
    AnnotationRequest,
    AnnotationState,
    Label,
    Lease,
    RequestTransition,
    SkipReason,
    Submission,
)
from services.coordinator.domain.ports.paging import Page, PageRequest

__all__ = ["AnnotationStore"]


class AnnotationStore(Protocol):
    """Keeps annotation requests. See the package for what holds for every store.

    Methods on one request raise `RequestNotFound`; those under a lease raise `LeaseLost` or
    `LeaseExpired`, as `services.coordinator.domain.annotation.check_held` says, and change nothing
    then. The lease itself lasts `CampaignConfig.lease_s` seconds.
    """

    def pull(
        self, campaign: str, reader: str, k: int, *, request_id: str = ""
    ) -> tuple[AnnotationRequest, ...]:
        """Lease up to k open requests, best rank first.

        Atomic: two readers never get the same request, in whatever threads or processes they pull.
        Leases of the campaign that have run out return to PENDING first. Only requests of a phase
        in ANNOTATING are open. A crash of the machine may take the newest leases back: their
        requests then wait again. With a repeated request id the same leases are returned, less
        those that have been used or lost since.

        Args:
            campaign: Id or name; empty takes every RUNNING campaign, oldest first.
            reader: Who pulls, 1 to 200 characters.
            k: 1 to 100.
            request_id: See the package.

        Returns:
            By campaign and rank; empty when none is open (or the campaign is COMPLETED).

        Raises:
            CampaignNotFound: There is none.
            InvalidArgument: `k` or `reader` out of range.
        """
        ...

    def get(self, id: str) -> AnnotationRequest:
        """Return one request."""
        ...

    def list(
        self, campaign: str, state: AnnotationState | None, page: PageRequest
    ) -> Page[AnnotationRequest]:
        """Return a campaign's requests by phase and rank, of one state or (None) of all.

        Raises:
            CampaignNotFound: There is none.
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def count_by_state(
        self, campaign: str, phase: int | None = None
    ) -> Mapping[AnnotationState, int]:
        """Return how many requests of a campaign (and phase) are in each state, all listed.

        Raises:
            CampaignNotFound: There is none.
        """
        ...

    def history(self, id: str) -> tuple[RequestTransition, ...]:
        """Return every state change of a request, in order."""
        ...

    def extend(self, id: str, reader: str, token: int, *, request_id: str = "") -> Lease:
        """Let a live lease run its full length again from now; the token stays."""
        ...

    def submit(
        self,
        id: str,
        reader: str,
        token: int,
        *,
        mask_ref: str,
        lv_absent: bool,
        request_id: str = "",
    ) -> Submission:
        """Accept a label under a live lease, in one transaction.

        LEASED -> SUBMITTED -> ACCEPTED (both in the history), label version 1, frame from UNLABELED
        to LABELED. The mask is stored and checked before.
        """
        ...

    def release(
        self, id: str, reader: str, token: int, *, request_id: str = ""
    ) -> AnnotationRequest:
        """Give a leased request back: LEASED -> PENDING."""
        ...

    def skip(
        self,
        id: str,
        reader: str,
        token: int,
        reason: SkipReason,
        note: str = "",
        *,
        request_id: str = "",
    ) -> AnnotationRequest:
        """Declare a leased request not annotatable: LEASED -> SKIPPED, frame to EXCLUDED for good.

        Raises:
            InvalidArgument: OTHER without a note.
        """
        ...

    def correct(
        self,
        id: str,
        reader: str,
        *,
        replaces_version: int,
        mask_ref: str,
        lv_absent: bool,
        request_id: str = "",
    ) -> Label:
        """Add a label version to an ACCEPTED request's frame; the old one is kept.

        Raises:
            IllegalTransition: The request is not ACCEPTED.
            StaleLabel: `replaces_version` is not the newest.
        """
        ...

    def labels(self, campaign: str, frame_id: str) -> tuple[Label, ...]:
        """Return every label version of a frame in a campaign, oldest first."""
        ...

    def sweep_expired(self) -> int:
        """Return every lease that has run out to PENDING and return how many there were.

        `pull` does it too; this keeps the counts true when nobody pulls.
        """
        ...
