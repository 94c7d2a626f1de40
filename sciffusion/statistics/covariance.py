r"""How far power spectra scatter between samples: errors of their mean, and covariances between wavenumbers.

Shells of a Gaussian field are independent: their covariance is :math:`P^2 / N_\mathrm{modes}` on the diagonal and
nothing beside it. Gravity and turbulence couple them, and a generator may have the right mean without that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.statistics.resampling import bootstrap_weights, group_numbers
from sciffusion.units import inverse_unit, power_unit

__all__ = [
    "Moments",
    "bin_matrix",
    "correlations",
    "hartlap_factor",
    "leave_one_out_chi2",
    "power_covariance",
    "power_errors",
]

_DEGENERATE = 1e-10  # smallest eigenvalue of a correlation matrix that is not taken for rounding
_FLAT = 1e-24  # variance, as a share of the mean square, that is rounding


def power_errors(
    power: xr.DataArray, method: str = "gaussian", *, group: str | None = "group", draws: int = 500, seed: int = 0
) -> xr.DataArray:
    r"""Return errors of power spectra: of one Gaussian sample, or of the mean, from the scatter between samples.

    - ``"gaussian"``: :math:`\sigma_P = P / \sqrt{N_\mathrm{modes}}`, the scatter of one sample of a Gaussian field
      (Feldman, Kaiser & Peacock 1994, section 2.3, for a uniform density, with independent modes counted). Other
      fields scatter more.
    - ``"jackknife"``: with :math:`\bar P_{(g)}` the mean over all samples but those of one of G groups,
      :math:`\sigma^2 = \frac{G - 1}{G} \sum_g (\bar P_{(g)} - \bar P_{(\cdot)})^2`, the error of the mean over all
      samples (Efron 1982, chapter 3; a group at a time).
    - ``"bootstrap"``: the scatter of the mean over G groups drawn with replacement (Efron 1979), times
      :math:`\sqrt{G / (G - 1)}`, by which such draws scatter too little.

    Parameters
    ----------
    power : DataArray ([sample, channel,] k)
        From `power_spectrum`; for ``"gaussian"`` with its coordinate ``modes``, else with ``sample``.
    method : {"gaussian", "jackknife", "bootstrap"}
    group : str or None
        Coordinate along ``sample``: samples that share its value (simulation, object) are left out or drawn together;
        where it is missing, or with None, each is its own group.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataArray ([sample, channel,] k)
        In the units of `power`. Jackknife and bootstrap have no ``sample``: they are errors of the mean.

    Raises
    ------
    ValueError
        If the method is unknown, or there is no ``sample`` or only one group to be resampled.

    Examples
    --------
    >>> power = xr.DataArray([8.0, 3.0], dims="k", coords={"modes": ("k", [4.0, 9.0])})
    >>> power_errors(power).values
    array([4., 1.])
    >>> pair = xr.DataArray([[1.0], [3.0]], dims=("sample", "k"), attrs={"units": "K^2"})
    >>> power_errors(pair, method="jackknife").values
    array([1.])
    """
    if method == "gaussian":
        errors = power / power["modes"] ** 0.5
        return errors.rename("power_error").assign_attrs(power.attrs, long_name="Gaussian error of the power spectrum")
    if method not in ("jackknife", "bootstrap"):
        raise ValueError(f"unknown method {method!r}; known are 'gaussian', 'jackknife' and 'bootstrap'")
    ordered, number, groups = _by_group(power, group)
    values = ordered.values
    members = (number == np.arange(groups)[:, None]).astype(np.float64)
    weight = 1 - members if method == "jackknife" else bootstrap_weights(number, draws, seed)
    means = np.tensordot(weight / weight.sum(axis=1, keepdims=True), values - values.mean(axis=0), 1)
    inflation = (groups - 1) ** 2 / groups if method == "jackknife" else groups / (groups - 1)
    errors = ordered.mean("sample", keep_attrs=True).copy(data=np.sqrt(inflation * means.var(axis=0, ddof=1)))
    return errors.rename("power_error").assign_attrs(long_name=f"{method} error of the mean power spectrum")


def hartlap_factor(samples: int, bins: int) -> float:
    r"""Return :math:`(n - p - 2) / (n - 1)`: what makes the inverse of an estimated covariance unbiased.

    The covariance of p numbers, estimated from n independent Gaussian samples with their mean, has an inverse that is
    too large on average; times this factor it is not (Hartlap, Simon & Schneider 2007, eq. 17).

    Parameters
    ----------
    samples, bins : int
        n and p.

    Raises
    ------
    ValueError
        If n is not larger than p + 2: then the inverse has no mean.

    Examples
    --------
    >>> hartlap_factor(101, 49)
    0.5
    """
    if samples <= bins + 2:
        needed = f"the inverse covariance of {bins} bins needs more than {bins + 2} independent samples"
        raise ValueError(f"{needed}, there are {samples}; give fewer bins or more samples")
    return (samples - bins - 2) / (samples - 1)


def power_covariance(
    power: xr.DataArray, *, bins: int | None = None, group: str | None = "group", precision: bool = True
) -> xr.Dataset:
    r"""Return covariance, correlation and precision of the power spectrum of one sample, between wavenumbers.

    The covariance is the mean over all pairs of samples of different groups,

    .. math:: C = \tfrac{1}{2} \langle (P_i - P_j)(P_i - P_j)^T \rangle, \qquad g_i \ne g_j,

    unbiased however alike the samples of a group are; without groups it is the usual one. The precision is its inverse
    times `hartlap_factor` with the number of *groups* as n: unbiased for groups of one and for copies, and too low (on
    the safe side) for siblings that are independent in truth; ``group=None`` counts these each.

    Parameters
    ----------
    power : DataArray (sample, [channel,] k)
        From `power_spectrum`.
    bins : int, optional
        Average the shells, weighted by their modes, in so many logarithmic bins of k.
    group : str or None
        As in `power_errors`.
    precision : bool
        Whether the inverse is needed: it takes more groups.

    Returns
    -------
    Dataset ([channel,] k, k_2)
        ``covariance`` [power units²], ``correlation`` (nan without scatter), ``precision`` [1 / power units²].
        Coordinates: ``k``, ``k_2``, ``modes``. Attributes: ``samples``, ``groups`` and ``hartlap``, the factor.

    Raises
    ------
    ValueError
        If there is no ``sample``, fewer than two groups, too many bins, or for the precision n <= p + 2 or no inverse.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(5.0, 2.0, (4000, 3))
    >>> power = xr.DataArray(values, dims=("sample", "k"), coords={"k": [1.0, 2.0, 3.0]}, attrs={"units": "K^2 deg"})
    >>> found = power_covariance(power)
    >>> found["covariance"].values.diagonal().round(0), found["precision"].attrs["units"]
    (array([4., 4., 4.]), '1/((K^2 deg)^2)')
    """
    ordered, number, groups = _by_group(power, group)
    k = ordered["k"] if "k" in ordered.coords else xr.DataArray(np.arange(ordered.sizes["k"]) + 1.0, dims="k")
    modes = ordered["modes"].values if "modes" in ordered.coords else np.ones(k.size)
    matrix = np.eye(k.size) if bins is None else bin_matrix(k.values, modes, bins)
    if len(matrix) != (bins or k.size):
        raise ValueError(f"{k.size} shells cannot be put into {bins} logarithmic bins; give bins <= {len(matrix)}")
    spectra = ordered.values @ matrix.T
    covariance, least = _covariance(spectra, number), _FLAT * (spectra**2).mean(axis=0)
    units = power_unit(str(power.attrs.get("units", "")), "", 0)
    columns = {"covariance": (covariance, units), "correlation": (correlations(covariance, least), "")}
    attrs: dict[str, float] = {"samples": len(number), "groups": groups}
    if precision:
        attrs["hartlap"] = hartlap_factor(groups, len(matrix))
        columns["precision"] = (attrs["hartlap"] * inverses(covariance, least), inverse_unit(units))
        if not np.isfinite(columns["precision"][0]).all():
            raise ValueError("the covariance has no inverse: bins do not scatter, or depend on others; give fewer bins")
    labels = {str(name): coord for name, coord in ordered.coords.items() if not {"sample", "k"} & set(coord.dims)}
    labels |= {dim: (dim, matrix @ k.values, k.attrs) for dim in ("k", "k_2")}
    labels["modes"] = ("k", (matrix > 0) @ modes, {"units": "", "long_name": "number of independent modes"})
    dims = (*ordered.dims[1:-1], "k", "k_2")
    found = {name: (dims, values, {"units": unit, "long_name": name}) for name, (values, unit) in columns.items()}
    return xr.Dataset(found, coords=labels, attrs=attrs)


def _by_group(power: xr.DataArray, group: str | None) -> tuple[xr.DataArray, np.ndarray, int]:
    """Return the spectra (sample, [channel,] k), the number of the group of each sample, and how many groups."""
    if "sample" not in power.dims:
        raise ValueError(f"expected power spectra of samples (sample, k), got the dims {power.dims}")
    ordered = power.transpose("sample", ..., "k").astype(np.float64)
    number = group_numbers(power[group].values if group in power.coords else None, power.sizes["sample"])
    groups = len(np.unique(number))
    if groups < 2:
        raise ValueError(
            f"a scatter needs at least 2 groups, {len(number)} samples are in {groups}; group=None takes each sample "
            "as its own, if they are independent"
        )
    return ordered, number, groups


def _covariance(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the mean over pairs of different groups, (..., p, p), of values (sample, ..., p)."""
    centered = values - values.mean(axis=0)
    count = np.bincount(number)
    members = (number == np.arange(len(count))[:, None]).astype(np.float64)
    sums = np.tensordot(members, centered, 1)
    others = len(number) - count[number].astype(np.float64)
    # half the squares of all differences, less those within the groups; centered sums over all samples are 0
    total = np.einsum("s,s...i,s...j->...ij", others, centered, centered)
    total += np.einsum("g...i,g...j->...ij", sums, sums)
    return total / (len(number) ** 2 - float((count**2).sum()))


