"""From anatomy to an image that looks like ultrasound.

Reflectivity is resampled to beams, multiplied by random scatterers and blurred by the pulse (short
along the beam, wide across it), which gives speckle that is fine in depth and widens with it. The
envelope is log compressed and scan converted back to the sector.
"""

from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.synthetic.anatomy import Heart, Outline

__all__ = ["ATRIUM", "BACKGROUND", "CAVITY", "MYOCARDIUM", "Acquisition", "label_map", "render"]

BACKGROUND: Final = 0
CAVITY: Final = 1
MYOCARDIUM: Final = 2
ATRIUM: Final = 3

_SUBPIXEL_BITS: Final = 6
_BEAMS: Final = 160
_SAMPLES: Final = 320
# Share of the image height between the probe and the end of the sector.
_DEPTH: Final = 0.985


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How well one clip was recorded.

    Attributes:
        half_angle: Half of the sector's opening, radians.
        gain: Brightness of the log-compressed image, about 1.
        contrast: Reflectivity of muscle over that of blood; small hides the border.
        haze: Strength of near-field clutter, 0 to 1.
        dropouts: [N, 3] of (angle in -1..1, width, remaining amplitude): shadows of ribs and lung.
        attenuation: Loss of brightness over depth, 0 to 1.
        patches: Seed of the slow texture of the tissue.
        poor: The quality a reader would note is poor.
    """

    half_angle: float
    gain: float
    contrast: float
    haze: float
    dropouts: NDArray[np.float64]
    attenuation: float
    patches: int
    poor: bool

    @classmethod
    def draw(cls, random: np.random.Generator) -> Self:
        """Draw an acquisition; about one in four is poor."""
        poor = bool(random.random() < 0.27)  # noqa: PLR2004
        count = int(random.integers(1, 4)) if poor else int(random.integers(0, 2))
        dropouts = np.stack(
            [
                random.uniform(-0.95, 0.95, count),
                random.uniform(0.05, 0.16, count),
                random.uniform(0.05, 0.4, count),
            ],
            axis=1,
        )
        return cls(
            half_angle=random.uniform(0.6, 0.68),
            gain=random.uniform(0.7, 1.05) if poor else random.uniform(0.9, 1.15),
            contrast=random.uniform(2.2, 4.0) if poor else random.uniform(4.5, 9.0),
            haze=random.uniform(0.35, 0.9) if poor else random.uniform(0.05, 0.4),
            dropouts=dropouts,
            attenuation=random.uniform(0.2, 0.5) if poor else random.uniform(0.0, 0.3),
            patches=int(random.integers(2**31)),
            poor=poor,
        )


def label_map(heart: Heart, height: int, width: int) -> NDArray[np.uint8]:
    """Draw the expert's answer: uint8 [height, width] of the four values of CAMUS."""
    labels = np.zeros((height, width), np.uint8)
    # The order resolves overlaps as CAMUS does: the cavity wins.
    for outline, value in (
        (heart.epicardium(), MYOCARDIUM),
        (heart.atrium(), ATRIUM),
        (heart.cavity(), CAVITY),
    ):
        _fill(labels, outline, value)
    return labels


def render(
    heart: Heart, acquisition: Acquisition, random: np.random.Generator, height: int, width: int
) -> NDArray[np.uint8]:
    """Return the image, uint8 [height, width]."""
    reflectivity = _reflectivity(heart, acquisition, height, width)
    beams = _to_beams(reflectivity, acquisition.half_angle)  # [_SAMPLES, _BEAMS]
    beams = beams * _shadows(acquisition)[None, :]
    scatterers = random.normal(size=(2, _SAMPLES, _BEAMS))
    blurred = [
        cv2.GaussianBlur(part * beams, (0, 0), sigmaX=1.5, sigmaY=1.05) for part in scatterers
    ]
    envelope = np.hypot(blurred[0], blurred[1])
    depth = np.linspace(0, 1, _SAMPLES)[:, None]
    clutter = (
        acquisition.haze
        * 0.5
        * np.exp(-depth / 0.14)
        * np.abs(
            cv2.GaussianBlur(random.normal(size=(_SAMPLES, _BEAMS)), (0, 0), sigmaX=3.0, sigmaY=1.2)
        )
    )
    envelope += clutter + 0.0025 * (1 + depth)
    decibels = 20 * np.log10(envelope / 0.22)
    level = np.clip((decibels + 38) / 42, 0, 1.1) * acquisition.gain
    level *= 1 - acquisition.attenuation * depth**1.5
    gray = np.clip(level, 0, 1) ** 1.35 * 235
    return _scan_convert(gray, acquisition.half_angle, height, width)


