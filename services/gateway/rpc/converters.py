"""Between messages and the domain. Pure."""

import math

from echoloop.v1 import common_pb2, segmentation_pb2
from services.gateway.domain.errors import BadSegmentationRequest
from services.gateway.domain.segmentation import (
    EncodedImage,
    InputFrame,
    MaskEncoding,
    RawImage,
    Segmentation,
    SegmentationOptions,
    Spacing,
)

__all__ = ["read_frame", "read_options", "write_segmentation"]

_RAW_DIMENSIONS = 2
_ENCODINGS = {
    segmentation_pb2.MASK_ENCODING_UNSPECIFIED: MaskEncoding.PNG,
    segmentation_pb2.MASK_ENCODING_PNG: MaskEncoding.PNG,
    segmentation_pb2.MASK_ENCODING_RUN_LENGTH: MaskEncoding.RUN_LENGTH,
}


def read_options(options: segmentation_pb2.SegmentationOptions) -> SegmentationOptions:
    """Return what to return.

    Raises:
        BadSegmentationRequest: An encoding that this gateway does not know.
    """
    encoding = _ENCODINGS.get(options.mask_encoding)
    if encoding is None:
        raise BadSegmentationRequest("mask_encoding must be PNG or RUN_LENGTH.")
    return SegmentationOptions(encoding, options.include_uncertainty, options.campaign)


def read_frame(image: segmentation_pb2.InputImage) -> InputFrame:
    """Return the frame; whether its bytes are an image shows when they are decoded.

    Raises:
        BadSegmentationRequest: No content, a raw shape that is none, or an impossible spacing.
    """
    spacing = _spacing(image.spacing) if image.HasField("spacing") else None
    content = image.WhichOneof("content")
    if content == "file":
        return InputFrame(EncodedImage(image.file), spacing)
    if content == "raw":
        return InputFrame(_raw(image.raw), spacing)
    raise BadSegmentationRequest("The image has no content. Send a PNG or JPEG file, or raw gray.")


def _raw(raw: segmentation_pb2.RawGray) -> RawImage:
    if raw.dtype != "UINT8" or len(raw.shape) != _RAW_DIMENSIONS:
        raise BadSegmentationRequest('Raw gray needs dtype "UINT8" and a shape of rows, columns.')
    return RawImage(raw.data, raw.shape[0], raw.shape[1])


def _spacing(spacing: common_pb2.PixelSpacing) -> Spacing:
    for value in (spacing.row_mm, spacing.column_mm):
        if not (math.isfinite(value) and value > 0):
            raise BadSegmentationRequest(
                "Pixel spacing must be greater than 0 mm for rows and columns. Leave it out when "
                "it is not known."
            )
    return Spacing(spacing.row_mm, spacing.column_mm)


def write_segmentation(result: Segmentation) -> segmentation_pb2.Segmentation:
    """Return the message of a result."""
    outline, model = result.outline, result.release.model
    message = segmentation_pb2.Segmentation(
        contour=common_pb2.Polygon(
            points=[common_pb2.Point(x=x, y=y) for x, y in outline.contour.tolist()]
        ),
        area_px=outline.area_px,
        area_mm2=result.area_mm2,
        mean_uncertainty=result.mean_uncertainty,
        release=result.release.id,
        model=common_pb2.ModelVersion(
            model=model.model, version=model.version, digest=model.digest
        ),
        latency_ms=result.latency_ms,
    )
    if isinstance(outline.mask, bytes):
        message.mask_png = outline.mask
    else:
        message.mask_runs.runs.extend(outline.mask.tolist())
        message.mask_runs.shape.extend((outline.height, outline.width))
    return message
