"""A HEALPix map in a FITS table: the value of a pixel, and of a patch on a tangent plane."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_loaders.lazy import RowSource
from data_loaders.sphere import angles, gnomonic, rotation_from_galactic
from data_loaders.windows import fits_data

__all__ = ["HealpixMap", "HealpixPatches", "in_parts"]

UNSEEN = -1.6e30  # bad pixels are -1.6375e30; nothing else comes near
_AT_ONCE = 2**20  # values that are computed at a time


@dataclass(frozen=True)
class HealpixMap:
    """A map in a column of a FITS table.

    Parameters
    ----------
    path : Path
        The file.
    hdu : int
        Number of the table.
    column : str
        Its name, in lower case.
    nside : int
        The map has ``12 nside**2`` pixels.
    order : {"ring", "nested"}
        In which the pixels are numbered.
    frame : str
        Celestial coordinates, as astropy calls them.
    """

    path: Path
    hdu: int
    column: str
    nside: int
    order: str
    frame: str

    @property
    def resolution(self) -> float:
        """Side of a square of the area of a pixel [deg]."""
        return float(np.degrees(np.sqrt(np.pi / 3) / self.nside))

    def values(self, pixel: np.ndarray) -> np.ndarray:
        """Values of these pixels, float64."""
        column = fits_data(self.path, self.hdu, self.column)
        # Rows hold as many values as the writer liked. Flattening a mapped column would read all of it.
        return column[np.unravel_index(pixel, column.shape)].astype(np.float64)

    def is_bad(self) -> np.ndarray:
        """Whether each pixel has no finite value (pixels,)."""
        column = fits_data(self.path, self.hdu, self.column)
        bad = np.empty(column.shape, bool)
        for start in range(0, len(column), max(1, _AT_ONCE // column[0].size)):
            rows = slice(start, start + max(1, _AT_ONCE // column[0].size))
            bad[rows] = ~(np.isfinite(column[rows]) & (column[rows] > UNSEEN))
        return bad.ravel()


@dataclass(frozen=True, eq=False)
class HealpixPatches(RowSource):
    """Gnomonic patches of a HEALPix map, interpolated when they are asked for.

    Parameters
    ----------
    sky : HealpixMap
        The map.
    lon, lat : ndarray (patches,)
        Galactic centers of the patches [deg].
    offset : ndarray (size,)
        Of the pixels of a patch from its center, in the tangent plane [deg].
    interpolation : {"bilinear", "nearest"}
        Between pixels of the map.
    """

    sky: HealpixMap
    lon: np.ndarray
    lat: np.ndarray
    offset: np.ndarray
    interpolation: str = "bilinear"

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Number of patches, and their pixels."""
        return len(self.lon), len(self.offset), len(self.offset)

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Always float32."""
        return np.dtype(np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Values of the patches with these numbers."""
        parts = [np.empty((0, len(self.offset) ** 2))]
        for part in in_parts(numbers, len(self.offset) ** 2):
            pixel, weight = self.pixels(part)
            parts.append((weight * self.sky.values(pixel)).sum(axis=0))
        return np.concatenate(parts).astype(np.float32).reshape(-1, *self.shape[1:])

    def pixels(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the map ``(neighbors, patches, points)`` that patches are made of, and their weights."""
        import astropy.units as u
        from astropy_healpix import bilinear_interpolation_weights, lonlat_to_healpix

        y, x = (each.ravel() for each in np.meshgrid(self.offset, self.offset, indexing="ij"))
        direction = gnomonic(self.lon[numbers], self.lat[numbers], x, y) @ rotation_from_galactic(self.sky.frame).T
        lon, lat = (angle * u.deg for angle in angles(direction))
        if self.interpolation == "nearest":
            pixel = np.asarray(lonlat_to_healpix(lon, lat, self.sky.nside, order=self.sky.order))[None]
            return pixel, np.ones(pixel.shape)
        return bilinear_interpolation_weights(lon, lat, self.sky.nside, order=self.sky.order)


def in_parts(numbers: np.ndarray, points: int) -> Iterator[np.ndarray]:
    """Return `numbers` some at a time: each stands for so many points that are to be held at once."""
    step = max(1, _AT_ONCE // points)
    return (numbers[start : start + step] for start in range(0, len(numbers), step))