def _reflectivity(
    heart: Heart, acquisition: Acquisition, height: int, width: int
) -> NDArray[np.float64]:
    """Amplitude of the tissue, [height, width], about 0.03 in blood and 0.2 to 1 in muscle."""
    texture = np.random.default_rng(acquisition.patches)
    blood = 0.028
    muscle = blood * acquisition.contrast
    outside = np.full((height, width), muscle * 0.8)
    # Lung, liver and fat around the heart: blotches that move with the clip, not with the beat.
    blotches = cv2.GaussianBlur(texture.normal(size=(height, width)), (0, 0), height / 14)
    outside *= np.exp(1.1 * blotches / blotches.std())
    field = outside
    _paint(field, heart.epicardium(), muscle, feather=1.6)
    if heart.right_heart:
        _paint(field, heart.right_ventricle(), blood * 1.3, feather=2.0)
    _paint(field, heart.atrium(), blood * 1.1, feather=1.4)
    _paint(field, heart.cavity(), blood, feather=1.3)
    fibres = cv2.GaussianBlur(texture.normal(size=(height, width)), (0, 0), height / 60)
    field *= np.exp(0.35 * fibres / fibres.std())
    # Interfaces across the beam reflect most: the pericardium, the mitral ring and the leaflets.
    for line in heart.leaflets():
        _stroke(field, line, muscle * 2.2, thickness=1)
    epicardium = heart.epicardium()
    lateral = epicardium[len(epicardium) // 2 + 8 :]
    _stroke(field, lateral, muscle * 2.2, thickness=2)
    return np.asarray(cv2.GaussianBlur(field, (0, 0), 0.8), np.float64)


def _shadows(acquisition: Acquisition) -> NDArray[np.float64]:
    """Amplitude per beam [_BEAMS]."""
    angle = np.linspace(-1, 1, _BEAMS)
    amplitude = np.ones(_BEAMS)
    for centre, extent, rest in acquisition.dropouts:
        amplitude *= 1 - (1 - rest) * np.exp(-(((angle - centre) / extent) ** 2))
    return amplitude


def _to_beams(field: NDArray[np.float64], half_angle: float) -> NDArray[np.float64]:
    """Sample a sector of [H, W] as [_SAMPLES, _BEAMS]."""
    height, width = field.shape
    radius = np.linspace(0.0, _DEPTH, _SAMPLES)[:, None]
    angle = np.linspace(-half_angle, half_angle, _BEAMS)[None, :]
    x = (radius * np.sin(angle) * height + (width - 1) / 2).astype(np.float32)
    y = (radius * np.cos(angle) * height).astype(np.float32)
    sampled = cv2.remap(
        field.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled.astype(np.float64)


def _scan_convert(
    beams: NDArray[np.float64], half_angle: float, height: int, width: int
) -> NDArray[np.uint8]:
    """Draw [_SAMPLES, _BEAMS] as a sector on black, uint8 [height, width]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x = (x - (width - 1) / 2) / height
    y = y / height
    radius, angle = np.hypot(x, y), np.arctan2(x, y)
    sample = (radius / _DEPTH * (_SAMPLES - 1)).astype(np.float32)
    beam = ((angle + half_angle) / (2 * half_angle) * (_BEAMS - 1)).astype(np.float32)
    image = cv2.remap(
        beams.astype(np.float32), beam, sample, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = (radius <= _DEPTH) & (np.abs(angle) <= half_angle)
    return np.where(inside, np.clip(image, 0, 255), 0).astype(np.uint8)


def _pixels(outline: Outline, height: int, width: int) -> NDArray[np.int32]:
    scale = 1 << _SUBPIXEL_BITS
    points = outline * height + np.array([(width - 1) / 2, 0.0])
    fixed: NDArray[np.int32] = np.round(points * scale).astype(np.int32)
    return fixed


def _fill(labels: NDArray[np.uint8], outline: Outline, value: int) -> None:
    points = _pixels(outline, *labels.shape)
    cv2.fillPoly(labels, [points], color=value, shift=_SUBPIXEL_BITS)


def _paint(
    field: NDArray[np.float64], outline: Outline, amplitude: float, *, feather: float
) -> None:
    """Blend a region into the field with a soft border, `feather` pixels wide."""
    region = np.zeros(field.shape, np.uint8)
    _fill(region, outline, 1)
    weight = cv2.GaussianBlur(region.astype(np.float64), (0, 0), feather)
    field *= 1 - weight
    field += weight * amplitude


def _stroke(field: NDArray[np.float64], line: Outline, amplitude: float, *, thickness: int) -> None:
    """Brighten along an open line."""
    region = np.zeros(field.shape, np.uint8)
    points = _pixels(line, *field.shape)
    cv2.polylines(
        region, [points], isClosed=False, color=1, thickness=thickness, shift=_SUBPIXEL_BITS
    )
    field += amplitude * cv2.GaussianBlur(region.astype(np.float64), (0, 0), 0.8)
