"""Writes checkpoints straight into their file."""

from typing import Any

import torch

from trainer.adapters.torchvision_schemas import register_missing_schemas

register_missing_schemas()

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402  # see schemas

__all__ = ["CheckpointFile"]


class CheckpointFile(TorchCheckpointIO):
    """Lightning's checkpoints without its detour through memory.

    Lightning serializes into memory, copies that and writes the copy, which takes four times the
    processor time (339 ms against 87 ms for the 140 MB of Linknet-resnet18 with AdamW: as long as
    three training steps) and twice the checkpoint's size in memory. Whoever saves renames the file
    when it is complete.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, replacing the file.

        Raises:
            RuntimeError: The disk is full, as torch's archive writer says it.
            OSError: The file cannot be written.
        """
        if storage_options is not None:
            raise TypeError("a checkpoint file takes no storage options")
        torch.save(checkpoint, path)
