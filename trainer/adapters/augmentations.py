"""Variations of training frames, with albumentations."""

import os
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.domain.specs import AugmentationPreset

# albumentations asks the network for newer versions when it is imported.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A  # noqa: N812  # the name its documentation uses

__all__ = ["Augmenter", "PiecewiseWarp"]

_Frame = NDArray[np.uint8]  # [s, s]


class PiecewiseWarp(A.DualTransform):  # type: ignore[misc]  # albumentations is untyped
    """Moves the nodes of a coarse grid at random and follows them in between.

    Stands for the document's PiecewiseAffine, which takes 160 ms for a 128x128 frame (and
    albumentations itself warns against): between the nodes displacements are interpolated
    bilinearly instead of per triangle, which takes a tenth of a millisecond.

    Args:
        scale: Standard deviation of a node's displacement, as a fraction of the side.
        nodes: Nodes a side.
        p: Probability of applying it.
    """

    _targets = (A.core.transforms_interface.Targets.IMAGE, A.core.transforms_interface.Targets.MASK)

    def __init__(self, scale: float = 0.03, nodes: int = 4, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.scale = scale
        self.nodes = nodes

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the displacements; albumentations calls this once for a frame and its mask."""
        del data
        height, width = params["shape"][:2]
        nodes = self.random_generator.normal(0.0, self.scale, (self.nodes, self.nodes, 2))
        moved = cv2.resize(nodes.astype(np.float32), (width, height))
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        return {
            "map_x": columns + moved[:, :, 0] * np.float32(width),
            "map_y": rows + moved[:, :, 1] * np.float32(height),
        }

    def apply(self, img: _Frame, map_x: Any, map_y: Any, **_: Any) -> _Frame:
        """Warp a frame, bilinearly."""
        return cast("_Frame", cv2.remap(img, map_x, map_y, cv2.INTER_LINEAR))

    def apply_to_mask(self, mask: _Frame, map_x: Any, map_y: Any, **_: Any) -> _Frame:
        """Warp a mask, by nearest neighbour."""
        return cast("_Frame", cv2.remap(mask, map_x, map_y, cv2.INTER_NEAREST))


class Augmenter:
    """Varies frames and their masks together; a pure function of its seed and its calls so far."""

    def __init__(self, preset: AugmentationPreset, seed: int) -> None:
        self._compose = A.Compose(_transforms(preset), seed=seed)

    def __call__(self, image: _Frame, mask: _Frame) -> tuple[_Frame, _Frame]:
        """Return a variation of a frame and of its mask, uint8 [s, s] both."""
        varied = self._compose(image=image, mask=mask)
        return varied["image"], varied["mask"]


def _transforms(preset: AugmentationPreset) -> Sequence[Any]:
    if preset is AugmentationPreset.NONE:
        return ()
    if preset is AugmentationPreset.LIGHT:
        return (
            A.Affine(rotate=(-15, 15), scale=(0.85, 1.15), translate_percent=(-0.06, 0.06), p=0.8),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
            A.GaussNoise(std_range=(0.01, 0.05), p=0.2),
        )
    # The source document lists names and one probability; it is the list of the example pipeline
    # that albumentations publishes, whose other probabilities are therefore taken.
    return (
        A.RandomRotate90(p=0.5),
        A.HorizontalFlip(p=0.5),
        A.Transpose(p=0.5),
        A.Rotate(limit=45, border_mode=cv2.BORDER_CONSTANT, p=0.2),
        A.GaussNoise(std_range=(0.02, 0.1), p=0.2),
        A.OneOf(
            [
                A.MotionBlur(blur_limit=5, p=0.2),
                A.MedianBlur(blur_limit=3, p=0.1),
                A.Blur(blur_limit=3, p=0.1),
            ],
            p=0.2,
        ),
        A.OneOf([A.OpticalDistortion(p=0.3), A.GridDistortion(p=0.1), PiecewiseWarp(p=0.3)], p=0.2),
        A.OneOf([A.CLAHE(clip_limit=2, p=0.5), A.RandomBrightnessContrast(p=0.5)], p=0.3),
    )
