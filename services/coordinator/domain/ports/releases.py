"""Port: releases."""

from typing import Protocol

from services.coordinator.domain.ports.paging import Page, PageRequest
from services.coordinator.domain.releases import (
    ModelVersion,
    NewRelease,
    Release,
    ReleaseKind,
    Serving,
)

__all__ = ["ReleaseStore"]


class ReleaseStore(Protocol):
    """Keeps releases. See the package for what holds for every store.

    Promotions form a stack per campaign: promote puts a segmenter on top, rollback takes the top
    off. What was ever promoted stays in an append-only log.
    """

    def create(self, release: NewRelease) -> Release:
        """Record a publication as CANDIDATE and note it on its phase.

        Idempotent by campaign, phase and kind.

        Raises:
            PhaseNotFound: There is no such phase.
            ReleaseExists: The phase has a release of that kind, of another model version.
        """
        ...

    def get(self, id: str) -> Release:
        """Return one release.

        Raises:
            ReleaseNotFound: There is none.
        """
        ...

    def list(self, campaign: str, page: PageRequest) -> Page[Release]:
        """Return releases, newest first, of one campaign (id or name) or (empty) of all.

        Raises:
            CampaignNotFound: There is none.
            InvalidPageToken: See `PageRequest`.
        """
        ...

    def newest(self, campaign_id: str, kind: ReleaseKind) -> Release | None:
        """Return the campaign's newest release of a kind, by phase."""
        ...

    def champion(self, campaign_id: str) -> Release | None:
        """Return the campaign's champion; None before the first promotion."""
        ...

    def promote(self, id: str, *, by_operator: bool = True, request_id: str = "") -> Release:
        """Make a segmenter the champion of its campaign; the champion before is RETIRED.

        Args:
            id: Of the release; promoting the champion again is allowed.
            by_operator: Also make its campaign the one that serves by default. A campaign that
                promotes by itself never takes the hospital's traffic away from another.
            request_id: Repeating the call with the same id returns the first answer.

        Raises:
            ReleaseNotFound: There is none.
            IllegalTransition: Not a segmenter.
        """
        ...

    def rollback(self, campaign: str, *, request_id: str = "") -> Release:
        """Return to the champion before the present one, which is RETIRED.

        Raises:
            CampaignNotFound: There is none.
            IllegalTransition: There is no champion before.
        """
        ...

    def serving(self, campaign: str = "") -> Serving:
        """Return what serves in a campaign (id or name), or (empty) by default.

        By default serves the champion of the campaign that an operator promoted in last, or of
        the first campaign that promoted by itself.

        Raises:
            CampaignNotFound: There is none.
            ReleaseNotFound: Nothing was promoted.
        """
        ...

    def resident(self, *, including: str = "") -> tuple[ModelVersion, ...]:
        """Return the model versions that Triton must hold, ascending by model and version.

        Over every campaign that is RUNNING or PAUSED, and the one that serves: the champion, the
        champion before it, the newest segmenter, and the two newest uncertainty models; over those
        that are RUNNING or PAUSED, also a control segmenter until it is measured.

        Args:
            including: Id of a release to hold as well: one about to be promoted must be loaded
                before it serves.

        Raises:
            ReleaseNotFound: `including` is unknown.
        """
        ...
