"""The served uncertainty model: `lv_uncertainty` of the Triton contract."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.platform.errors import EchoLoopError, OverloadedError, UnavailableError
from services.platform.images import NETWORK_SIZE
from services.platform.triton import ModelNotLoaded, ModelNotReady, Tensors, TritonClient
from services.uncertainty.domain.frames import ScoringRun
from services.uncertainty.domain.ports import ModelAnswer

__all__ = ["TritonUncertainty", "UncertaintyModelBroken", "VersionNotLoaded"]

_SCORES: Final = ("scores", "pixels")
_EMBEDDING: Final = ("embedding",)
_MAPS: Final = ("mean_probability", "std_map")


class VersionNotLoaded(UnavailableError):
    """Triton does not hold the version at this moment: it restarts, or the version was retired."""


class UncertaintyModelBroken(UnavailableError):
    """The version fails on every frame, so no frame is to blame."""


class TritonUncertainty:
    """Scores batches on Triton; only the outputs that a run needs travel.

    Args:
        client: Connection to Triton.
    """

    def __init__(self, client: TritonClient) -> None:
        self._client = client

    async def score(
        self, run: ScoringRun, images: Sequence[NDArray[np.uint8]]
    ) -> Sequence[ModelAnswer]:
        """Score uint8 [256, 256] images in one request; errors as in `UncertaintyModel.score`."""
        wanted = (
            *_SCORES,
            *(_EMBEDDING if run.include_embeddings else ()),
            *(_MAPS if run.include_proposals else ()),
        )
        batch = np.stack(images)[:, np.newaxis]  # [B, 1, 256, 256]
        try:
            tensors = await self._client.model(run.model, run.version).infer(
                batch, wanted, seed=run.seed
            )
        except (ModelNotLoaded, ModelNotReady) as exc:
            raise VersionNotLoaded(
                f"Triton does not hold version {run.version} of {run.model} now. It is back when "
                "Triton has restarted; a retired version has to be made resident again."
            ) from exc
        return [_answer(tensors, row) for row in range(len(images))]

    async def check(self, run: ScoringRun) -> None:
        """Score a blank frame; see `UncertaintyModel.check`."""
        try:
            await self.score(run, [np.zeros((NETWORK_SIZE, NETWORK_SIZE), np.uint8)])
        except (UnavailableError, OverloadedError):
            raise
        except EchoLoopError as exc:
            raise UncertaintyModelBroken(
                f"Version {run.version} of {run.model} fails on a blank frame too. Triton's log "
                "has the reason; restart Triton or retrain."
            ) from exc


def _answer(tensors: Tensors, row: int) -> ModelAnswer:
    def optional(name: str) -> NDArray[np.float32] | None:
        values = tensors.get(name)
        return None if values is None else values[row]

    mean_probability, std_map = optional("mean_probability"), optional("std_map")
    return ModelAnswer(
        scores=tensors["scores"][row],
        pixels=int(tensors["pixels"][row, 0]),
        embedding=optional("embedding"),
        mean_probability=None if mean_probability is None else mean_probability[0],
        std_map=None if std_map is None else std_map[0],
    )
