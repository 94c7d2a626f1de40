r"""The bispectrum of fields in any number of dimensions: the three-point function of their modes.

With the convention of `sciffusion.statistics.power`, :math:`\delta_k = \int \delta(x)\, e^{-ikx}\, d^n x`,

.. math:: B(k_1, k_2, k_3) = \langle \delta_{k_1} \delta_{k_2} \delta_{k_3} \rangle / V, \qquad k_1 + k_2 + k_3 = 0,

averaged over the triples of modes, one of each of three shells, that close a triangle. With :math:`D_i(x)` the modes
of shell i alone, the sum over triples is :math:`\sum_{k \in 3} \delta_k\, [D_1 D_2]_k^*` (Scoccimarro 2015, section 2;
Watkinson et al. 2017, section 2). The estimate of a Gaussian field has the mean 0 and the variance :math:`s\, V P_1 P_2
P_3 / N`, with N triples and s = 6, 2, 1 where three, two, none of the shells are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import Grid, chunks, grid_dims
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic
from sciffusion.statistics.triangles import Triangles
from sciffusion.statistics.window import open_window
from sciffusion.units import inverse_unit, power_unit

__all__ = ["Bispectrum", "bispectrum"]

_SHAPES = ("equilateral", "squeezed", "isosceles")


def bispectrum(
    field: xr.DataArray,
    triangles: Sequence[tuple[float, float, float]] | None = None,
    *,
    edges: Sequence[float] | None = None,
    window: str | None = None,
    reduced: bool = False,
) -> xr.DataArray:
    r"""Return the bispectrum of every sample.

    Products of three fields on n pixels wrap around where three wavenumbers along an axis add up to n fundamental
    ones, so there is none above a third of the pixels of an axis.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Real values; every grid dim has an evenly spaced coordinate. The mean is taken out. A coordinate ``mask`` (True
        = bad) takes pixels out: they are set to the mean, and what is left is treated as a window.
    triangles : sequence of (k1, k2, k3), optional
        Wavenumbers [rad per unit of the coordinate]; each stands for the shell that holds it. The default is
        equilateral triangles of all shells, squeezed ones (two sides in one shell, the third in the lowest), and
        isosceles ones (two sides below a sixth of the pixels of an axis, the third in every other shell).
    edges : sequence of float, optional
        Edges of the shells [rad per unit of the coordinate]. The default is at most 11 shells between 1/2 and N/3
        fundamental frequencies of the longest side, of logarithmic widths rounded to half-integer edges.
    window : {"hann"}, optional
        Apodize the axes that are not periodic, as `power_spectrum` does, and divide by the mean of :math:`w^3`.
    reduced : bool
        Return :math:`Q = B / (P_1 P_2 + P_2 P_3 + P_3 P_1)` with the powers of each sample in the same shells.

    Returns
    -------
    DataArray ([sample, channel,] triangle)
        [field units³ × coordinate units^(2 ndim)], of Q one over the field's units. Coordinates along ``triangle``:
        ``k1``, ``k2``, ``k3``, the mean wavenumbers of the shells, ``shape`` ("equilateral", "squeezed", "isosceles",
        else "scalene"), and ``triangles``, the number of triples of modes (k and -k both counted). Triangles that no
        modes close are left out.

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, a value is not finite, a wavenumber lies in no shell, edges do
        not rise or reach above a third of the pixels of an axis, no triangle closes, or all pixels of a sample are bad.

    Examples
    --------
    Three plane waves of amplitude 1 whose phases add up to 0:

    >>> x = np.arange(16.0)
    >>> wave = sum(np.cos(2 * np.pi * m * x / 16) for m in (1, 2, 3))
    >>> wave = xr.DataArray(wave, dims="x", coords={"x": ("x", x, {"units": "Mpc"})}, attrs={"units": "K"})
    >>> k = 2 * np.pi / 16
    >>> found = bispectrum(wave, [(k, 2 * k, 3 * k)], edges=k * np.array([0.5, 1.5, 2.5, 3.5]))
    >>> found.values.round(9), found.attrs["units"], int(found.triangles[0])  # (16 / 2)³ / 16
    (array([32.]), 'K^3 Mpc^2', 2)
    """
    if "sample" not in field.dims:
        return bispectrum(field.expand_dims("sample"), triangles, edges=edges, window=window, reduced=reduced).isel(
            sample=0
        )
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    ordered = field.transpose(*kept, *grid_dims(field))
    measured = Triangles.of(ordered, edges, triangles)
    weight = open_window(ordered, window)
    rows, start = [], 0
    for part in chunks(ordered):
        rows.append(measured.measure(part, weight, start, reduced))
        start += len(rows[-1])
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    return _labelled(np.concatenate(rows), field, kept, {**labels, **measured.coords}, reduced)


def _labelled(
    found: np.ndarray, field: xr.DataArray, kept: tuple[str, ...], coords: dict[Any, Any], reduced: bool
) -> xr.DataArray:
    grid, units = Grid.of(field), str(field.attrs.get("units", ""))
    cubed = " ".join(filter(None, (power_unit("", units, 3), power_unit("", grid.units, 2 * len(grid.dims)))))
    attrs = {
        "units": inverse_unit(units) if reduced else cubed,
        "long_name": "reduced bispectrum" if reduced else "bispectrum",
    }
    return xr.DataArray(found, dims=(*kept, "triangle"), coords=coords, name="bispectrum", attrs=attrs)


@dataclass(frozen=True)
class Bispectrum(Statistic):
    r"""Mean bispectra of the linear field and of its logarithm, by the shape of the triangles.

    Triangles are weighted by :math:`(k_1 k_2 k_3)^{2n/3}`, so that each counts by what it gives to the third moment of
    the field.

    Attributes
    ----------
    views : Views
    templates : mapping of DataArray (triangle,)
        Those of one sample, ``bispectrum`` and ``log_bispectrum``: they hold wavenumbers, shapes and units.
    triangles : Triangles
    window : ndarray (*grid) or None
        Open axes are apodized.
    """

    views: Views
    templates: dict[str, xr.DataArray]
    triangles: Triangles
    window: np.ndarray | None
    name: str = field(default="bispectrum", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Bispectrum:
        """Take triangles and units from the first sample."""
        one = real.isel(sample=slice(1))
        templates = {}
        for key, view in _views(views, one).items():
            found = bispectrum(view, window="hann").isel(sample=0)
            templates[key] = found.drop_vars([name for name in found.coords if found[name].dims != ("triangle",)])
        return cls(views, templates, Triangles.of(one), open_window(one, "hann"))

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for a triangle."""
        Triangles.of(field)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the bispectra (sample, triangle) of the samples."""
        order = ("sample", *self.triangles.grid.dims)
        views = _views(self.views, part.transpose(*order))
        return {name: self.triangles.measure(view, self.window) for name, view in views.items()}

    def scores(self, real: Measured) -> list[Score]:
        """Return the relative difference for each shape of triangles."""
        return [self._score(name, shape) for name in self.templates for shape in _SHAPES if self._of(shape).any()]

    def _of(self, shape: str) -> np.ndarray:
        return self.templates["bispectrum"]["shape"].values == shape

    def _score(self, name: str, shape: str) -> Score:
        rows, template = self._of(shape), self.templates[name]
        k = np.stack([template[side].values[rows] for side in ("k1", "k2", "k3")])
        # what an interval of ln k gives to the third moment: the lowest shells, high and noisy, would else decide alone
        weight = np.prod(k, axis=0) ** (2 / 3 * len(self.triangles.grid.dims))
        weight /= weight.sum()

        def distance(a: Averages, b: Averages) -> np.ndarray:
            # one ratio for all triangles: that of each alone diverges where B crosses zero
            return (np.abs(a[name] - b[name])[:, rows] @ weight) / (np.abs(b[name][:, rows]) @ weight)

        def value(a: Averages) -> np.ndarray:
            return a[name][:, rows] @ weight

        label, band = f"bispectrum of {self._title(name)}, {shape}, |ΔB|/|B|", (float(k.min()), float(k.max()))
        return Score(f"{name}_{shape}", label, distance, value, template.attrs["units"], band)

    def _title(self, name: str) -> str:
        return self.views.title(name.replace("bispectrum", "power"))

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return mean bispectra, and the range of the halves of the real set (triangle)."""
        found = {}
        for name, template in self.templates.items():
            low, high = parts.floor(lambda a, _, name=name: a[name])
            columns = {"real": parts.real[name][0], "generated": parts.generated[name][0]}
            columns |= {"floor_low": low, "floor_high": high}
            attrs = {"units": template.attrs["units"]}
            found |= {f"{name}_{key}": ("triangle", column, attrs) for key, column in columns.items()}
        attrs = {f"{name}_of": self._title(name) for name in self.templates}
        coords = self.templates["bispectrum"].coords
        sides = np.where(coords["shape"] == "isosceles", coords["k3"], coords["k1"])
        names = [f"{shape} {k:.2g}" for shape, k in zip(coords["shape"].values, sides)]
        units = f" [{coords['k1'].attrs['units']}]" if coords["k1"].attrs["units"] else ""
        triangle = ("triangle", names, {"long_name": f"k of triangles{units}, of isosceles ones k3"})
        return xr.Dataset(found, coords={**coords, "triangle": triangle}, attrs=attrs)


def _views(views: Views, part: xr.DataArray) -> dict[str, xr.DataArray]:
    return {name.replace("power", "bispectrum"): view for name, view in views.all(part).items()}
