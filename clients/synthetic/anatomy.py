"""A heart in an apical view: outlines of its chambers as functions of a few random numbers.

Coordinates are (x, y) in units of the image height with the probe at (0, 0), x to the right and y
to the depth. A heart is drawn once per patient and view; its contraction is a parameter, so the
end-diastolic and end-systolic frames show the same anatomy, as in real studies.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Heart", "Outline", "Pose"]

Outline = NDArray[np.float64]  # [N, 2] of (x, y), closed

_POINTS: Final = 48


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the left ventricle lies in the sector; lengths in image heights.

    Attributes:
        apex_x: Lateral position of the endocardial apex.
        apex_y: Depth of the endocardial apex.
        tilt: Rotation of the long axis, radians, positive swings the base to the right.
        length: From the apex to the mitral plane at end-diastole.
    """

    apex_x: float
    apex_y: float
    tilt: float
    length: float

    def place(self, across: NDArray[np.float64], along: NDArray[np.float64]) -> Outline:
        """Map heart coordinates (across, along the long axis from the apex) to the image.

        Args:
            across: [N], positive to the lateral side.
            along: [N].

        Returns:
            [N, 2] of (x, y).
        """
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        x = self.apex_x + cosine * across + sine * along
        y = self.apex_y - sine * across + cosine * along
        return np.stack([x, y], axis=1)


