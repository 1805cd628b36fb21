"""Which model versions serve."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["ModelVersion", "Release", "Releases", "Serving"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable model version in Triton.

    Attributes:
        model: Triton model name.
        version: Triton version.
        digest: SHA-256 of the ONNX file, lower-case hex.
    """

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Release:
    """A published model version.

    Attributes:
        id: Release id, assigned by the coordinator.
        model: Where it lies in Triton.
    """

    id: str
    model: ModelVersion


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers a request.

    Attributes:
        segmenter: The champion.
        uncertainty: The newest uncertainty model of the same campaign, if there is one.
    """

    segmenter: Release
    uncertainty: Release | None = None


class Releases(Protocol):
    """Knows what serves."""

    async def serving(self, campaign: str) -> Serving:
        """Return what serves.

        Args:
            campaign: Id or name; empty takes the campaign that was promoted last.

        Raises:
            NoServingRelease: Nothing serves, or it is not known yet.
            NotFoundError: No such campaign.
        """
        ...

    async def refresh(self, campaign: str, stale: Serving) -> Serving:
        """Return what serves after `stale` turned out to be gone; ask anew if need be.

        Raises:
            NoServingRelease: Nothing serves, or nobody knows.
            NotFoundError: No such campaign.
        """
        ...
