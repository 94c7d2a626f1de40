r"""The redshift of spectra that carry none: the best of a grid, by least squares with templates and a smooth continuum.

At a redshift z a spectrum is a sum of templates brought there and of polynomials of fourth degree in the observed
wavelength, which take up the continuum. Of all z, the one is taken at which the templates explain the most,

.. math:: E(z) = \chi^2_\mathrm{polynomials}(z) - \chi^2_\mathrm{polynomials + templates}(z),

refined by a parabola through the neighbors. All pixels count alike, so that the same is measured of spectra with noise
and of generated ones; the fits of all spectra at a redshift are one matrix product (compare Bolton et al. 2012, AJ 144,
144).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciffusion.statistics.bands import observed, redshifts, vacuum
from sciffusion.statistics.grid import chunks, good_pixels, name_of

__all__ = ["line_templates", "measure_redshift", "redshift_templates"]

_DEGREE = 4
_FINEST = 2e-4
"""Smallest step of the grids in ln λ: 60 km/s, a third of the width of a galaxy's lines."""
_APART = 0.005
"""Beyond this distance in ln(1 + z), 1500 km/s, a minimum is another one."""
_COVERED = 0.5
_SMALL = 0.03
_ROUNDS = 40
_KNOWN = 0.1
_EMISSION = {
    "Balmer": ((6564.61, 2.86), (4862.68, 1.0), (4341.68, 0.47), (4102.89, 0.26)),
    "[O III]": ((5008.24, 2.98), (4960.30, 1.0)),
    "[O II]": ((3727.09, 1.0), (3729.88, 1.3)),
    "[N II], [S II]": ((6585.27, 3.05), (6549.85, 1.0), (6718.29, 1.3), (6732.67, 1.0)),
}
_ABSORPTION = ((3934.78, 1.0), (3969.59, 1.0), (4305.6, 0.6), (5176.6, 0.6), (5895.6, 0.5))
"""Ca II K and H, the G band, Mg b and Na D, in vacuum [Angstrom], and their rough strengths."""


def measure_redshift(
    flux: xr.DataArray, low: float = 0.0, high: float = 0.3, templates: xr.DataArray | None = None
) -> xr.DataArray:
    """Return the redshift of every spectrum.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        As observed, in any units; bad pixels (the coordinate ``mask``) are bridged by straight lines.
    low, high : float
        Range of redshifts.
    templates : DataArray (template, wavelength), optional
        At rest in vacuum, from `redshift_templates`; by default `line_templates`. Wavelengths that they do not reach
        are explained by none; redshifts at which they reach less than half of the pixels are not tried.

    Returns
    -------
    DataArray (sample,)
        With the coordinate ``contrast``: by how much E(z) exceeds its highest value 1500 km/s and more away, in units
        of the variance of a pixel about the fit. Noise without lines gives 2 in the median and 25 once in a thousand,
        lines that the eye sees give hundreds.

    Raises
    ------
    ValueError
        If the wavelengths are at rest, the range is empty, or templates reach too few pixels at all redshifts of it.

    Examples
    --------
    >>> angstrom = np.arange(4000.0, 8500, 8)
    >>> lines = sum(np.exp(-0.5 * ((angstrom / 1.1 - line) / 5) ** 2) for line in (4862.7, 4960.3, 5008.2, 6564.6))
    >>> flux = xr.DataArray([5 + lines], dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> measure_redshift(flux).values.round(3)
    array([0.1])
    """
    if not observed(flux):
        raise ValueError(f"the wavelengths of {name_of(flux)} are at rest; a redshift is measured of those observed")
    if not -1 < low < high:
        raise ValueError(f"expected redshifts -1 < low < high, got {low} and {high}")
    center = np.log(vacuum(flux))
    step = _step(center)
    templates = line_templates(max(step, _FINEST)) if templates is None else templates
    values = _filled(flux)
    trial = np.linspace(np.log1p(low), np.log1p(high), max(3, int(np.ceil(np.log((1 + high) / (1 + low)) / step)) + 1))
    squares = values**2
    explained, left = np.full((2, len(values), len(trial)), -np.inf)
    for i, shift in enumerate(trial):
        smooth, shapes, inside = _basis(center, shift, templates)
        if inside.mean() >= _COVERED:
            explained[:, i] = ((values @ shapes) ** 2).sum(axis=1)
            left[:, i] = squares @ inside - ((values @ smooth) ** 2).sum(axis=1) - explained[:, i]
            left[:, i] /= max(inside.sum() - smooth.shape[1] - shapes.shape[1], 1)
    if not np.isfinite(explained).any():
        raise ValueError(
            f"the templates (from {float(templates.wavelength[0]):.5g} to {float(templates.wavelength[-1]):.5g} "
            f"Angstrom) reach less than half of the pixels of {name_of(flux)} at all redshifts from {low} to {high}"
        )
    best = explained.argmax(axis=1)
    coords = {str(name): coord for name, coord in flux.coords.items() if coord.dims == ("sample",)}
    coords["contrast"] = xr.DataArray(_contrast(explained, left, trial), dims="sample", attrs={"units": ""})
    found = np.expm1(trial[best] + _offset(explained, best) * (trial[1] - trial[0]))
    attrs = {"units": "", "long_name": "redshift measured"}
    return xr.DataArray(found, dims="sample", coords=coords, name="redshift_measured", attrs=attrs)


