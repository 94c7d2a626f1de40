r"""Scattering coefficients: how strong a field is at each scale, and how that strength varies on larger scales.

.. math:: S_1(j, l) = \langle |x \star \psi_{j,l}| \rangle, \qquad
          S_2(j_1, l_1, j_2, l_2) = \langle ||x \star \psi_{j_1,l_1}| \star \psi_{j_2,l_2}| \rangle, \quad j_2 > j_1,

with the average over the box (Mallat 2012; Bruna & Mallat 2013, section 2; Cheng et al. 2020 of cosmological maps).
They see the phases of the modes, as the bispectrum does, but without its products of three fields, in which a single
peak may outweigh all else.

The filters are Morlet wavelets :math:`\psi_{j,l}(x) \propto e^{-x^2 / 2\sigma^2} (e^{i \xi n_l x} - \beta)` with
:math:`\sigma = 0.8 \cdot 2^j` and :math:`\xi = \frac34 \pi / 2^j` in pixels, :math:`\beta` taking out the mean. Their
directions :math:`n_l` are those to half of the neighbors of a pixel, diagonal ones included: 1 in one dimension, 4 in
two, 13 in three. In two dimensions they are those of Kymatio (Andreux et al. 2020) with L = 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.features import Features
from sciffusion.statistics.grid import chunks, grid_dims
from sciffusion.statistics.statistic import Parts
from sciffusion.statistics.wavelets import Bank
from sciffusion.statistics.window import open_window

__all__ = ["Scattering", "scattering"]

_FAINT = 1e-9


def scattering(
    field: xr.DataArray,
    scales: int | None = None,
    *,
    isotropic: bool = False,
    window: str | None = None,
    exact: bool = False,
) -> xr.DataArray:
    r"""Return scattering coefficients of first and second order of every sample.

    The mean of each sample is taken out, and every axis is treated as periodic. Where axes differ in spacing the
    largest counts as a pixel.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Real values; every grid dim has an evenly spaced coordinate. A coordinate ``mask`` (True = bad) takes pixels
        out: they are set to the mean, and the coefficients divided by the part of the pixels that is good.
    scales : int, optional
        J, so that j = 0 ... J - 1. The default is the largest with :math:`2^J` up to a quarter of the shortest side in
        pixels, at most 6, and fewer in three dimensions (3), where there are many directions.
    isotropic : bool
        Average over directions: :math:`S_1(j)` and :math:`S_2(j_1, j_2, c)` with c the cosine between the two
        directions (of either sign, so from 0 to 1): J + 3 J (J - 1) / 2 coefficients in two dimensions.
    window : {"hann"}, optional
        Apodize the axes that are not periodic, as `power_spectrum` does, and divide by the mean of the window.
    exact : bool
        Compute with all pixels in float64. The default is single precision, and each filtered field on twice as many
        pixels an axis as its filter has modes above 0.2 % of its peak (2048 in all at least, where there are as many):
        several times faster. Differences are 1.5e-4 (root mean square; 5e-4 of isotropic coefficients at most).

    Returns
    -------
    DataArray ([sample, channel,] coefficient)
        In the units of the field. Coordinates along ``coefficient``: ``order``, ``j1``, ``l1``, ``j2``, ``l2`` (-1
        where there is none), ``scale``, the wavelength :math:`2\pi/\xi` of the first filter [units of the coordinate],
        and with `isotropic` ``cosine`` (nan where there is none). ``attrs["directions"]`` names the vectors of l = 0,
        1, ... by their components along the grid dims, in the order of the field.

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, a value is not finite, the grid is too small for a scale, there
        are more scales than the box holds, or all pixels of a sample are bad.

    Examples
    --------
    A plane wave passes the filter of its own scale, and has the same strength everywhere:

    >>> x = np.arange(64.0)
    >>> wave = xr.DataArray(np.cos(0.75 * np.pi * x), dims="x", coords={"x": x})
    >>> found = scattering(wave, 3, exact=True)
    >>> found.order.values, found.j1.values
    (array([1, 1, 1, 2, 2, 2]), array([0, 1, 2, 0, 0, 1]))
    >>> abs(found).values.round(2)
    array([0.51, 0.08, 0.  , 0.09, 0.  , 0.  ])
    """
    if "sample" not in field.dims:
        one = scattering(field.expand_dims("sample"), scales, isotropic=isotropic, window=window, exact=exact)
        return one.isel(sample=0)
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    ordered = field.transpose(*kept, *grid_dims(field))
    bank = Bank.of(ordered, scales, exact)
    weight = open_window(ordered, window)
    rows, start = [], 0
    for part in chunks(ordered):
        rows.append(bank.measure(part, weight, start))
        start += len(rows[-1])
    found, coords = np.concatenate(rows), bank.coords
    if isotropic:
        average, coords = bank.isotropic()
        found = found @ average.T
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    attrs = {
        "units": str(field.attrs.get("units", "")),
        "long_name": "scattering coefficients",
        "directions": bank.names,
    }
    return xr.DataArray(found, dims=(*kept, "coefficient"), coords={**labels, **coords}, name="scattering", attrs=attrs)


@dataclass(frozen=True)
class Scattering(Features):
    """Logarithms of the isotropic coefficients of the one-point field: of S1, and of S2 / S1.

    Attributes
    ----------
    views : Views
    bank : Bank
    window : ndarray (*grid) or None
        Open axes are apodized.
    """

    title: ClassVar[str] = "scattering coefficients"
    views: Views
    bank: Bank
    window: np.ndarray | None
    name: str = field(default="scattering", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views, tests: bool = True) -> Scattering:
        """Make the filters of the grid."""
        return cls(views, Bank.of(real), open_window(real, "hann"), tests=tests)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for a scale."""
        Bank.of(field)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the ``features`` (sample, feature)."""
        average, coords = self.bank.isotropic()
        values = self.views.values(part.transpose("sample", *self.bank.grid.dims))
        found = self.bank.measure(values, self.window) @ average.T
        # a constant sample has no logarithm
        found = np.maximum(found, _FAINT * self.views.std)
        order, j1 = coords["order"][1], coords["j1"][1]
        first = found[:, order == 1]
        return {"features": np.log(np.concatenate([first, found[:, order == 2] / first[:, j1[order == 2]]], axis=1))}

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the first order by scale: geometric means, their ratio, and the range of real halves (scale)."""
        scales = slice(len(self.bank.filters))
        real, generated = (np.exp(each["mean"][0, scales]) for each in (parts.real, parts.generated))
        low, high = parts.floor(lambda a, _: np.exp(a["mean"][:, scales]))
        columns = {"real": real, "generated": generated, "floor_low": low, "floor_high": high}
        attrs = {"units": self.views.units, "long_name": "scattering coefficients of first order"}
        found = {name: ("scale", values, attrs) for name, values in columns.items()}
        found["ratio"] = ("scale", generated / real, {"units": ""})
        _, scale, attrs = self.bank.coords["scale"]
        first = scale[: len(self.bank.filters) * len(self.bank.directions) : len(self.bank.directions)]
        return xr.Dataset(found, coords={"scale": ("scale", first, attrs)}, attrs={"of": self.views.title("values")})
