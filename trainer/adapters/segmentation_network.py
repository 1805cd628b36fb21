"""The network that is trained and exported: gray frame in, one foreground logit a pixel out."""

import torch
from torch import nn

from trainer.adapters.stochastic_dropout import MaskSource, insert_dropout
from trainer.domain.specs import DropoutSpec

__all__ = ["SegmentationNetwork"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class SegmentationNetwork(nn.Module):
    """Encoder, decoder and head, with scaling in front and dropout where it was asked for.

    Its state dict is the same with and without dropout.

    Attributes:
        encoder: float [B, 3, s, s] -> features, list of float [B, C_i, s_i, s_i].
        decoder: features -> float [B, C, h, w].
        head: float [B, C, h, w] -> logits float [B, 1, s, s].
        masks: Drives dropout in evaluation mode; without effect where there is no dropout.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        decoder_name: str,
        encoder: nn.Module,
        decoder: nn.Module,
        head: nn.Sequential,
        dropout: DropoutSpec | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.dropout = dropout
        self.masks = MaskSource(dropout)
        self.decoder_dropouts = nn.ModuleList()
        self.head_dropout: nn.Module = nn.Identity()
        if dropout is not None:
            last_convolution = head[0]
            assert isinstance(last_convolution, nn.Conv2d)  # how smp builds every head
            self.decoder_dropouts, last = insert_dropout(
                decoder_name, decoder, last_convolution.in_channels, dropout, self.masks
            )
            self.head_dropout = last if last is not None else nn.Identity()
        self.register_buffer(
            "mean", torch.tensor(_IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(_IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False
        )

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def normalize(self, gray: torch.Tensor) -> torch.Tensor:
        """Scale to [0, 1], repeat to three channels and standardize as ImageNet weights expect.

        Args:
            gray: [B, 1, s, s] with values 0 to 255, uint8 or float.

        Returns:
            float32 [B, 3, s, s].
        """
        return (gray.to(torch.float32) / 255.0 - self.mean) / self.std  # broadcasts to 3 channels

    def encode(self, gray: torch.Tensor) -> list[torch.Tensor]:
        """Return the encoder's features, finest first, of [B, 1, s, s] with values 0 to 255."""
        features: list[torch.Tensor] = self.encoder(self.normalize(gray))
        return features

    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return the decoder's output, float [B, C, h, w], that the head reads."""
        decoded: torch.Tensor = self.decoder(features)
        return decoded

    def classify(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return logits, float [B, 1, s, s], of the decoder's output."""
        logits: torch.Tensor = self.head(self.head_dropout(decoded))
        return logits

    def forward(self, gray: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 [B, 1, s, s], of [B, 1, s, s] with values 0 to 255."""
        return self.classify(self.decode(self.encode(gray)))
