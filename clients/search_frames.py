"""The frames that an architecture search trains on."""

from collections.abc import Iterable
from dataclasses import dataclass

from clients.client import EchoLoopClient
from echoloop.v1 import coordinator_pb2, trainer_pb2
from services.platform.errors import IllegalStateError

__all__ = ["SearchFrames", "gather_frames"]

_FEWEST_PATIENTS = 2


class NoLabeledFrames(IllegalStateError):
    """The training side has no frame with a mask."""


class TooFewPatients(IllegalStateError):
    """The labeled frames of the training side cannot be split by patient."""


@dataclass(frozen=True, slots=True)
class SearchFrames:
    """Labeled frames, by id.

    Attributes:
        train: Of the training side; the search holds some patients out to measure the reward.
        test: Of the test side; only reported on. May be empty.
    """

    train: tuple[trainer_pb2.LabeledFrame, ...]
    test: tuple[trainer_pb2.LabeledFrame, ...]

    @property
    def train_patients(self) -> int:
        """Distinct patients of the training side."""
        return len({frame.patient_id for frame in self.train})


def gather_frames(client: EchoLoopClient, dataset: str, *, campaign: str = "") -> SearchFrames:
    """Return the labeled frames of a data set.

    Args:
        client: A running stack.
        dataset: Name.
        campaign: Also take the labels that readers gave in this campaign (id or name); they win
            over imported masks.

    Raises:
        NotFoundError: No such data set or campaign.
        NoLabeledFrames: Nothing to train on; the text says how to get there.
        TooFewPatients: No patient could be held out.
    """
    train = _by_id(client.datasets.labeled_frames(dataset, coordinator_pb2.SPLIT_TRAIN))
    if campaign:
        train |= _by_id(client.campaigns.pool(campaign, coordinator_pb2.POOL_LABELED))
    test = _by_id(client.datasets.labeled_frames(dataset, coordinator_pb2.SPLIT_TEST))
    frames = SearchFrames(_sorted(train), _sorted(test))
    if not frames.train:
        raise NoLabeledFrames(
            f"No frame on the training side of the data set {dataset} has an expert's mask, and a "
            "search trains on such frames. Add the masks: echoloop import FOLDER --dataset "
            f"{dataset} --labels all. Once a campaign on the data set has started, import them "
            "under another name, or search on the labels of that campaign (--campaign NAME)."
        )
    if frames.train_patients < _FEWEST_PATIENTS:
        raise TooFewPatients(
            f"All {len(frames.train)} labeled frames on the training side of the data set "
            f"{dataset} are of one patient. A search holds patients out to measure on: label "
            "frames of at least 2 patients."
        )
    return frames


def _by_id(
    frames: Iterable[coordinator_pb2.PoolFrame],
) -> dict[str, trainer_pb2.LabeledFrame]:
    return {
        frame.frame_id: trainer_pb2.LabeledFrame(
            frame_id=frame.frame_id,
            image_ref=frame.image_ref,
            mask_ref=frame.mask_ref,
            patient_id=frame.patient_id,
        )
        for frame in frames
        if frame.mask_ref
    }


def _sorted(
    frames: dict[str, trainer_pb2.LabeledFrame],
) -> tuple[trainer_pb2.LabeledFrame, ...]:
    return tuple(frames[frame_id] for frame_id in sorted(frames))
