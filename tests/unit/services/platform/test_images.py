"""Images of every kind become gray, and bad ones are refused before they cost anything."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.platform.images import (
    NETWORK_SIZE,
    Gray,
    ImageError,
    ImageHeader,
    ImageLimits,
    decode_gray,
    decode_raw_gray,
    encode_gray_png,
    network_input,
    read_header,
)


def speckle(height: int = 48, width: int = 64) -> Gray:
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that states a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_gray_pixels_of_any_type_come_back_exactly(mode: str) -> None:
    gray = speckle()
    decoded = decode_gray(encoded(Image.fromarray(gray).convert(mode)))
    np.testing.assert_array_equal(decoded, gray)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    assert decoded.flags.c_contiguous


def test_one_bit_becomes_black_and_white() -> None:
    bits = speckle() > 127
    np.testing.assert_array_equal(decode_gray(encoded(Image.fromarray(bits))), bits * np.uint8(255))


def test_sixteen_bits_are_scaled_by_the_full_range() -> None:
    gray = speckle()
    wide = gray.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_gray(encoded(Image.fromarray(wide))), gray)


def test_colour_becomes_luma() -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(255, 0, 0), (0, 255, 0)])
    assert decode_gray(encoded(image)).tolist() == [[76, 150]]


def test_transparent_pixels_are_black() -> None:
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    image.putpixel((1, 0), (255, 255, 255, 255))
    assert decode_gray(encoded(image)).tolist() == [[0, 255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 255, 255, 200, 200, 200])
    palette.putpixel((1, 0), 1)
    assert decode_gray(encoded(palette, transparency=0)).tolist() == [[0, 200]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_close_and_has_its_size(mode: str) -> None:
    gray = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    data = encoded(Image.fromarray(gray).convert(mode), "JPEG", quality=95)
    assert read_header(data) == ImageHeader("JPEG", 48, 64)
    assert np.abs(decode_gray(data).astype(int) - gray).max() < 8


def test_progressive_jpeg_with_comment_has_its_size() -> None:
    data = encoded(Image.fromarray(speckle()), "JPEG", progressive=True, comment=b"x" * 300)
    assert read_header(data) == ImageHeader("JPEG", 48, 64)
    assert decode_gray(data).shape == (48, 64)


def test_cmyk_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="CMYK is not supported"):
        decode_gray(encoded(Image.new("CMYK", (4, 4)), "JPEG"))


@pytest.mark.parametrize(
    ("width", "height"),
    [(0, 0), (0, 5), (5, 0), (20_000, 20_000), (8193, 1), (1, 8193), (2**31 - 1, 2**31 - 1)],
)
def test_a_size_beyond_the_limits_is_refused_from_the_header(width: int, height: int) -> None:
    data = png_header(width, height)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=f"{width}x{height}"):
            decode_gray(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_jpeg_beyond_the_limits_is_refused_from_the_header() -> None:
    data = bytearray(encoded(Image.fromarray(speckle()), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 20_000, 20_000)
    with pytest.raises(ImageError, match="20000x20000"):
        decode_gray(bytes(data))


def test_a_second_header_cannot_smuggle_a_size() -> None:
    small, large = png_header(4, 4), png_header(20_000, 20_000)
    with pytest.raises(ImageError):
        decode_gray(small + large[8:])


def test_the_area_is_limited_too() -> None:
    with pytest.raises(ImageError, match="40 megapixels"):
        decode_gray(png_header(8000, 8000))
    with pytest.raises(ImageError, match="at most 10 pixels"):
        decode_gray(encode_gray_png(speckle()), ImageLimits(max_side=10, max_pixels=100))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is a text file\n",
        b"GIF89a" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"\xff\xd8" + b"\xff" * 1000,
        png_header(4, 4),
    ],
)
def test_what_is_no_image_is_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_gray(data)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_image_is_an_image_error(image_format: str, kept: float) -> None:
    data = encoded(Image.fromarray(speckle()), image_format)
    with pytest.raises(ImageError):
        decode_gray(data[: int(len(data) * kept)])


@given(
    position=st.integers(0, 3000),
    junk=st.binary(min_size=1, max_size=20),
    image_format=st.sampled_from(["PNG", "JPEG"]),
)
def test_damage_anywhere_decodes_or_is_an_image_error(
    position: int, junk: bytes, image_format: str
) -> None:
    data = bytearray(encoded(Image.fromarray(speckle()), image_format))
    position %= len(data)
    data[position : position + len(junk)] = junk
    try:
        decoded = decode_gray(bytes(data))
    except ImageError:
        return
    assert decoded.ndim == 2


def test_raw_gray_is_its_bytes() -> None:
    gray = speckle()
    np.testing.assert_array_equal(decode_raw_gray(gray.tobytes(), 48, 64), gray)


@pytest.mark.parametrize(
    ("size", "height", "width"), [(10, 3, 4), (0, 0, 0), (4, -2, -2), (4, 20_000, 20_000)]
)
def test_raw_gray_of_another_size_is_refused(size: int, height: int, width: int) -> None:
    with pytest.raises(ImageError):
        decode_raw_gray(bytes(size), height, width)


@pytest.mark.parametrize("shape", [(256, 256), (600, 800), (100, 90), (1, 1), (600, 100)])
def test_the_network_input_is_a_square_of_the_contract(shape: tuple[int, int]) -> None:
    square = network_input(speckle(*shape))
    assert square.shape == (NETWORK_SIZE, NETWORK_SIZE)
    assert square.dtype == np.uint8


def test_the_network_input_takes_views_and_leaves_its_argument_alone() -> None:
    gray = speckle(256, 256)
    square = network_input(gray)
    square[:] = 0
    np.testing.assert_array_equal(gray, speckle(256, 256))
    read_only = decode_raw_gray(gray.tobytes(), 256, 256)
    np.testing.assert_array_equal(network_input(read_only[::-1]), gray[::-1])


def test_shrinking_averages_areas() -> None:
    gray = np.kron(speckle(256, 256), np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(network_input(gray), speckle(256, 256))
