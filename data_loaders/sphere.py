"""The sphere: gnomonic projection, rotation between celestial frames, cells of latitude and longitude."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

__all__ = ["FRAMES", "Cells", "angles", "gnomonic", "rotation_from_galactic", "vectors"]

FRAMES = {
    **dict.fromkeys(("G", "GALACTIC"), "galactic"),
    **dict.fromkeys(("C", "Q", "CELESTIAL", "EQUATORIAL", "ICRS"), "icrs"),
    **dict.fromkeys(("E", "ECLIPTIC"), "barycentricmeanecliptic"),
}
"""Values of COORDSYS, and what astropy calls the frame."""


def vectors(lon, lat) -> np.ndarray:
    """Unit vectors ``(..., 3)`` of longitude and latitude [deg]."""
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def angles(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude in [0, 360) and latitude [deg] of vectors ``(..., 3)`` of any length."""
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def gnomonic(lon: np.ndarray, lat: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the directions of points of tangent planes.

    Parameters
    ----------
    lon, lat : ndarray (patches,)
        Where the planes touch the sphere [deg].
    x, y : ndarray (points,)
        Place in the plane towards growing longitude and latitude [deg at the center].

    Returns
    -------
    ndarray (patches, points, 3)
        Vectors, not normalized.

    References
    ----------
    Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3 (TAN).

    Examples
    --------
    >>> [round(float(angle[0, 0]), 6) for angle in angles(gnomonic(np.array([30.0]), np.array([0.0]), [0.0], [5.0]))]
    [30.0, 4.987365]
    """
    center = vectors(lon, lat)
    east = vectors(np.asarray(lon) + 90.0, np.zeros_like(lat))
    north = np.cross(center, east)
    x, y = np.radians(x)[None, :, None], np.radians(y)[None, :, None]
    return center[:, None] + x * east[:, None] + y * north[:, None]


@cache
def rotation_from_galactic(frame: str) -> np.ndarray:
    """Return the matrix (3, 3) that turns Galactic vectors into those of a frame of astropy."""
    from astropy.coordinates import CartesianRepresentation, SkyCoord

    axes = SkyCoord(CartesianRepresentation(np.eye(3)), frame="galactic").transform_to(frame)
    return np.asarray(axes.cartesian.xyz.value)  # type: ignore[union-attr]


@dataclass(frozen=True)
class Cells:
    """The sphere in rows of equal height in latitude, each cut in longitude into cells that are about square.

    The first and the last row are caps about the poles, of half the height and one cell each.

    Parameters
    ----------
    step : float
        Height, and width at the middle of the row [deg]; the height is the next to it that divides 180 deg.

    Examples
    --------
    >>> cells = Cells(45.0)
    >>> cells.counts.tolist()
    [1, 6, 8, 6, 1]
    >>> lon, lat = cells.centers
    >>> bool((cells.number(lon, lat) == np.arange(22)).all())
    True
    """

    step: float

    @cached_property
    def _height(self) -> float:
        return 180.0 / max(1, round(180.0 / self.step))

    @cached_property
    def counts(self) -> np.ndarray:
        """Cells of each row, from the south pole."""
        lat = np.arange(-90.0, 90.0 + self._height / 2, self._height)
        return np.maximum(1, np.rint(360 * np.cos(np.radians(lat)) / self.step)).astype(np.int64)

    @cached_property
    def centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of the middle of each cell [deg], in the order of their numbers."""
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        return (place + 0.5) * 360.0 / self.counts[rows], rows * self._height - 90.0

    def number(self, lon, lat) -> np.ndarray:
        """Return the number of the cell that holds each direction [deg]."""
        row = np.floor((np.asarray(lat) + 90.0) / self._height + 0.5).astype(np.int64)
        count = self.counts[row]
        column = np.minimum((np.asarray(lon) % 360.0) / 360.0 * count, count - 1).astype(np.int64)
        return (np.cumsum(self.counts) - self.counts)[row] + column

    def depth(self, number, lon, lat) -> np.ndarray:
        """Return how far inside of a cell directions lie [deg]: the distance to its edge, negative outside."""
        center_lon, center_lat = (values[number] for values in self.centers)
        row = np.rint((center_lat + 90.0) / self._height).astype(np.int64)
        to_row = self._height / 2 - np.abs(lat - center_lat)
        aside = np.abs((lon - center_lon + 180.0) % 360.0 - 180.0)
        gap = np.clip(180.0 / self.counts[row] - aside, -90.0, 90.0)
        to_meridian = np.degrees(np.arcsin(np.cos(np.radians(lat)) * np.sin(np.radians(gap))))
        return np.minimum(to_row, np.where(self.counts[row] == 1, np.inf, to_meridian))
