"""Batches of augmented frames, a pure function of seed and epoch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from trainer.adapters.augmentations import Augmenter
from trainer.adapters.frame_cache import FrameCache
from trainer.domain.specs import TrainingSpec

__all__ = ["EpochBatches", "steps_per_epoch"]


def steps_per_epoch(spec: TrainingSpec, n_frames: int) -> int:
    """Return the optimizer steps of an epoch over this many frames."""
    needed = -(-n_frames // spec.batch_size)
    return max(needed, -(-spec.min_steps // spec.epochs))


class EpochBatches:
    """The batches of one epoch.

    Every batch is full: batch normalization cannot train on a single frame, and shapes that stay
    the same train faster. Where the frames do not fill the last batch (or the spec wants more
    steps), a further random order of the frames continues it.

    Iterating yields (images uint8 [B, 1, s, s], masks float32 [B, 1, s, s] of 0 and 1). While the
    network computes on a batch, a thread makes the next one: augmenting a frame takes a tenth of a
    millisecond, a hundredth of a training step on a CPU but as long as one on a GPU. Worker
    processes would cost seconds to start, and memory. One thread makes all batches in their order,
    so what it makes depends on nothing but seed and epoch; it ends with the iteration.
    """

    def __init__(self, frames: FrameCache, spec: TrainingSpec, epoch: int) -> None:
        self._frames = frames
        self._spec = spec
        self._epoch = epoch

    def __len__(self) -> int:
        return steps_per_epoch(self._spec, len(self._frames))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        batches = self._batches()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
            upcoming = thread.submit(next, batches, None)
            while (batch := upcoming.result()) is not None:
                upcoming = thread.submit(next, batches, None)
                yield batch

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng([self._spec.seed, self._epoch])
        augment = Augmenter(self._spec.augmentation, seed=int(rng.integers(2**31)))
        batch_size = self._spec.batch_size
        n_frames = len(self._frames)
        n_orders = -(-len(self) * batch_size // n_frames)
        order = np.concatenate([rng.permutation(n_frames) for _ in range(n_orders)])
        for start in range(0, len(self) * batch_size, batch_size):
            varied = [
                augment(np.array(self._frames.images[row]), np.array(self._frames.masks[row]))
                for row in order[start : start + batch_size]
            ]
            images = torch.from_numpy(np.stack([image for image, _ in varied]))[:, None]
            # Not by torch: in this thread it would start a pool of its own beside the training's.
            coverage = np.stack([mask for _, mask in varied]).astype(np.float32)
            yield images, torch.from_numpy(coverage)[:, None]
