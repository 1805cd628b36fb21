"""Messages and domain values."""

import numpy as np
import pytest

from echoloop.v1 import common_pb2
from echoloop.v1.segmentation_pb2 import (
    MASK_ENCODING_RUN_LENGTH,
    InputImage,
    RawGray,
)
from echoloop.v1.segmentation_pb2 import SegmentationOptions as OptionsMessage
from services.gateway.domain import segmentation as domain
from services.gateway.domain.errors import BadSegmentationRequest
from services.gateway.domain.releases import ModelVersion, Release
from services.gateway.rpc.converters import read_frame, read_options, write_segmentation


def test_options_default_to_png_of_what_serves() -> None:
    options = read_options(OptionsMessage())
    assert options == domain.SegmentationOptions()
    options = read_options(
        OptionsMessage(
            mask_encoding=MASK_ENCODING_RUN_LENGTH, include_uncertainty=True, campaign="c"
        )
    )
    assert options == domain.SegmentationOptions(domain.MaskEncoding.RUN_LENGTH, True, "c")


def test_an_unknown_encoding_is_refused() -> None:
    from_a_newer_client = OptionsMessage.FromString(b"\x08\x63")  # mask_encoding = 99
    with pytest.raises(BadSegmentationRequest, match="mask_encoding"):
        read_options(from_a_newer_client)


@pytest.mark.parametrize(
    "spacing",
    [(0, 0.3), (0.3, 0), (-1, 0.3), (float("nan"), 0.3), (0.3, float("inf"))],
)
def test_an_impossible_spacing_is_refused(spacing: tuple[float, float]) -> None:
    message = InputImage(
        file=b"x", spacing=common_pb2.PixelSpacing(row_mm=spacing[0], column_mm=spacing[1])
    )
    with pytest.raises(BadSegmentationRequest, match="spacing"):
        read_frame(message)


@pytest.mark.parametrize(
    "message",
    [
        InputImage(),
        InputImage(raw=RawGray(data=b"xx", shape=[2], dtype="UINT8")),
        InputImage(raw=RawGray(data=b"xx", shape=[1, 1, 2], dtype="UINT8")),
        InputImage(raw=RawGray(data=b"xx", shape=[1, 2], dtype="UINT16")),
    ],
)
def test_an_image_without_usable_content_is_refused(message: InputImage) -> None:
    with pytest.raises(BadSegmentationRequest):
        read_frame(message)


def test_a_frame_keeps_pixels_and_spacing() -> None:
    message = InputImage(
        raw=RawGray(data=b"abcdef", shape=[2, 3], dtype="UINT8"),
        spacing=common_pb2.PixelSpacing(row_mm=0.5, column_mm=0.25),
    )
    frame = read_frame(message)
    assert frame.content == domain.RawImage(b"abcdef", 2, 3)
    assert frame.spacing == domain.Spacing(0.5, 0.25)


def result(mask: bytes | list[int], **values: float | None) -> domain.Segmentation:
    outline = domain.Outline(
        mask if isinstance(mask, bytes) else np.array(mask, np.int32),
        np.array([[1, 2], [3, 2], [3, 4]], np.float32),
        area_px=7,
        height=4,
        width=5,
    )
    return domain.Segmentation(
        outline,
        values.get("area_mm2"),
        values.get("mean_uncertainty"),
        Release("r1", ModelVersion("lv_segmenter", 3, "digest")),
        latency_ms=12.5,
    )


def test_absent_values_stay_absent() -> None:
    message = write_segmentation(result(b"png"))
    assert message.mask_png == b"png"
    assert not message.HasField("area_mm2")
    assert not message.HasField("mean_uncertainty")
    assert [(point.x, point.y) for point in message.contour.points] == [(1, 2), (3, 2), (3, 4)]


def test_present_values_are_sent_even_when_zero() -> None:
    message = write_segmentation(result([20], area_mm2=0.0, mean_uncertainty=0.0))
    assert message.HasField("area_mm2")
    assert message.HasField("mean_uncertainty")
    assert list(message.mask_runs.runs) == [20]
    assert list(message.mask_runs.shape) == [4, 5]
    assert (message.release, message.model.version, message.latency_ms) == ("r1", 3, 12.5)
