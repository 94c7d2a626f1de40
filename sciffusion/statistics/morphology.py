r"""Minkowski functionals: size, boundary and curvature of the regions in which a field is above a threshold.

Of a body K of n dimensions they are, with its quermassintegrals :math:`W_j` and the volume :math:`\omega_j` of the unit
ball of j dimensions, :math:`V_0` the volume and

.. math:: V_j = \frac{W_j}{\omega_j} = \frac{1}{n\, \omega_j \binom{n-1}{j-1}} \int_{\partial K} e_{j-1}(\kappa)\, dS,
          \qquad j = 1 ... n

with the elementary symmetric polynomials of the principal curvatures of the surface, here for each unit of the volume
of the box (Schmalzing & Buchert 1997, ApJ 482, L1). The last one is the Euler characteristic: parts less holes in a
plane.

===  ===============  =======================  ===========================
n    V1               V2                       V3
===  ===============  =======================  ===========================
1    crossings / 2 L
2    contour / 4 A    curvature / 2 pi A
3    surface / 6 V    mean curvature / 3 pi V  Gaussian curvature / 4 pi V
===  ===============  =======================  ===========================

(curvature integrated over the boundary; the mean curvature is the mean of the two principal ones). Unlike P(k) they
see the phases of the modes, so that they tell filaments and clumps of one power spectrum apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import Grid, chunks, good_pixels
from sciffusion.statistics.levelsets import Axis, Levels, axes_of, curvature_densities, inside, whole_stencils
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic
from sciffusion.units import inverse_unit, power_unit

__all__ = ["HEIGHTS", "Morphology", "gaussian_minkowski", "minkowski_functionals"]

HEIGHTS = np.arange(-12, 13) / 4
"""Thresholds of a comparison: standard deviations from the mean of the real one-point field."""
_BLOCK = 2**17  # values worked on at once: their derivatives stay in the cache


def minkowski_functionals(
    field: xr.DataArray, thresholds: Sequence[float] | np.ndarray, *, width: float | None = None
) -> xr.DataArray:
    r"""Return the Minkowski functionals of the regions where each sample is not lower than each threshold.

    :math:`V_0` is the share of the pixels, without approximation. The others are integrals over space with a delta
    function of the value (Schmalzing & Buchert 1997; in a plane Schmalzing & Gorski 1998, MNRAS 297, 355), of gradient
    and Hessian: derivatives by the Fourier transform along periodic axes, by centered differences of eighth order along
    open ones, where the four pixels at each end then count for :math:`V_0` alone. With a coordinate ``mask`` (True =
    bad) all derivatives are differences, and pixels within reach of a bad one count for :math:`V_0` alone. The field
    should be smooth over a few pixels: of white noise the level sets have no curvature to speak of.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Finite values; every grid dim has an evenly spaced coordinate.
    thresholds : sequence of float
        Rising [field units].
    width : float, optional
        Half the range of the smooth kernel that stands for the delta function [field units]; a V_j is then wrong by
        its fourth derivative times width^4 / 500, while fewer pixels in it make more noise. The default is the distance
        between neighboring thresholds (half that of the two neighbors). A quarter of the standard deviation suits
        fields near a Gaussian: an error of 10^-4 of the maximum.

    Returns
    -------
    DataArray ([sample, channel,] functional, threshold)
        ``functional`` is V0 ... Vn in n dimensions; V_j is in coordinate units^-j, told by the coordinate
        ``functional_units``. Further coordinates: ``threshold``, ``width`` [field units] and ``pixels`` ([sample,
        channel,] functional), how many counted; nan where none did.

    Raises
    ------
    ValueError
        If the thresholds do not rise, a single one has no width, a coordinate is missing or unevenly spaced, there are
        fewer than nine pixels along an axis with finite differences, or a value is not finite.

    Examples
    --------
    Above 2 this hill has a radius of 10 and no hole: area / pi, contour / 2 pi and Euler characteristic are 100, 10, 1:

    >>> x = np.arange(64.0)
    >>> axes = {dim: (dim, x, {"units": "Mpc/h", "boundary": "reflect"}) for dim in ("y", "x")}
    >>> hill = 12 - np.hypot(*np.meshgrid(x - 31.5, x - 31.5))
    >>> found = minkowski_functionals(xr.DataArray(hill[None], axes, ("sample", "y", "x")), [2.0], width=4.0)
    >>> found.dims, found.functional_units.values.tolist()
    (('sample', 'functional', 'threshold'), ['', 'h/Mpc', '1/(Mpc/h)^2'])
    >>> (found[0, :, 0] * [64**2 / np.pi, 4 * 56**2 / (2 * np.pi), 56**2]).values.round(1)
    array([100.6,   9.9,   1. ])
    """
    if "sample" not in field.dims:
        return minkowski_functionals(field.expand_dims("sample"), thresholds, width=width).isel(sample=0)
    grid, axes, levels = Grid.of(field), axes_of(field), Levels.of(thresholds, width)
    masked = "mask" in field.coords
    ordered = field.transpose("sample", *(d for d in ("channel", *grid.dims) if d in field.dims))
    parts = [_measured(p.values, good_pixels(p) if masked else None, axes, levels) for p in chunks(ordered)]
    found, pixels = (np.concatenate(each) for each in zip(*parts))
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    units = {"units": str(field.attrs.get("units", ""))}
    coords = {
        **labels,
        "functional": [f"V{j}" for j in range(len(axes) + 1)],
        "functional_units": ("functional", [_functional_units(grid.units, j) for j in range(len(axes) + 1)]),
        "threshold": ("threshold", levels.thresholds, units),
        "width": ("threshold", levels.widths, units),
        "pixels": ((*kept, "functional"), pixels, {"units": "", "long_name": "pixels that counted"}),
    }
    attrs = {"units": "", "long_name": "Minkowski functionals"}
    dims = (*kept, "functional", "threshold")
    return xr.DataArray(found, dims=dims, coords=coords, name="minkowski_functionals", attrs=attrs)


def _functional_units(units: str, power: int) -> str:
    """Return the units of one over a length to a power, ``"h/Mpc"``, ``"1/(Mpc/h)^2"``."""
    raised = power_unit("", units, power) if power > 1 else ""
    return f"1/{raised}" if raised else inverse_unit(units if power else "")


def _measured(
    values: np.ndarray, good: np.ndarray | None, axes: Sequence[Axis], levels: Levels
) -> tuple[np.ndarray, np.ndarray]:
    """Return the functionals (..., functional, threshold), and how many pixels counted (..., functional)."""
    shape = values.shape[values.ndim - len(axes) :]
    leading = values.shape[: values.ndim - len(axes)]
    flat, step = values.reshape(-1, *shape), max(1, _BLOCK // math.prod(shape))
    blocks = [slice(start, start + step) for start in range(0, len(flat), step)]
    each = [None] * len(blocks) if good is None else [good.reshape(flat.shape)[block] for block in blocks]
    parts = [_sums(flat[block], some, axes, levels) for block, some in zip(blocks, each)]
    sums, pixels = (np.concatenate(each) for each in zip(*parts))
    with np.errstate(invalid="ignore"):
        found = sums / pixels[..., None]
    return found.reshape(*leading, *found.shape[1:]), pixels.reshape(*leading, -1)


def _sums(
    values: np.ndarray, good: np.ndarray | None, axes: Sequence[Axis], levels: Levels
) -> tuple[np.ndarray, np.ndarray]:
    """Return the functionals times the numbers of pixels, and these numbers."""
    n = len(axes)
    places = levels.places(values)
    counted = np.ones(values.shape) if good is None else good.astype(np.float64)
    whole = inside(counted, axes) if good is None else whole_stencils(good, axes).astype(np.float64)
    sums = [levels.sums(places, counted) @ levels.above]
    places = inside(places, axes)
    for j, density in enumerate(curvature_densities(values, axes), 1):
        weights = density if good is None else np.where(whole > 0, density, 0)
        scale = n * _ball(j) * math.comb(n - 1, j - 1)
        sums.append(levels.sums(places, weights) @ levels.kernel / scale)
    numbers = [each.reshape(len(values), -1).sum(axis=1) for each in (counted, whole)]
    return np.stack(sums, axis=1), np.stack([numbers[0], *[numbers[1]] * n], axis=1)


def _ball(n: int) -> float:
    """Return the volume of the unit ball of n dimensions."""
    return math.pi ** (n / 2) / math.gamma(n / 2 + 1)


def gaussian_minkowski(
    thresholds: Sequence[float] | np.ndarray, variance: float, gradient_variance: float, ndim: int, *, mean: float = 0.0
) -> xr.DataArray:
    r"""Return the Minkowski functionals of an isotropic Gaussian field in any number of dimensions.

    With :math:`\nu = (t - \mathrm{mean}) / \sigma`, :math:`\tau = \langle |\nabla u|^2 \rangle / n \sigma^2`, the
    Hermite polynomials :math:`He_0 = 1, He_1 = \nu, ...` and the volumes :math:`\omega_j` of unit balls (Tomita 1986,
    Prog. Theor. Phys. 76, 952; Schmalzing & Buchert 1997),

    .. math:: V_0 = \tfrac12 \mathrm{erfc}(\nu / \sqrt2), \qquad
              V_j = \frac{1}{\sqrt{2 \pi}} \left( \frac{\tau}{2 \pi} \right)^{j/2}
              \frac{\omega_n}{\omega_{n-j}\, \omega_j}\, He_{j-1}(\nu)\, e^{-\nu^2/2}.

    Parameters
    ----------
    thresholds : sequence of float
        [field units]
    variance : float
        Of the field [field units²].
    gradient_variance : float
        Mean square of the gradient, of all its components together [field units² / coordinate units²]. For a power
        spectrum it is the integral of k² P(k) where that of P(k) is the variance.
    ndim : int
        Number of grid dims.
    mean : float
        Of the field [field units].

    Returns
    -------
    DataArray (functional, threshold)
        V_j in coordinate units^-j.

    Raises
    ------
    ValueError
        If a variance is not positive or there is no dimension.

    Examples
    --------
    >>> gaussian_minkowski([0.0, 1.0], variance=1.0, gradient_variance=2.0, ndim=2).values.round(4)
    array([[0.5   , 0.1587],
           [0.125 , 0.0758],
           [0.    , 0.0385]])
    """
    if not (variance > 0 and gradient_variance > 0 and ndim >= 1):
        raise ValueError(
            "a variance of the field and of its gradient above 0, and at least one dimension are needed; they are "
            f"{variance}, {gradient_variance} and {ndim}"
        )
    levels = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    nu = (levels - mean) / variance**0.5
    slope = gradient_variance / (ndim * variance)
    rows = [np.array([0.5 * math.erfc(each / math.sqrt(2)) for each in nu])]
    for j in range(1, ndim + 1):
        scale = (slope / (2 * np.pi)) ** (j / 2) * _ball(ndim) / (_ball(ndim - j) * _ball(j))
        hermite = np.polynomial.hermite_e.hermeval(nu, np.eye(j)[-1])
        rows.append(scale * hermite * np.exp(-(nu**2) / 2) / math.sqrt(2 * math.pi))
    coords = {"functional": [f"V{j}" for j in range(ndim + 1)], "threshold": levels}
    attrs = {"long_name": "Minkowski functionals of a Gaussian field"}
    return xr.DataArray(np.stack(rows), dims=("functional", "threshold"), coords=coords, attrs=attrs)


@dataclass(frozen=True)
class Morphology(Statistic):
    """Minkowski functionals of the one-point field (the logarithm, where all values are positive).

    Attributes
    ----------
    views : Views
    units : mapping of str
        Of each functional.
    """

    views: Views
    units: dict[str, str]
    name: str = field(default="minkowski", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Morphology:
        """Take the units from the grid."""
        grid = Grid.of(real)
        return cls(views, {f"V{j}": _functional_units(grid.units, j) for j in range(len(grid.dims) + 1)})

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for derivatives."""
        axes_of(field)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return for each functional its sum over the pixels (sample, threshold), and the numbers of pixels."""
        found = minkowski_functionals(self.views.values(part), self.views.mean + self.views.std * HEIGHTS)
        pixels = found["pixels"].values
        sums = np.where(pixels[..., None] > 0, found.values, 0) * pixels[..., None]
        return {name: sums[:, j] for j, name in enumerate(self.units)} | {"pixels": pixels}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the functionals over all pixels of the samples; nan where none count."""
        found = super().averages(measured, weight)
        with np.errstate(invalid="ignore"):
            return {name: found[name] / found["pixels"][:, [j]] for j, name in enumerate(self.units)}

    def scores(self, real: Measured) -> list[Score]:
        """Return the largest difference of each functional, over its maximum."""
        return [_score(name, units) for name, units in self.units.items()]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the functionals of both sets and the range of those of real halves (threshold, in σ)."""
        found = {}
        for name, units in self.units.items():
            low, high = parts.floor(lambda a, _, name=name: a[name])
            columns = {"real": parts.real[name][0], "generated": parts.generated[name][0]}
            columns |= {"floor_low": low, "floor_high": high}
            found |= {f"{name}_{key}": ("threshold", column, {"units": units}) for key, column in columns.items()}
        threshold = ("threshold", HEIGHTS, {"units": "", "long_name": "threshold / σ"})
        return xr.Dataset(found, coords={"threshold": threshold}, attrs={"of": self.views.title("values")})


def _score(name: str, units: str) -> Score:
    def largest(a: Averages) -> np.ndarray:
        return np.abs(a[name]).max(axis=1)

    def distance(a: Averages, b: Averages) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(a[name] - b[name]).max(axis=1) / largest(b)

    return Score(f"minkowski_{name}", f"Minkowski {name}, max |difference| / max", distance, largest, units)