@dataclass(frozen=True, slots=True)
class Heart:
    """One patient's heart in one view, at one moment of the cycle.

    Attributes:
        pose: Position in the sector.
        half_width: Largest half width of the LV cavity at end-diastole.
        roundness: Exponent of the apex, about 2 for an ellipse, more for a blunt one.
        base_taper: Share by which the cavity narrows at the mitral plane.
        septum: Thickness of the septal (left) wall at end-diastole.
        lateral: Thickness of the lateral (right) wall at end-diastole.
        waviness: [2, 4] amplitudes of the wall's irregularity, septal and lateral.
        atrium_length: Length of the left atrium at end-diastole.
        atrium_width: Half width of the left atrium at end-diastole.
        right_heart: The view shows the right ventricle (four chambers).
        shortening: Fraction by which the cavity narrows at end-systole.
        contraction: 0 at end-diastole, 1 at end-systole.
    """

    pose: Pose
    half_width: float
    roundness: float
    base_taper: float
    septum: float
    lateral: float
    waviness: NDArray[np.float64]
    atrium_length: float
    atrium_width: float
    right_heart: bool
    shortening: float
    contraction: float = 0.0

    @classmethod
    def draw(cls, random: np.random.Generator, *, view: str) -> Self:
        """Draw a heart.

        Args:
            random: Source of every choice.
            view: "2CH" or "4CH".
        """
        dilated = random.random() < 0.2  # noqa: PLR2004  # share of enlarged, weak ventricles
        length = random.uniform(0.42, 0.56)
        return cls(
            pose=Pose(
                apex_x=random.normal(-0.01, 0.03),
                apex_y=random.uniform(0.09, 0.17),
                tilt=random.normal(0.03, 0.09),
                length=length,
            ),
            half_width=length
            * (random.uniform(0.27, 0.33) if dilated else random.uniform(0.2, 0.27)),
            roundness=random.uniform(1.9, 2.7),
            base_taper=random.uniform(0.1, 0.3),
            septum=random.uniform(0.045, 0.07),
            lateral=random.uniform(0.045, 0.065),
            waviness=random.normal(0.0, 1.0, (2, 4)) * np.array([0.07, 0.05, 0.03, 0.02]),
            atrium_length=random.uniform(0.17, 0.27),
            atrium_width=random.uniform(0.09, 0.13),
            right_heart=view == "4CH",
            shortening=random.uniform(0.1, 0.2) if dilated else random.uniform(0.22, 0.42),
        )

    def contracted(self, amount: float) -> Self:
        """Return the same heart at another moment; 0 is end-diastole, 1 end-systole."""
        return replace(self, contraction=amount)

    @property
    def length(self) -> float:
        """Length of the cavity now: the base moves towards the apex."""
        return self.pose.length * (1 - 0.45 * self.shortening * self.contraction)

    def cavity(self) -> Outline:
        """Outline of the left ventricular cavity, closed by the mitral plane."""
        return self._ring(0.0, 0.0)

    def epicardium(self) -> Outline:
        """Outer border of the myocardium, closed a little beyond the mitral plane."""
        thickening = 1 + 1.1 * self.shortening * self.contraction
        return self._ring(self.septum * thickening, self.lateral * thickening)

    def atrium(self) -> Outline:
        """Outline of the left atrium, from the mitral plane downwards; it fills in systole."""
        length = self.atrium_length * (1 + 0.25 * self.contraction)
        width = self.atrium_width * (1 + 0.15 * self.contraction)
        neck = self._half_width(np.array([1.0]))[0] * 0.92
        angle = np.linspace(0, np.pi, _POINTS)
        opening = np.clip(np.sin(angle) / 0.35, 0, 1)  # from the mitral ring to full width
        across = np.cos(angle) * (neck + (width - neck) * opening)
        along = self.length + 0.012 + length * np.sin(angle) ** 0.8
        return self.pose.place(across, along)

    def right_ventricle(self) -> Outline:
        """Outline of the right ventricle, left of the septum; meaningful in the 4CH view."""
        along = np.linspace(0.3, 1.0, _POINTS // 2)
        septal = -self._half_width(along) - self.septum - 0.004
        free = septal - 0.17 * np.sin(np.clip((along - 0.3) / 0.7, 0, 1) * np.pi * 0.62) ** 0.8
        return self.pose.place(
            np.concatenate([septal, free[::-1]]),
            np.concatenate([along, along[::-1]]) * self.length,
        )

    def leaflets(self) -> tuple[Outline, Outline]:
        """Both mitral leaflets as open lines: closed in systole, hanging into the cavity before."""
        hinge = self._half_width(np.array([1.0]))[0]
        step = np.linspace(0, 1, _POINTS // 3)
        opening = 1 - self.contraction
        drop = self.length + 0.006
        lines = []
        for side, reach in ((-1.0, 0.62), (1.0, 0.40)):
            across = side * hinge * (1 - step * (1 - 0.35 * opening) * (0.98 if side < 0 else 0.9))
            along = (
                drop
                - opening * reach * 0.26 * step**1.3
                + (1 - opening) * 0.018 * np.sin(np.pi * step)
            )
            lines.append(self.pose.place(across, along))
        return lines[0], lines[1]

    def _half_width(self, along: NDArray[np.float64], side: int = 0) -> NDArray[np.float64]:
        """Half width of the cavity at relative depths [N] in 0..1; side 0 septal, 1 lateral."""
        narrowing = 1 - self.shortening * self.contraction
        bullet = (1 - (1 - np.clip(along / 0.62, 0, 1)) ** self.roundness) ** (1 / self.roundness)
        taper = 1 - self.base_taper * np.clip((along - 0.55) / 0.45, 0, 1) ** 1.6
        order = np.arange(1, 5)[:, None]
        wave = (self.waviness[side][:, None] * np.sin(order * np.pi * along[None])).sum(axis=0)
        # Trabeculae fold together when the ventricle empties.
        rough = 1 + wave * (1 + 0.5 * self.contraction)
        width: NDArray[np.float64] = self.half_width * narrowing * bullet * taper * rough
        return width

    def _ring(self, septal: float, lateral: float) -> Outline:
        """Cavity outline moved outwards by the wall thickness of each side."""
        along = 1 - np.cos(np.linspace(0, np.pi / 2, _POINTS))  # dense at the apex, where it bends
        apical = (septal + lateral) * 0.36
        depth = along * (self.length + apical + (0.03 if septal else 0.0)) - apical
        relative = np.clip(along, 0, 1)
        left = -self._half_width(relative, 0) - septal * np.sqrt(np.clip(along * 6, 0, 1))
        right = self._half_width(relative, 1) + lateral * np.sqrt(np.clip(along * 6, 0, 1))
        return self.pose.place(
            np.concatenate([left[::-1], right[1:]]), np.concatenate([depth[::-1], depth[1:]])
        )
