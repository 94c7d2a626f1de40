"""Lambert's zenithal equal-area projection of a Galactic hemisphere, as the maps of Schlegel et al. (1998) have it.

About the pole at CRPIX, with n = LAM_NSGP = +1 (north) or -1 (south) and S = LAM_SCAL pixels from b = 0 to the pole:

    X = sqrt(1 - n sin b) cos l * S,    Y = -n sqrt(1 - n sin b) sin l * S.

All pixels have the same area (side 2.37' for S = 2048). Shapes are true at the pole alone: at the distance
c = 90 deg - abs(b) from it, lengths around the pole are stretched by 1 / cos(c / 2) and those towards it shrunk by
cos(c / 2); the ratio of the two is 1.17 at abs(b) = 45 deg and 1.59 at 15 deg.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_loaders.errors import DataError

__all__ = ["Lambert", "lambert_of"]


@dataclass(frozen=True)
class Lambert:
    """The projection of one hemisphere.

    Parameters
    ----------
    pole : int
        +1 for the north, -1 for the south (LAM_NSGP).
    scale : float
        Pixels from the equator to the pole (LAM_SCAL).
    center : pair of float
        Row and column of the pole, counted from 0.

    References
    ----------
    Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525, appendix C.

    Examples
    --------
    >>> north = Lambert(1, 2048, (2047.5, 2047.5))
    >>> row, column = north.pixel(0.0, 30.0)
    >>> float(row), round(float(column), 3)
    (2047.5, 3495.655)
    >>> [round(float(angle), 9) for angle in north.sky(row, column)]
    [0.0, 30.0]
    >>> round(60 * north.pixel_size, 3)
    2.374
    """

    pole: int
    scale: float
    center: tuple[float, float]

    @property
    def pixel_size(self) -> float:
        """Side of a square of the area of a pixel [deg]."""
        return float(np.degrees(np.sqrt(2) / self.scale))

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel beyond the pole, from which a cut-out counts as the whole map does."""
        return int(np.ceil(self.center[0])), int(np.ceil(self.center[1]))

    def pixel(self, lon, lat) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, from 0, of Galactic longitude and latitude [deg]."""
        lon, lat = np.radians(lon), np.radians(lat)
        radius = self.scale * np.sqrt(1 - self.pole * np.sin(lat))
        return self.center[0] - self.pole * radius * np.sin(lon), self.center[1] + radius * np.cos(lon)

    def sky(self, row, column) -> tuple[np.ndarray, np.ndarray]:
        """Galactic longitude in [0, 360) and latitude [deg] of row and column, from 0."""
        y, x = (np.asarray(row) - self.center[0]) / self.scale, (np.asarray(column) - self.center[1]) / self.scale
        sine = np.clip(1 - x**2 - y**2, -1, 1)
        return np.degrees(np.arctan2(-self.pole * y, x)) % 360, self.pole * np.degrees(np.arcsin(sine))

    def least_latitude(self, top: np.ndarray, left: np.ndarray, extent: int) -> np.ndarray:
        """Smallest distance from the equator [deg] among the pixels of each square; negative beyond it."""
        far = [
            np.maximum(np.abs(first - center), np.abs(first + extent - 1 - center)) / self.scale
            for first, center in zip((top, left), self.center)
        ]
        return np.degrees(np.arcsin(np.clip(1 - far[0] ** 2 - far[1] ** 2, -1, 1)))


def lambert_of(header: Any, path: Path) -> Lambert:
    """Return the projection that a header, or another mapping of its keywords, describes.

    Raises
    ------
    DataError
        A keyword is missing or out of range, or the pixel scale contradicts LAM_SCAL.
    """
    try:
        pole, scale = int(header["LAM_NSGP"]), float(header["LAM_SCAL"])
        center = float(header["CRPIX2"]) - 1, float(header["CRPIX1"]) - 1
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            path, f"expected numbers LAM_NSGP, LAM_SCAL, CRPIX1 and CRPIX2 in the header: {error}"
        ) from None
    if pole not in (1, -1) or not 1 <= scale <= 2**14 or not np.isfinite(center).all():
        told = f"LAM_NSGP = {pole}, LAM_SCAL = {scale}, CRPIX = {center[1] + 1}, {center[0] + 1}"
        raise DataError(path, f"expected LAM_NSGP of 1 or -1 and LAM_SCAL pixels from equator to pole, found {told}")
    sky = Lambert(pole, scale, center)
    step = abs(float(header.get("CD2_2", header.get("CDELT2", sky.pixel_size))))
    if not np.isclose(step, sky.pixel_size, rtol=1e-4):
        told = f"the header gives pixels of {step} deg"
        raise DataError(path, f"{told}, but LAM_SCAL = {scale:g} means {sky.pixel_size:.9f} deg; correct the one")
    return sky
