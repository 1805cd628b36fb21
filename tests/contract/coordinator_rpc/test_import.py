"""ImportFrames, FindMissingFrames, ListDatasets."""

import hashlib
import struct
import zlib

import grpc
import pytest

from echoloop.v1 import common_pb2, coordinator_pb2
from tests.contract.coordinator_rpc.conftest import Hospital, frame, image, jpeg, mask
from tests.contract.coordinator_rpc.refusals import refused

TEST = coordinator_pb2.SPLIT_TEST


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that claims a size without having the pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


async def test_frames_are_imported_and_counted(hospital: Hospital) -> None:
    response = await hospital.import_frames(
        *(frame(n) for n in range(70)),
        frame(70, split=TEST, mask_png=mask()),
        frame(71, image=jpeg(71)),
    )

    assert (response.imported, response.duplicates, len(response.rejected)) == (72, 0, 0)
    assert response.dataset.name == "echo"
    assert (response.dataset.train_frames, response.dataset.test_frames) == (71, 1)
    assert response.dataset.patients == 72
    listed = await hospital.coordinator.ListDatasets(coordinator_pb2.ListDatasetsRequest())
    assert list(listed.datasets) == [response.dataset]


async def test_an_import_sent_again_is_all_duplicates(hospital: Hospital) -> None:
    await hospital.import_frames(frame(1), frame(2))
    again = await hospital.import_frames(frame(1), frame(2), frame(3))

    assert (again.imported, again.duplicates) == (1, 2)


async def test_the_image_is_kept_as_it_came(hospital: Hospital) -> None:
    await hospital.import_frames(frame(1))

    digest = hashlib.sha256(image(1)).hexdigest()
    assert hospital.blobs.get(f"frames/{digest[:2]}/{digest}.png") == image(1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"image": b""}, "IMAGE"),
        ({"image": b"patient Doe, 1950"}, "IMAGE"),
        ({"image": image(9)[:60]}, "IMAGE"),
        ({"image": png_of_size(0, 0)}, "IMAGE"),
        ({"image": png_of_size(20_000, 20_000)}, "IMAGE"),
        ({"patient_id": ""}, "PATIENT_MISSING"),
        ({"patient_id": "  "}, "PATIENT_MISSING"),
        ({"name": ""}, "FRAME_NAME_INVALID"),
        ({"name": "n" * 201}, "FRAME_NAME_INVALID"),
        ({"name": "frame-1"}, "NAME_TAKEN"),
        ({"split": TEST}, "MASK_REQUIRED"),
        ({"split": 9}, "UNKNOWN_VALUE"),
        ({"mask_png": mask(8, 8)}, "MASK"),
        ({"mask_png": image(3)}, "MASK"),
        ({"mask_png": b"no mask"}, "MASK"),
        ({"spacing": common_pb2.PixelSpacing(row_mm=0.3)}, "FRAME_INVALID"),
        ({"spacing": common_pb2.PixelSpacing(row_mm=float("nan"), column_mm=1)}, "FRAME_INVALID"),
        ({"frame_index": -1}, "FRAME_INVALID"),
        ({"cardiac_phase": "systole"}, "FRAME_INVALID"),
    ],
)
async def test_a_bad_frame_is_refused_with_its_reason_and_the_rest_goes_on(
    hospital: Hospital, bad: dict[str, object], reason: str
) -> None:
    response = await hospital.import_frames(frame(1), frame(2, **bad), frame(3))

    assert response.imported == 2
    (rejected,) = response.rejected
    assert rejected.reason == reason
    assert rejected.message
    assert rejected.name == bad.get("name", "frame-2")


async def test_a_patient_on_both_sides_is_refused_and_frames_before_it_stay(
    hospital: Hospital,
) -> None:
    leak = frame(3, patient_id="p1", split=TEST, mask_png=mask())
    code, reason, _ = await refused(hospital.import_frames(frame(1), frame(2), leak, frame(4)))

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PATIENT_LEAKAGE")
    listed = await hospital.coordinator.ListDatasets(coordinator_pb2.ListDatasetsRequest())
    assert listed.datasets[0].train_frames == 2


async def test_a_stream_without_header_is_refused(hospital: Hospital) -> None:
    messages = [coordinator_pb2.ImportFramesRequest(frame=frame(1))]
    code, reason, _ = await refused(hospital.coordinator.ImportFrames(iter(messages)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMPORT_STREAM_INVALID")

    code, reason, _ = await refused(hospital.coordinator.ImportFrames(iter([])))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMPORT_STREAM_INVALID")


@pytest.mark.parametrize("name", ["", "../etc", "a b", "x" * 200])
async def test_a_bad_data_set_name_is_refused(hospital: Hospital, name: str) -> None:
    code, reason, _ = await refused(hospital.import_frames(frame(1), dataset=name))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")


async def test_missing_frames_are_named_in_order(hospital: Hospital) -> None:
    await hospital.import_frames(frame(1))
    hashes = [hashlib.sha256(image(n)).hexdigest() for n in (3, 1, 2)]
    response = await hospital.coordinator.FindMissingFrames(
        coordinator_pb2.FindMissingFramesRequest(dataset="echo", sha256s=hashes)
    )
    assert list(response.missing) == [hashes[0], hashes[2]]

    code, *_ = await refused(
        hospital.coordinator.FindMissingFrames(
            coordinator_pb2.FindMissingFramesRequest(dataset="echo", sha256s=["xyz"])
        )
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_masks_that_come_later_are_added_and_asked_for(hospital: Hospital) -> None:
    await hospital.import_frames(frame(1), frame(2, mask_png=mask()))
    hashes = [hashlib.sha256(image(n)).hexdigest() for n in (1, 2)]
    request = coordinator_pb2.FindMissingFramesRequest(dataset="echo", sha256s=hashes, labeled=True)
    response = await hospital.coordinator.FindMissingFrames(request)
    assert list(response.missing) == hashes[:1]

    again = await hospital.import_frames(*(frame(n, mask_png=mask()) for n in (1, 2)))
    assert (again.imported, again.duplicates, again.masks_added) == (0, 1, 1)
    assert not (await hospital.coordinator.FindMissingFrames(request)).missing