def redshift_templates(
    flux: xr.DataArray, redshift: str | np.ndarray | xr.DataArray = "redshift", count: int = 6
) -> xr.DataArray:
    """Return the principal shapes of spectra of known redshift, at rest and without continuum.

    Polynomials are taken out, every spectrum is brought to unit length and to rest, and the shapes that explain the
    most squares are found by alternating least squares, as no wavelength at rest is seen in all spectra.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        As observed; those of a training set. Bad pixels are bridged by straight lines.
    redshift : str or array (sample,)
        The name of a coordinate, or the redshifts.
    count : int
        Number of shapes, fewer than spectra.

    Returns
    -------
    DataArray (template, wavelength)
        Orthonormal, on wavelengths at rest in vacuum [Angstrom] even in the logarithm, where at least a tenth of the
        spectra reach.

    Raises
    ------
    ValueError
        If there are too few spectra, or a redshift is not known.
    """
    known = redshifts(flux, redshift)
    if not 1 <= count < len(known):
        raise ValueError(f"expected 1 to {len(known) - 1} templates of {len(known)} spectra, got {count}")
    if not np.isfinite(known).all():
        raise ValueError(f"sample {int(np.argmin(np.isfinite(known)))} of {name_of(flux)} has no redshift; drop it")
    center = np.log(vacuum(flux))
    smooth = _polynomials(center)
    values = _filled(flux)
    values -= (values @ smooth) @ smooth.T
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    shift = np.log1p(known) if observed(flux) else np.zeros(len(known))
    grid = np.arange(center[0] - shift.max(), center[-1] - shift.min(), max(_step(center), _FINEST))
    table = np.stack([np.interp(grid + s, center, row, left=np.nan, right=np.nan) for row, s in zip(values, shift)])
    enough = np.isfinite(table).mean(axis=0) >= _KNOWN
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "rest"}
    return xr.DataArray(
        _shapes(table[:, enough], count),
        dims=("template", "wavelength"),
        coords={"wavelength": ("wavelength", np.exp(grid[enough]), axis)},
        attrs={"units": "", "long_name": "principal shapes"},
    )


def line_templates(width: float = 8e-4) -> xr.DataArray:
    """Return templates for galaxies of which nothing is known: lines in fixed ratios, absorption, the break.

    Parameters
    ----------
    width : float
        Standard deviation of the lines in ln λ, at least that of 200 km/s.

    Returns
    -------
    DataArray (template, wavelength)
        At rest in vacuum [Angstrom].
    """
    grid = np.arange(np.log(2500), np.log(11000), _FINEST)

    def lines(which: tuple[tuple[float, float], ...], sigma: float) -> np.ndarray:
        places, strengths = np.transpose(which)[:, :, None]
        return (strengths * np.exp(-0.5 * ((grid - np.log(places)) / sigma) ** 2)).sum(axis=0)

    rows = [lines(which, max(width, 200 / 2.998e5)) for which in _EMISSION.values()]
    rows += [lines(_ABSORPTION, max(width, 1.6e-3)), np.tanh((grid - np.log(4000)) / 2e-3)]
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "rest"}
    coords = {"wavelength": ("wavelength", np.exp(grid), axis), "template": [*_EMISSION, "absorption", "break"]}
    return xr.DataArray(np.stack(rows), dims=("template", "wavelength"), coords=coords, attrs={"units": ""})


