"""The uncertainty model, `lv_uncertainty` of the Triton contract, as plain PyTorch.

This is what the exported graph is held to, written for clarity: every pass runs the whole network.
The export itself (`trainer.adapters.onnx_export`) takes a `StochasticPass` and lets
`trainer.adapters.stochastic_graph` repeat what has to be repeated.
"""

import torch
from torch import nn

from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.domain.errors import InvalidSpecification

__all__ = ["N_PASSES", "StochasticPass", "UncertaintyGraph"]

N_PASSES = 30
"""T of the source document."""


class UncertaintyGraph(nn.Module):
    """8-bit gray frame and seed in, acquisition scores out.

    The answer for a frame depends on that frame and its seed only, not on the rest of the batch.
    """

    INPUTS = ("image", "seed")
    OUTPUTS = ("scores", "embedding", "mean_probability", "std_map", "pixels")

    def __init__(
        self, network: SegmentationNetwork, image_size: int, n_passes: int = N_PASSES
    ) -> None:
        super().__init__()
        if network.dropout is None:
            raise InvalidSpecification("An uncertainty graph needs a network with dropout.")
        if n_passes < 2:  # noqa: PLR2004
            raise InvalidSpecification(f"n_passes is {n_passes}; at least 2 passes are needed.")
        self.network = network
        self.image_size = image_size
        self.shrink = FrameResize.shrinking_to(image_size)
        self.enlarge = FrameResize.enlarging_from(image_size)
        self.dropout = network.dropout
        self.n_passes = n_passes
        self.eval()

    def forward(
        self, image: torch.Tensor, seed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score frames.

        Args:
            image: uint8 [B, 1, 256, 256].
            seed: int64 [B, 1].

        Returns:
            scores: float32 [B, 4]; MFE, CFE, MI, STD summed over the pixels of the network's
                working resolution, entropies in nats.
            embedding: float32 [B, D], the deepest encoder features averaged over space.
            mean_probability: float32 [B, 1, 256, 256], mean over the passes.
            std_map: float32 [B, 1, 256, 256], population standard deviation over the passes.
            pixels: int64 [B, 1], how many pixels were summed for a score.
        """
        shrunk = self.shrink(image)
        embedding = self.network.encode(shrunk)[-1].mean(dim=(2, 3))
        passes = []
        for draws in self.network.masks.draw_passes(seed, self.n_passes).unbind(dim=1):
            with self.network.masks.running(draws):
                passes.append(self.network(shrunk))
        logits = torch.cat(passes, dim=1).double()  # [B, T, s, s]
        foreground, background = torch.sigmoid(logits), torch.sigmoid(-logits)
        mean = foreground.mean(dim=1, keepdim=True)
        mfe = _entropy(mean, background.mean(dim=1, keepdim=True))
        cfe = _entropy(foreground, background).mean(dim=1, keepdim=True)
        # Passes that all agree deviate by exactly 0 from the first, but not from a rounded mean.
        deviation = foreground - foreground[:, :1]
        std = deviation.var(dim=1, correction=0, keepdim=True).sqrt()
        maps = torch.cat([mfe, cfe, (mfe - cfe).abs(), std], dim=1)  # [B, 4, s, s]
        pixels = torch.full_like(seed, maps.shape[2] * maps.shape[3])
        return (
            maps.sum(dim=(2, 3)).float(),
            embedding,
            self.enlarge(mean.float()),
            self.enlarge(std.float()),
            pixels,
        )


class StochasticPass(nn.Module):
    """One pass, with everything random in an input of its own."""

    INPUTS = ("image", "draws")
    OUTPUTS = ("logits", "embedding")

    def __init__(self, graph: UncertaintyGraph) -> None:
        super().__init__()
        self.network = graph.network
        self.shrink = graph.shrink
        self.eval()

    def forward(
        self, image: torch.Tensor, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run a pass.

        Args:
            image: uint8 [B, 1, 256, 256].
            draws: [B, W, 1, 1], see `MaskSource`.

        Returns:
            logits: float32 [B, 1, s, s].
            embedding: float32 [B, D].
        """
        features = self.network.encode(self.shrink(image))
        with self.network.masks.running(draws):
            logits = self.network.classify(self.network.decode(features))
        return logits, features[-1].mean(dim=(2, 3))


def _entropy(foreground: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Return -p ln p - q ln q in nats."""
    entropy: torch.Tensor = torch.special.entr(foreground) + torch.special.entr(background)
    return entropy
