"""Write the packaged simple stellar populations: 40 models of Bruzual & Charlot (2003) on one logarithmic vacuum grid.

The models (10 ages x 4 metallicities, Chabrier IMF, L_sun / Angstrom per M_sun formed, air, 3326-9295 Angstrom, 2.3
Angstrom FWHM) are the library BC03-MPAJHU of sdss-mangadap 4.5.0 (BSD-3-Clause). Broad bands of galaxies at z > 0 need
more than they have, so they are *continued*; the continuation is good for broad-band colors, never for lines:

- redward by the MaStar population (Maraston et al. 2020; of the same wheel) nearest in age and metallicity, scaled to
  meet the model; beyond its end, 10352 Angstrom, constant;
- blueward, up to 0.11 Gyr, by the power law of the model's own 3326-3626 Angstrom; above, by the nonnegative sum of the
  templates of kcorrect 5.1.9 (Blanton & Roweis 2007; BSD-3-Clause) that fits the model best.

    python benchmarks/package_populations.py sdss_mangadap-4.5.0-py3-none-any.whl kcorrect-5.1.9-py3-none-any.whl
"""

import argparse
import gzip
import io
import re
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.optimize import nnls

from data_loaders.files import content_hash, replacing
from data_loaders.spectra import rebin
from data_loaders.spectra.wavelengths import air_to_vacuum

OUT = Path(__file__).parents[1] / "data_loaders" / "data" / "stellar_populations.npz"
SHA256 = {
    "mangadap": "b8478bb24c32fe736fa6a2881805458719281862313838f8b032f3c10527ff34",
    "kcorrect": "6234e449d3b3088e3132d1193f8c7e7a544b73e241c07fbfbda2c08da80622e2",
}
LOG_WAVELENGTH = 3.399 + 1e-4 * np.arange(6412)  # vacuum, 2506 to 10967 Angstrom
JOIN_RED = (9000.0, 9280.0)
JOIN_BLUE = (3326.0, 3626.0)
HOT = 0.11  # Gyr: younger populations have a smooth ultraviolet continuum
SOLAR = 0.02
CITATION = (
    "Bruzual & Charlot 2003, MNRAS 344, 1000 (models; the library of Tremonti et al. 2004, ApJ 613, 898); continued by "
    "Maraston et al. 2020, MNRAS 496, 2962 (MaStar) and Blanton & Roweis 2007, AJ 133, 734 (kcorrect)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mangadap", type=Path, help="wheel of sdss-mangadap 4.5.0")
    parser.add_argument("kcorrect", type=Path, help="wheel of kcorrect 5.1.9")
    given = parser.parse_args()
    for name, expected in SHA256.items():
        found = content_hash(getattr(given, name))
        if found != expected:
            raise SystemExit(f"{getattr(given, name)}: expected sha256 {expected}, found {found}")
    with zipfile.ZipFile(given.mangadap) as wheel, zipfile.ZipFile(given.kcorrect) as other:
        models, red, blue = bruzual_charlot(wheel), mastar(wheel), wide_templates(other)
        licences = [licence(each) for each in (wheel, other)]
    ages, metallicities = (np.unique([key[i] for key in models]) for i in (0, 1))
    flux = [[continued(models[age, z], age, z, red, blue) for age in ages] for z in metallicities]
    write(np.float32(flux), ages, np.log10(metallicities / SOLAR), licences)


def bruzual_charlot(wheel: zipfile.ZipFile) -> dict[tuple[float, float], tuple[np.ndarray, np.ndarray]]:
    """Wavelength in vacuum and flux by age [Gyr] and mass fraction of metals."""
    models = {}
    for name in wheel.namelist():
        if re.search(r"bc03_mpajhu/.*\.fits$", name):
            values, header = fits.getdata(io.BytesIO(wheel.read(name)), header=True)
            air = header["CRVAL1"] + header["CDELT1"] * np.arange(len(values))
            models[header["AGE"], header["Z"]] = air_to_vacuum(air), values
    return models


