"""Spectra of galaxies whose lines, breaks and redshifts are known: Gaussians integrated over the pixels."""

import numpy as np
import xarray as xr
from scipy.special import erf

LINES = {
    3727.09: 20.0, 3729.88: 30.0, 4862.68: 40.0, 4960.30: 20.0, 5008.24: 60.0,
    6549.85: 30 / 3.05, 6564.61: 120.0, 6585.27: 30.0, 6718.29: 15.0, 6732.67: 12.0,
}  # fmt: skip
"""Vacuum wavelength [Angstrom] and flux."""
UNITS = "1e-17 erg / (s cm2 Angstrom)"


def grid(step):
    return np.arange(4000.0, 8500.0, step) + step / 2


def labelled(values, wavelength, redshift, **coords):
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "observed"}
    pixels = {name: (("sample", "wavelength"), value) for name, value in coords.items() if np.ndim(value) == 2}
    objects = {name: ("sample", value) for name, value in coords.items() if np.ndim(value) == 1}
    labels = {"wavelength": ("wavelength", wavelength, axis), "redshift": ("sample", redshift), **pixels, **objects}
    return xr.DataArray(values, dims=("sample", "wavelength"), coords=labels, name="flux", attrs={"units": UNITS})


def emission(redshift, step, sigma=3.0, strength=1.0):
    """Lines of `sigma` at rest [Angstrom] on a straight continuum."""
    centers = grid(step)
    edges = np.concatenate([centers - step / 2, centers[-1:] + step / 2])
    stretch = 1 + np.asarray(redshift)[:, None]
    flux = 5 + 5e-4 * (centers - 6000) + np.zeros_like(stretch)
    for line, amount in LINES.items():
        share = erf((edges - line * stretch) / (sigma * stretch * np.sqrt(2)))
        flux = flux + 0.5 * strength * amount * np.diff(share, axis=1) / step
    return labelled(flux, centers, redshift)


def galaxies(samples, step=8.0, noise=0.3, seed=0, redshift=None):
    """Old and young ones: break and absorption, or lines; a tilt of the continuum each has for itself."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.15, samples) if redshift is None else redshift
    centers = grid(step)
    rest = centers / (1 + z[:, None])
    age = rng.uniform(0, 1, (samples, 1))
    flux = 5 * (rest / 5500) ** rng.normal(-0.5, 0.7, (samples, 1)) * (1 - (0.15 + 0.35 * age) * (rest < 4000))
    for line, depth in ((3934.8, 0.5), (3969.6, 0.5), (4305.6, 0.2), (5176.6, 0.25), (5895.6, 0.2)):
        flux *= 1 - depth * age * np.exp(-0.5 * ((rest - line) / 8) ** 2)
    lines = emission(z, step).values - (5 + 5e-4 * (centers - 6000))
    flux += 0.4 * (1 - age) ** 2 * lines + noise * rng.normal(size=flux.shape)
    return labelled(flux, centers, z, ivar=np.full(flux.shape, max(noise, 1e-3) ** -2.0))