def _step(center: np.ndarray) -> float:
    """Return the step of a grid in ln λ: half a pixel, but no finer than needed."""
    return max(0.5 * float(np.median(np.diff(center))), _FINEST)


def _filled(flux: xr.DataArray) -> np.ndarray:
    """Return spectra (sample, pixel) of unit root mean square, bad pixels bridged."""
    parts = []
    for part in chunks(flux.transpose("sample", "wavelength")):
        good, values = good_pixels(part), part.values.copy()
        for row, known in zip(values, good):
            if known.any() and not known.all():
                row[~known] = np.interp(np.flatnonzero(~known), np.flatnonzero(known), row[known])
        scale = np.sqrt((values**2).mean(axis=1, keepdims=True))
        parts.append(values / np.where(scale > 0, scale, 1))
    return np.concatenate(parts)


def _polynomials(center: np.ndarray) -> np.ndarray:
    """Return orthonormal polynomials of the wavelength (pixel, degree + 1)."""
    wavelength = np.exp(center)
    scaled = 2 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1
    return np.linalg.qr(np.polynomial.legendre.legvander(scaled, _DEGREE))[0]


def _basis(center: np.ndarray, shift: float, templates: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return orthonormal polynomials, templates without them (pixel, shape), and which pixels templates reach.

    Both are 0 where templates do not reach. Shapes of which next to nothing is in the window are left out: scaled up
    they would be single pixels at its edge.
    """
    rest = np.log(np.asarray(templates["wavelength"].values, np.float64))
    inside = (center - shift >= rest[0]) & (center - shift <= rest[-1])
    if inside.sum() <= _DEGREE + templates.sizes["template"]:
        return np.zeros((len(center), 0)), np.zeros((len(center), 0)), np.zeros(len(center), bool)
    smooth = np.zeros((len(center), _DEGREE + 1))
    smooth[inside] = _polynomials(center[inside])
    shapes = np.stack([np.interp(center - shift, rest, row, left=0, right=0) for row in templates.values], axis=1)
    shapes -= smooth @ (smooth.T @ shapes)
    # lengths as the whole template would have them on these pixels
    length = np.linalg.norm(templates.values, axis=1) * np.sqrt(np.median(np.diff(rest)) / np.median(np.diff(center)))
    left, size, _ = np.linalg.svd(shapes / length, full_matrices=False)
    return smooth, left[:, size > _SMALL], inside


def _offset(explained: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return where the parabola through the best of the grid and its neighbors has its top [steps], 0 at the ends."""
    rows = np.arange(len(best))
    middle = np.clip(best, 1, explained.shape[1] - 2)
    before, at, after = (explained[rows, middle + k] for k in (-1, 0, 1))
    usable = (middle == best) & np.isfinite(before) & np.isfinite(after)
    before, at, after = (np.where(usable, each, 0) for each in (before, at, after))
    bend = before - 2 * at + after
    return np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)


def _contrast(explained: np.ndarray, left: np.ndarray, trial: np.ndarray) -> np.ndarray:
    rows, best = np.arange(len(explained)), explained.argmax(axis=1)
    far = np.abs(trial - trial[best][:, None]) > _APART
    second = np.where(far, explained, 0).max(axis=1, initial=0)
    noise = left[rows, best]
    return (explained[rows, best] - second) / np.maximum(noise, np.finfo(np.float64).eps)


def _shapes(table: np.ndarray, count: int) -> np.ndarray:
    """Return orthonormal rows that explain the most squares of a table with gaps (nan), the strongest first."""
    known = np.isfinite(table)
    table = np.where(known, table, 0)
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(table.shape[1], count)))[0].T
    for _ in range(_ROUNDS):
        amounts = table @ rows.T
        table = np.where(known, table, amounts @ rows)
        rows = np.linalg.svd(np.linalg.pinv(amounts) @ table, full_matrices=False)[2]
    amounts = table @ rows.T
    return np.linalg.svd(amounts, full_matrices=False)[2] @ rows
