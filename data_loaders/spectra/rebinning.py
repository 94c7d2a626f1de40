"""A spectrum on other pixels, with its flux conserved and its noise known.

A spectrum is a flux density that is constant within each pixel, so the mean of it over a new pixel is exact:

    f'_j = Σ_i w_ji f_i,    w_ji = o_ji g_i / Σ_i o_ji g_i,

with the overlap ``o_ji`` [Angstrom] of old pixel i and new pixel j, and ``g`` 1 for good pixels, 0 for bad ones. Edges
lie half-way between pixel centers. For independent old pixels the noise of the new ones has the covariance

    C' = W diag(σ²) Wᵀ,

a band: neighbors share old pixels. ``1 / C'_jj`` is the inverse variance of a new pixel by itself. A sum of
``ivar (f - model)²`` over pixels, as if they were independent, is too confident where they are correlated;
`effective_ivar`, ``1 / Σ_k C'_jk``, is right for what changes slowly: for noise of constant variance on even grids its
sum over pixels is the information on a constant, as it was before rebinning, and it is never above ``1 / C'_jj``.

References
----------
Carnall 2017, arXiv:1705.05165 (the same mean and variance).
"""

import numpy as np
import scipy.sparse as sp

__all__ = ["MIN_COVERAGE", "covariance", "effective_ivar", "overlap", "pixel_edges", "rebin"]

MIN_COVERAGE = 0.5


def pixel_edges(centers: np.ndarray) -> np.ndarray:
    """Return the edges of pixels, half-way between their centers.

    Parameters
    ----------
    centers : ndarray (n,)
        Strictly rising, n >= 2.

    Returns
    -------
    ndarray (n + 1,)

    Raises
    ------
    ValueError
        The centers do not rise.

    Examples
    --------
    >>> pixel_edges(np.array([1.0, 2.0, 4.0])).tolist()
    [0.5, 1.5, 3.0, 5.0]
    """
    centers = np.asarray(centers, np.float64)
    if centers.ndim != 1 or len(centers) < 2 or not np.all(np.diff(centers) > 0):
        raise ValueError("wavelengths must rise strictly and be two or more; sort them")
    middle = (centers[1:] + centers[:-1]) / 2
    return np.concatenate([[1.5 * centers[0] - 0.5 * centers[1]], middle, [1.5 * centers[-1] - 0.5 * centers[-2]]])


def overlap(old: np.ndarray, new: np.ndarray) -> sp.csr_array:
    """Return the length that each new pixel shares with each old one.

    Parameters
    ----------
    old, new : ndarray (n + 1,), (m + 1,)
        Rising edges of the pixels, in the same unit.

    Returns
    -------
    scipy.sparse.csr_array (m, n)

    Examples
    --------
    >>> overlap(np.array([0.0, 1, 2, 3]), np.array([0.5, 2.5])).toarray().tolist()
    [[0.5, 1.0, 0.5]]
    """
    low, high = max(old[0], new[0]), min(old[-1], new[-1])
    breaks = np.unique(np.concatenate([old, new]))
    breaks = breaks[(breaks >= low) & (breaks <= high)]
    middle = (breaks[1:] + breaks[:-1]) / 2
    rows, columns = (np.searchsorted(edges, middle) - 1 for edges in (new, old))
    return sp.csr_array((np.diff(breaks), (rows, columns)), shape=(len(new) - 1, len(old) - 1))


