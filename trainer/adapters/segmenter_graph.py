"""The graph of the segmenter: `lv_segmenter` of the Triton contract."""

import torch
from torch import nn

from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.segmentation_network import SegmentationNetwork

__all__ = ["SegmenterGraph"]


class SegmenterGraph(nn.Module):
    """8-bit gray frame in, foreground probability out, at the contract's size.

    The logits are enlarged, not the probabilities: the contour, where the logit is 0, then lies
    where a straight line between neighbouring pixels puts it, and stays sharp.
    """

    INPUTS = ("image",)
    OUTPUTS = ("probability", "probability_u8")

    def __init__(self, network: SegmentationNetwork, image_size: int) -> None:
        super().__init__()
        self.network = network
        self.shrink = FrameResize.shrinking_to(image_size)
        self.enlarge = FrameResize.enlarging_from(image_size)
        self.eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Segment frames.

        Args:
            image: uint8 [B, 1, 256, 256].

        Returns:
            probability: float32 [B, 1, 256, 256].
            probability_u8: uint8 [B, 1, 256, 256], 255 times the probability, rounded.
        """
        probability = torch.sigmoid(self.enlarge(self.network(self.shrink(image))))
        return probability, torch.round(probability * 255.0).to(torch.uint8)
