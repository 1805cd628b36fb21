"""Images from outside: checked from the header first, then decoded to 8-bit gray.

This is the only way that image bytes enter EchoLoop, and `network_input` is the only way that a
frame becomes what the network sees; the trainer, the uncertainty service and the gateway share it.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.platform.errors import InvalidInputError

__all__ = [
    "DEFAULT_LIMITS",
    "NETWORK_SIZE",
    "Gray",
    "ImageError",
    "ImageHeader",
    "ImageLimits",
    "check_size",
    "decode_gray",
    "decode_raw_gray",
    "encode_gray_png",
    "network_input",
    "read_header",
    "resize",
]

Gray: TypeAlias = NDArray[np.uint8]  # [H, W]

NETWORK_SIZE: Final = 256
"""Side in pixels of the square that both models take and give."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# Start-of-frame markers carry the size; C4, C8 and CC in their range are other segments.
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_START_OF_SCAN = 0xDA
_JPEG_LONE_MARKERS = frozenset({0x01, *range(0xD0, 0xDA)})  # no length field follows


class ImageError(InvalidInputError):
    """The bytes are not an image that EchoLoop can use."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may cost before it is decoded.

    Attributes:
        max_side: Longest side, pixels.
        max_pixels: Area, pixels.
    """

    max_side: int = 8192
    max_pixels: int = 40_000_000


DEFAULT_LIMITS: Final = ImageLimits()


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an encoded image says about itself."""

    format: Literal["PNG", "JPEG"]
    height: int
    width: int


def check_size(height: int, width: int, limits: ImageLimits = DEFAULT_LIMITS) -> None:
    """Refuse an empty image and one beyond the limits.

    Raises:
        ImageError: Says the size and what is allowed.
    """
    if height < 1 or width < 1:
        raise ImageError(f"The image is {width}x{height}; it needs at least one pixel a side.")
    if max(height, width) > limits.max_side or height * width > limits.max_pixels:
        raise ImageError(
            f"The image is {width}x{height}; at most {limits.max_side} pixels a side and "
            f"{limits.max_pixels / 1e6:g} megapixels are allowed. Crop or shrink it."
        )


def read_header(data: bytes) -> ImageHeader:
    """Return format and size without decoding; the size is as stated, not yet checked.

    Raises:
        ImageError: Neither PNG nor JPEG, or cut off within the header.
    """
    if data.startswith(_PNG_SIGNATURE):
        if len(data) < 33 or data[12:16] != b"IHDR":  # noqa: PLR2004  # signature + IHDR chunk
            raise ImageError("The PNG is cut off or damaged in its header.")
        width, height = struct.unpack(">II", data[16:24])
        return ImageHeader("PNG", height, width)
    if data.startswith(_JPEG_SIGNATURE):
        height, width = _jpeg_size(data)
        return ImageHeader("JPEG", height, width)
    found = "the data is empty" if not data else "the data starts like neither"
    raise ImageError(f"Not an image: {found}. Send PNG or JPEG, or raw gray with its shape.")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:  # noqa: PLR2004  # every marker starts with it
            break
        marker = data[position + 1]
        if marker == 0xFF:  # noqa: PLR2004  # fill byte
            position += 1
        elif marker in _JPEG_LONE_MARKERS:
            position += 2
        elif marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return height, width
        elif marker == _JPEG_START_OF_SCAN:
            break
        else:
            position += 2 + int(struct.unpack(">H", data[position + 2 : position + 4])[0])
    raise ImageError("The JPEG is cut off or damaged in its header.")


def decode_gray(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Gray:
    """Decode PNG or JPEG to 8-bit gray.

    16-bit gray is scaled by its full range (65535 -> 255), colour becomes its BT.601 luma, and
    transparent pixels show the black that an echo image has around its sector.

    Args:
        data: The encoded image.
        limits: Checked against the header before any pixel is decoded.

    Returns:
        uint8 [H, W], C-contiguous, writable.

    Raises:
        ImageError: Not an image, too large, damaged, or of an unsupported pixel type.
    """
    header = read_header(data)
    check_size(header.height, header.width, limits)
    try:
        with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
            # The header that counts for Pillow may be a later one.
            check_size(image.height, image.width, limits)
            image.load()
            return _to_gray(image)
    except ImageError:
        raise
    # Pillow raises many kinds for damaged data: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as exc:
        raise ImageError(
            f"The {header.format} cannot be decoded: it is damaged or cut off. Export it again."
        ) from exc


def _to_gray(image: Image.Image) -> Gray:
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or (
        image.mode == "P" and "transparency" in image.info
    ):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    elif image.mode not in ("1", "L", "P", "RGB"):
        raise ImageError(
            f"Pixel type {image.mode} is not supported. "
            "Export as 8- or 16-bit gray, RGB or palette."
        )
    return np.array(image.convert("L"), dtype=np.uint8)


def decode_raw_gray(
    data: bytes, height: int, width: int, limits: ImageLimits = DEFAULT_LIMITS
) -> Gray:
    """Return row-major 8-bit gray pixels as an array.

    Returns:
        uint8 [H, W], a read-only view of `data`.

    Raises:
        ImageError: The size is beyond the limits or is not that of the data.
    """
    check_size(height, width, limits)
    if len(data) != height * width:
        raise ImageError(
            f"Raw gray of {width}x{height} needs {height * width} bytes, one a pixel; "
            f"{len(data)} came."
        )
    return np.frombuffer(data, np.uint8).reshape(height, width)


def encode_gray_png(gray: Gray) -> bytes:
    """Encode uint8 [H, W] as an 8-bit gray PNG."""
    # Level 1: ultrasound speckle hardly compresses better at the default level 6 but takes longer.
    encoded, buffer = cv2.imencode(".png", gray, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise ImageError("The image cannot be encoded as PNG.")
    return bytes(buffer)


def resize(
    array: NDArray[np.uint8] | NDArray[np.float32], height: int, width: int
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Resample [H, W]: by area where it shrinks, bilinear where any side grows.

    Returns:
        The same dtype, [height, width]; always a new array.
    """
    if array.shape == (height, width):
        return array.copy()
    shrinks = array.shape[0] >= height and array.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Any = cv2.resize(array, (width, height), interpolation=interpolation)
    return resized  # type: ignore[no-any-return]  # cv2 keeps the dtype, its stubs do not


def network_input(gray: Gray) -> Gray:
    """Return the square that the networks take.

    The aspect ratio is not kept, as in the training data; `mask_to_source` undoes it exactly.

    Args:
        gray: uint8 [H, W].

    Returns:
        uint8 [NETWORK_SIZE, NETWORK_SIZE].
    """
    resized = resize(np.ascontiguousarray(gray), NETWORK_SIZE, NETWORK_SIZE)
    return resized.astype(np.uint8, copy=False)