def rebin(
    wavelength: np.ndarray,
    grid: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    min_coverage: float = MIN_COVERAGE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spectra on new pixels.

    Parameters
    ----------
    wavelength, grid : ndarray (n,), (m,)
        Centers of the old and of the new pixels, in the same unit.
    flux : ndarray (..., n)
        Flux density.
    ivar : ndarray (..., n), optional
        Its inverse variance; 0 where it is unknown.
    mask : ndarray of bool (..., n), optional
        True where a pixel is bad: it contributes nothing, whatever its values. Without it pixels of ivar 0 are bad.
    min_coverage : float
        New pixels of which good old ones cover a smaller fraction are masked.

    Returns
    -------
    flux, ivar, mask : ndarray (..., m)
        A masked pixel has flux 0 and ivar 0; a good one has ivar 0 where that of a contributor is unknown.

    Examples
    --------
    >>> old, new = np.arange(4.0), np.array([0.5, 2.5])
    >>> flux, ivar, mask = rebin(old, new, np.array([1.0, 3, 5, 9]), np.array([1.0, 1, 4, 0]))
    >>> flux.tolist(), ivar.tolist(), mask.tolist()
    ([2.0, 5.0], [2.0, 4.0], [False, False])
    """
    shared = overlap(pixel_edges(wavelength), pixel_edges(grid))
    good, variance = _good(flux, ivar, mask)
    length = good @ shared.T
    # Half a pixel is often met exactly: not up to rounding.
    least = (min_coverage - 1e-6) * np.diff(pixel_edges(grid))
    covered = length >= np.maximum(least, np.finfo(float).tiny)
    length = np.where(covered, length, 1.0)
    mean = np.where(good > 0, flux, 0.0) @ shared.T / length
    unknown = np.isnan(variance)
    total = np.where(unknown, 0.0, variance) @ shared.power(2).T / length**2
    known = covered & ((unknown * good) @ shared.T == 0) & (total > 0)
    new_ivar = np.where(known, 1 / np.where(known, total, 1.0), 0.0)
    return np.where(covered, mean, 0.0), new_ivar, ~covered


def covariance(
    wavelength: np.ndarray,
    grid: np.ndarray,
    ivar: np.ndarray,
    mask: np.ndarray | None = None,
) -> sp.csr_array:
    """Return the covariance of the flux of one rebinned spectrum, a band about the diagonal.

    Parameters
    ----------
    wavelength, grid : ndarray (n,), (m,)
        Centers of the old and of the new pixels.
    ivar : ndarray (n,)
        Inverse variance of the independent old pixels.
    mask : ndarray of bool (n,), optional
        True where an old pixel is bad; without it pixels of ivar 0 are.

    Returns
    -------
    scipy.sparse.csr_array (m, m)
        [square of the unit of the flux]; its rows are zero where `rebin` masks a pixel that no good one reaches.

    Raises
    ------
    ValueError
        The inverse variance of a good pixel is unknown (0).

    Examples
    --------
    >>> covariance(np.arange(4.0), np.array([0.0, 1.5, 3.0]), np.ones(4)).toarray().round(3).tolist()
    [[0.68, 0.1, 0.0], [0.1, 0.5, 0.1], [0.0, 0.1, 0.68]]
    """
    shared = overlap(pixel_edges(wavelength), pixel_edges(grid))
    good, variance = _good(np.zeros(len(wavelength)), ivar, mask)
    if np.isnan(variance).any():
        raise ValueError(f"the ivar of {np.isnan(variance).sum()} good pixels is 0 (unknown); mask them")
    length = shared @ good
    weights = sp.diags_array(1 / np.where(length > 0, length, 1.0)) @ shared @ sp.diags_array(good)
    return sp.csr_array(weights @ sp.diags_array(variance) @ weights.T)


def effective_ivar(
    wavelength: np.ndarray,
    grid: np.ndarray,
    ivar: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Return the inverse variance that makes up for the correlation of rebinned pixels: ``1 / Σ_k C'_jk``.

    Use it where pixels are summed over as if they were independent, such as in a chi-square of a smooth model.

    Parameters
    ----------
    wavelength, grid, ivar, mask
        As of `covariance`.

    Returns
    -------
    ndarray (m,)
        0 where no good pixel reaches; never above the inverse variance that `rebin` returns.

    Examples
    --------
    >>> fine = np.linspace(0, 100, 201)  # twice as many pixels hold no more information
    >>> round(float(effective_ivar(np.arange(101.0), fine, np.ones(101)).sum()), 1)
    101.0
    """
    total = np.asarray(covariance(wavelength, grid, ivar, mask).sum(axis=1))
    return np.where(total > 0, 1 / np.where(total > 0, total, 1.0), 0.0)


def _good(flux: np.ndarray, ivar: np.ndarray | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 for good pixels and 0 for bad ones, and the variance: 0 for bad pixels, NaN where it is unknown."""
    if ivar is None:
        known, weight = np.zeros(np.shape(flux), bool), np.full(np.shape(flux), np.nan)
    else:
        weight = np.asarray(ivar, np.float64)
        known = np.isfinite(weight) & (weight > 0)
    bad = ~known & (ivar is not None) if mask is None else np.asarray(mask, bool)
    good = ~bad & np.isfinite(flux)
    return good.astype(np.float64), np.where(good, 1 / np.where(known, weight, np.nan), 0.0)