def bin_matrix(k: np.ndarray, modes: np.ndarray, bins: int) -> np.ndarray:
    """Return the averages over logarithmic bins of rising k, shells weighted by their modes, as a matrix (bin, k).

    The bins from the first to the last k are made narrower until as many of them hold a shell.

    Examples
    --------
    >>> bin_matrix(np.arange(1.0, 7.0), np.ones(6), 3).round(2)
    array([[1.  , 0.  , 0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.5 , 0.5 , 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.33, 0.33, 0.33]])
    """
    best = np.zeros(len(k), dtype=np.int64)
    for finer in range(bins, 8 * max(len(k), bins) + 1):
        edges = np.geomspace(k[0], k[-1], finer + 1)
        place = np.minimum(np.searchsorted(edges, k * (1 + 1e-9), side="right"), finer)
        row = np.unique(place, return_inverse=True)[1].reshape(-1)
        if best.max() < row.max() < bins:
            best = row
        if row.max() + 1 >= bins:
            break
    share = np.where(best == np.arange(best.max() + 1)[:, None], modes, 0.0)
    return share / share.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Moments:
    """Means (splits, p) and unbiased covariances (splits, p, p) of subsets, and their numbers of samples (splits,)."""

    mean: np.ndarray
    covariance: np.ndarray
    samples: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray) -> Moments:
        """Average `values` (sample, p) with weights (splits, sample): equal ones in each row, that sum to one."""
        center = values.mean(axis=0)
        offset = values - center
        shift = weight @ offset
        products = (offset[:, :, None] * offset[:, None, :]).reshape(len(values), -1)
        second = (weight @ products).reshape(*shift.shape, -1) - shift[:, :, None] * shift[:, None, :]
        samples = np.rint(1 / (weight**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(center + shift, second * (samples / (samples - 1))[:, None, None], samples)

    def chi2(self, reference: Moments) -> np.ndarray:
        """Return the mean reduced chi² (splits,) under a reference of n samples, over its expectation (n + 1) / n.

        1 of a set under itself; nan where n is not more than p + 2, or the covariance has no inverse.
        """
        bins, n = self.mean.shape[1], reference.samples
        hartlap = np.where(n > bins + 2, (n - bins - 2) / np.maximum(n - 1, 1), np.nan)
        shift = self.mean - reference.mean
        about = self.covariance * (1 - 1 / self.samples)[:, None, None] + shift[:, :, None] * shift[:, None, :]
        found = hartlap * np.einsum("sij,sji->s", inverses(reference.covariance), about) / bins * n / (n + 1)
        return np.where(self.same(reference), np.where(np.isnan(found), np.nan, 1.0), found)

    def same(self, other: Moments) -> np.ndarray:
        """Return whether the subsets are the same (splits,)."""
        return (self.samples == other.samples) & np.isclose(self.mean, other.mean, 1e-12, 1e-12).all(axis=1)


def leave_one_out_chi2(values: np.ndarray) -> float:
    """Return the mean of `Moments.chi2` of each of n samples (sample, p) under the n - 1 others; nan for n <= p + 3."""
    n, bins = values.shape
    offset = values - values.mean(axis=0)
    share = np.einsum("si,ij,sj->s", offset, inverses(np.cov(values.T)), offset) * n / (n - 1) ** 2
    return float((n - bins - 3) / bins * (share / (1 - share)).mean()) if n > bins + 3 else np.nan


def correlations(covariance: np.ndarray, least: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the correlation coefficients (..., p, p); nan where a variance is not larger than `least` (..., p)."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        std = np.sqrt(np.where(variance > least, variance, np.nan))
    return covariance / (std[..., :, None] * std[..., None, :])


def inverses(covariance: np.ndarray, least: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the inverse matrices (..., p, p); nan where there is none."""
    correlation = correlations(covariance, least)
    known = np.asarray(np.isfinite(correlation).all(axis=(-2, -1)))[..., None]
    levels, vectors = np.linalg.eigh(np.where(known[..., None], correlation, np.eye(covariance.shape[-1])))
    levels = np.where(known & (levels[..., :1] > _DEGENERATE), levels, np.nan)
    std = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (vectors / levels[..., None, :]) @ np.swapaxes(vectors, -1, -2) / (std[..., :, None] * std[..., None, :])
