"""Writes checkpoints straight into their file."""

from pathlib import Path
from typing import Any

import torch

from trainer.adapters.torchvision_schemas import register_missing_schemas

register_missing_schemas()

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402  # see schemas

__all__ = ["CheckpointFile"]


class CheckpointFile(TorchCheckpointIO):
    """Lightning's checkpoints without its detour through memory.

    Lightning serializes into memory, copies that and writes the copy: twice the checkpoint's size,
    140 MB for Linknet-resnet18 with AdamW, on top of a training that has a memory limit, and a
    third more processor time. Whoever saves renames the file when it is complete.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, replacing the file.

        Raises:
            OSError: The file cannot be written, or not to its end.
        """
        if storage_options is not None:
            raise TypeError("a checkpoint file takes no storage options")
        # Given a path, torch's archive writer hides the system's error behind one of its own.
        with Path(path).open("wb") as file:
            torch.save(checkpoint, file)
