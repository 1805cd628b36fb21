"""The served networks: `lv_segmenter` and `lv_uncertainty` of the Triton contract."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.gateway.domain.errors import ReleaseNotLoaded
from services.gateway.domain.releases import ModelVersion
from services.platform.triton import ModelNotLoaded, ModelNotReady, Tensors, TritonClient

__all__ = ["UNCERTAINTY_SEED", "TritonModels"]

UNCERTAINTY_SEED: Final = 0
"""Dropout seed of every uncertainty that the gateway returns: the same frame and release always
give the same number."""

# 64 kB a frame on the wire instead of 256 kB; half a grey level is far below what moves a contour.
_PROBABILITY: Final = ("probability_u8",)
_STD_SUM: Final = ("scores", "pixels")
_STD: Final = 3  # position in MFE, CFE, MI, STD


class TritonModels:
    """`Models` on Triton, the version pinned in every request.

    Args:
        client: Connection to Triton.
    """

    def __init__(self, client: TritonClient) -> None:
        self._client = client

    async def probability(self, model: ModelVersion, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 [256, 256] of 0..255; errors as in `Models.probability`."""
        tensors = await self._infer(model, image, _PROBABILITY, None)
        probability: NDArray[np.uint8] = tensors["probability_u8"][0, 0]
        return probability

    async def mean_uncertainty(self, model: ModelVersion, image: NDArray[np.uint8]) -> float:
        """Return the mean standard deviation; errors as in `Models.mean_uncertainty`."""
        tensors = await self._infer(model, image, _STD_SUM, UNCERTAINTY_SEED)
        return float(tensors["scores"][0, _STD]) / int(tensors["pixels"][0, 0])

    async def _infer(
        self,
        model: ModelVersion,
        image: NDArray[np.uint8],
        outputs: tuple[str, ...],
        seed: int | None,
    ) -> Tensors:
        version = self._client.model(model.model, model.version)
        try:
            return await version.infer(image[np.newaxis, np.newaxis], outputs, seed=seed)
        except (ModelNotLoaded, ModelNotReady) as exc:
            raise ReleaseNotLoaded(
                f"Triton does not hold version {model.version} of {model.model} now. Retry later; "
                "if it stays so, promote a release that is resident."
            ) from exc