def mastar(wheel: zipfile.ZipFile) -> dict[tuple[float, float], tuple[np.ndarray, np.ndarray]]:
    """Wavelength in vacuum and flux by age [Gyr] and log10 of the metallicity over that of the Sun."""
    models = {}
    for name in wheel.namelist():
        found = re.search(r"mastar_ssp_v1.0/MaStar-SSP-A([\d.]+)-Z([+-]\d\.\d+)\.fits\.gz$", name)
        if found:
            values, header = fits.getdata(io.BytesIO(gzip.decompress(wheel.read(name))), header=True)
            grid = 10 ** (header["CRVAL1"] + header["CDELT1"] * np.arange(len(values)))
            models[float(found[1]), float(found[2])] = grid, values
    return models


def wide_templates(wheel: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength, and the flux of each template."""
    tables = [
        fits.getdata(io.BytesIO(wheel.read(f"kcorrect/data/templates/kcorrect-{name}-v4.fits")), 1)
        for name in ("default", "lrg1")
    ]
    return np.float64(tables[0]["wave"][0]), np.float64(np.vstack([table["flux"][0] for table in tables]))


def licence(wheel: zipfile.ZipFile) -> str:
    name = next(name for name in wheel.namelist() if re.search(r"licenses/LICENSE", name))
    return wheel.read(name).decode()


def continued(model, age, z, red, blue) -> np.ndarray:
    """One model on LOG_WAVELENGTH: its own pixels within, what continues it outside."""
    grid = 10**LOG_WAVELENGTH
    own, _, outside = rebin(model[0], grid, model[1])
    high = redward(grid, model, red[nearest(red, age, np.log10(z / SOLAR))])
    low = blueward(grid, model, age, blue)
    inside = ~outside & (grid < JOIN_RED[1])
    return np.where(inside, own, np.where(grid < model[0][0] + 1, low, high))


def nearest(models, age, metallicity) -> tuple[float, float]:
    return min(models, key=lambda key: 10 * abs(key[1] - metallicity) + abs(np.log(key[0] / age)))


def redward(grid, model, mastar_model) -> np.ndarray:
    values = np.interp(grid, *mastar_model)
    return values * mean(*model, *JOIN_RED) / mean(grid, values, *JOIN_RED)


def blueward(grid, model, age, templates) -> np.ndarray:
    low, high = JOIN_BLUE
    if age < HOT:
        inside = (model[0] > low) & (model[0] < high)
        values = np.exp(np.polyval(np.polyfit(np.log(model[0][inside]), np.log(model[1][inside]), 1), np.log(grid)))
    else:
        edges = np.geomspace(low, JOIN_RED[1], 40)
        wanted = binned(*model, edges)
        # The blue counts most: the weight falls to a half at 1.6 times the shortest wavelength.
        weight = np.exp(-0.5 * (np.log(edges[:-1] / low) / 0.4) ** 2) / wanted
        columns = np.stack([binned(templates[0], each, edges) for each in templates[1]], axis=1)
        values = np.interp(grid, templates[0], nnls(columns * weight[:, None], wanted * weight)[0] @ templates[1])
    return values * mean(*model, low, high) / mean(grid, values, low, high)


def binned(wavelength, flux, edges) -> np.ndarray:
    return np.array([mean(wavelength, flux, *pair) for pair in pairwise(edges)])


def mean(wavelength, flux, low, high) -> float:
    return float(np.interp(np.linspace(low, high, 300), wavelength, flux).mean())


def write(flux, ages, metallicities, licences) -> None:
    with replacing(OUT, overwrite=True) as temporary:
        np.savez_compressed(
            temporary,
            flux=flux,
            log_wavelength=LOG_WAVELENGTH,
            age=ages,
            metallicity=metallicities,
            own_range=np.array([3327.0, JOIN_RED[1]]),
            units="Lsun / Angstrom per Msun formed; log10 Angstrom (vacuum); Gyr; log10 Z/Zsun with Zsun = 0.02",
            citation=CITATION,
            source="sdss-mangadap 4.5.0, kcorrect 5.1.9; benchmarks/package_populations.py",
            licence="\n\n".join(licences),
        )
    print(f"{OUT.name}: {flux.shape} models, {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
