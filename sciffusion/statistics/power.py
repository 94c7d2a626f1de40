r"""The power spectrum of fields in any number of dimensions.

With :math:`\delta_k = \int \delta(x)\, e^{-ikx}\, d^n x`, approximated by the cell volume times the
discrete transform,

.. math:: P(k) = \langle |\delta_k|^2 \rangle / V, \qquad n = 1, 2, 3, \dots

so that white noise of variance :math:`s^2` on cells of volume :math:`c` has :math:`P = s^2 c` whatever its
mean. The average runs over shells of half-integer edges in units of the fundamental frequency :math:`k_f =
2\pi / L` (L the longest side), shell :math:`i` holding :math:`i - 1/2 < k / k_f < i + 1/2`. Of the two
modes k and -k of a real field one is independent, and these are counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.sparse
import xarray as xr

from sciffusion.statistics.covariance import power_errors
from sciffusion.statistics.grid import Grid, chunks, good_pixels, is_open, name_of
from sciffusion.statistics.window import hann_variance, open_window
from sciffusion.units import k_unit, power_unit

__all__ = ["coherence", "power_errors", "power_spectrum", "transfer"]

_BLOCK = 2**16  # values worked on at once: they and their modes stay in the cache
_Weighted = tuple[np.ndarray, np.ndarray | None]  # values, and weights that broadcast to them; None: all alike


def power_spectrum(
    field: xr.DataArray,
    other: xr.DataArray | None = None,
    *,
    beyond_nyquist: bool = False,
    window: str | None = None,
) -> xr.DataArray:
    r"""Return the power spectrum of every sample, or the cross spectrum of every pair of samples.

    The mean of each sample is taken out. Every axis is treated as periodic: without a window the step between the ends
    of an open axis adds power that falls as :math:`k^{-2}` along it, and hides a steeper spectrum.

    With bad pixels (a coordinate ``mask``, True = bad, in dims of the field) it is a pseudo power spectrum: the field,
    less its mean under the weight :math:`w` (window times good pixels), times w, the power divided by the mean of
    :math:`w^2` of each sample, of a cross spectrum by that of :math:`w_a w_b`. White noise keeps its power. The mixing
    of modes by the holes is not corrected (Hivon et al. 2002 go on to invert it): it fills up a steep spectrum at high
    k, and fewer modes are independent than ``modes`` says.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Real, finite values, also under a mask; every grid dim has an evenly spaced coordinate. Lengths and spacings may
        differ between the axes. Lazy fields are read a few samples at a time.
    other : DataArray, optional
        A second field on the same grid, with as many samples; the cross spectrum is the real part of
        :math:`\langle a b^* \rangle / V`.
    beyond_nyquist : bool
        Keep the shells past the smallest Nyquist frequency of the axes, out to the corner of the Fourier
        grid. They are not whole. The default is to keep whole shells only.
    window : {"hann"}, optional
        Apodize the axes that are not periodic (``attrs["boundary"]`` of their coordinate): the field, less its mean
        under the window, is multiplied by the Hann window :math:`w = \sin^2(\pi (i + 1/2) / n)` along each of them
        (Harris 1978, section V-C), and the power divided by the mean of :math:`w^2`: white noise keeps its power.
        It mixes modes of neighboring shells, of which fewer are independent than ``modes`` says; the first shell loses
        up to half of its power with the mean.

    Returns
    -------
    DataArray ([sample, channel,] k)
        Power, ``attrs["units"]`` = field units² × coordinate units^ndim. Coordinates: ``k``, the mean wavenumber of
        the modes of a shell [rad per unit of the coordinate], ``modes``, the number of independent ones, and those of
        `field` along ``sample`` and ``channel``. (A Nyquist mode that is its own conjugate counts one half.)

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, a value is not finite (the sample is named), the grid is too
        small for one whole shell, `other` lies on another grid, the window is unknown, or a sample (a pair of them)
        has no good pixel.

    Examples
    --------
    White noise of variance 4 on cells of area 0.25 has P = 1:

    >>> import numpy as np, xarray as xr
    >>> x = xr.DataArray((np.arange(32) + 0.5) * 0.5, dims="x", attrs={"units": "Mpc/h"})
    >>> values = np.random.default_rng(0).normal(3.0, 2.0, (200, 32, 32))
    >>> coords = {"y": ("y", x.values, x.attrs), "x": x}
    >>> noise = xr.DataArray(values, dims=("sample", "y", "x"), coords=coords)
    >>> power = power_spectrum(noise)
    >>> power.dims, power.attrs["units"], power.k.attrs["units"]
    (('sample', 'k'), '(Mpc/h)^2', 'h/Mpc')
    >>> round(float(power.mean()), 2)
    1.0
    """
    if "sample" not in field.dims:
        partner = None if other is None else other.expand_dims("sample")
        power = power_spectrum(field.expand_dims("sample"), partner, beyond_nyquist=beyond_nyquist, window=window)
        return power.isel(sample=0)
    grid = Grid.of(field)
    shells = _Shells(grid, beyond_nyquist, open_window(field, window), is_open(field))
    if not len(shells.k):
        raise ValueError(
            f"the grid of {name_of(field)}, {grid.sizes} pixels, holds no whole shell of modes; at least "
            "3 pixels an axis are needed"
        )
    dims = tuple(dim for dim in ("channel", *grid.dims) if dim in field.dims)
    if other is not None:
        _same_grid(field, other, grid)
    pair = (field,) if other is None else (field, other)
    names, parts, start = " and ".join(name_of(each) for each in pair), [], 0
    for found in zip(*(_weighted(each, dims, shells) for each in pair)):
        parts.append(_power(found[0], found[-1], shells, start, names))
        start += len(parts[-1])
    return _labelled(np.concatenate(parts), field, other, grid, shells)


def coherence(a: xr.DataArray, b: xr.DataArray, *, dim: str | None = None) -> xr.DataArray:
    r"""Return the coherence :math:`r(k) = P_{ab} / \sqrt{P_{aa} P_{bb}}`, 0 for independent fields.

    Parameters
    ----------
    a, b : DataArray ([sample, channel,] *grid)
        Two fields on one grid, their samples paired.
    dim : str, optional
        ``"sample"``: average the spectra over the samples before the ratio. The default is one coherence a sample.

    Returns
    -------
    DataArray ([sample, channel,] k)

    Raises
    ------
    ValueError
        As `power_spectrum`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = np.random.default_rng(0).normal(size=(1, 64))
    >>> field = xr.DataArray(x, dims=("sample", "x"), coords={"x": np.arange(64.0)})
    >>> bool(np.allclose(coherence(field, -2 * field), -1))
    True
    """
    cross, first, second = (_averaged(p, dim) for p in (power_spectrum(a, b), power_spectrum(a), power_spectrum(b)))
    ratio = cross / (first * second) ** 0.5
    return ratio.rename("coherence").assign_attrs(units="", long_name="coherence", nyquist=cross.attrs["nyquist"])


def transfer(a: xr.DataArray, b: xr.DataArray, *, dim: str | None = None) -> xr.DataArray:
    r"""Return :math:`T(k) = \sqrt{P_{aa} / P_{bb}}`: the amplitude of `a` beside that of the reference `b`.

    Parameters
    ----------
    a, b : DataArray ([sample, channel,] *grid)
        Two fields on one grid, in the same units.
    dim : str, optional
        ``"sample"``: average the spectra over the samples before the ratio. The default is one function a sample.

    Returns
    -------
    DataArray ([sample, channel,] k)

    Raises
    ------
    ValueError
        If the fields lie on different grids or have different units; else as `power_spectrum`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = np.random.default_rng(0).normal(size=(1, 64))
    >>> field = xr.DataArray(x, dims=("sample", "x"), coords={"x": np.arange(64.0)})
    >>> bool(np.allclose(transfer(3 * field, field), 3))
    True
    """
    _same_grid(a, b, Grid.of(a))
    units = tuple(str(field.attrs.get("units", "")) for field in (a, b))
    if units[0] != units[1]:
        raise ValueError(
            f"a transfer function needs two fields in the same units; these are in {units[0]!r} and {units[1]!r}"
        )
    first, second = (_averaged(power_spectrum(field), dim) for field in (a, b))
    attrs = {"units": "", "long_name": "transfer function", "nyquist": first.attrs["nyquist"]}
    return ((first / second) ** 0.5).rename("transfer").assign_attrs(attrs)


def _averaged(power: xr.DataArray, dim: str | None) -> xr.DataArray:
    return power if dim is None else power.mean(dim, keep_attrs=True)


class _Shells:
    """The shells of a grid, and the averages over them as a matrix on the half plane of the transform."""

    def __init__(self, grid: Grid, beyond_nyquist: bool, window: np.ndarray | None, ends: tuple[bool, ...]):
        longest = max(grid.lengths)
        fundamental = 2 * np.pi / longest
        integers = [np.rint(np.fft.fftfreq(n, 1 / n)) for n in grid.sizes]
        last = grid.sizes[-1]
        integers[-1] = np.arange(last // 2 + 1.0)
        scaled = (m * (longest / length) for m, length in zip(integers, grid.lengths))
        scaled = np.meshgrid(*scaled, indexing="ij", sparse=True)
        radius = np.sqrt(np.asarray(sum(np.square(axis) for axis in scaled))).ravel()
        # The real transform leaves out the conjugates of all planes but the first and (even sizes) the last.
        planes = np.full(last // 2 + 1, 1.0)
        planes[-1] = 1.0 if last % 2 else 0.5
        planes[0] = 0.5
        weights = np.broadcast_to(planes, (*grid.sizes[:-1], len(planes))).ravel()
        whole = min(n / 2 * longest / length for n, length in zip(grid.sizes, grid.lengths)) - 0.5
        outermost = radius.max() if beyond_nyquist else np.floor(whole + 1e-9)
        shell = np.rint(radius).astype(np.int64)
        inside = np.flatnonzero((shell >= 1) & (shell <= np.rint(outermost)))
        occupied, row = np.unique(shell[inside], return_inverse=True)
        self.modes = np.bincount(row, weights[inside], len(occupied))
        share = weights[inside] / self.modes[row]
        self.k = fundamental * np.bincount(row, share * radius[inside], len(occupied))
        self.average = scipy.sparse.csr_array((share, (row, inside)), shape=(len(occupied), radius.size))
        self.scale = grid.volume / np.prod([float(n) for n in grid.sizes]) ** 2
        self.axes = tuple(range(-len(grid.sizes), 0))
        self.window = window
        self.variance = 0.0 if window is None else hann_variance(grid.lengths, ends)


def _weighted(field: xr.DataArray, dims: tuple[str, ...], shells: _Shells) -> Iterator[_Weighted]:
    for part in chunks(field):
        part = part.transpose("sample", *dims)
        weight = shells.window
        if "mask" in part.coords:
            weight = good_pixels(part) * (1.0 if weight is None else weight)
        values, step = part.values, max(1, _BLOCK * len(part) // part.size)
        for block in (slice(start, start + step) for start in range(0, len(values), step)):
            yield values[block], weight[block] if weight is not None and weight.ndim == values.ndim else weight


def _power(a: _Weighted, b: _Weighted, shells: _Shells, start: int, names: str) -> np.ndarray:
    """Return the shell averages of Re(a b*); `start` is the number of the first sample."""
    leading = a[0].shape[: a[0].ndim - len(shells.axes)]
    square = _mean_square([each[1] for each in (a, b) if each[1] is not None], shells)
    if np.any(square == 0):
        where = start + int(np.argmin(square.reshape(leading[0], -1).min(axis=1)))
        raise ValueError(f"sample {where} of {names} has no good pixel; drop it, or mend the mask")
    a_k = _transform(*a, shells)
    b_k = a_k if b is a else _transform(*b, shells)
    squared = np.real(a_k) * np.real(b_k) + np.imag(a_k) * np.imag(b_k)
    averages = shells.average @ squared.reshape(int(np.prod(leading)), -1).T
    return shells.scale * averages.T.reshape(*leading, -1) / square


def _mean_square(weights: list[np.ndarray], shells: _Shells) -> np.ndarray:
    """Return the mean product of the weights that there are of two fields, (1) or (sample, [channel,] 1)."""
    return np.asarray(math.prod(weights, start=np.ones((1,) * len(shells.axes))).mean(axis=shells.axes))[..., None]


def _transform(values: np.ndarray, weight: np.ndarray | None, shells: _Shells) -> np.ndarray:
    if weight is None:
        centered = values - values.mean(axis=shells.axes, keepdims=True)
    else:
        # the mean under the weight: without it a constant would leak into the first shells
        weight = np.broadcast_to(weight, values.shape)
        centered = (values - np.average(values, axis=shells.axes, weights=weight, keepdims=True)) * weight
    return np.asarray(scipy.fft.rfftn(centered, axes=shells.axes, overwrite_x=True))


def _labelled(
    power: np.ndarray, field: xr.DataArray, other: xr.DataArray | None, grid: Grid, shells: _Shells
) -> xr.DataArray:
    dims = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    kept = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(dims)}
    k = xr.DataArray(shells.k, dims="k", attrs={"units": k_unit(grid.units), "long_name": "wavenumber"})
    modes = xr.DataArray(shells.modes, dims="k", attrs={"units": "", "long_name": "number of independent modes"})
    units = str(field.attrs.get("units", ""))
    other_units = None if other is None else str(other.attrs.get("units", ""))
    attrs = {
        "units": power_unit(units, grid.units, len(grid.dims), other_units),
        "long_name": "power spectrum" if other is None else "cross spectrum",
        "nyquist": grid.nyquist,
        "fundamental": 2 * np.pi / max(grid.lengths),
        "ndim": len(grid.dims),
        "window_variance": shells.variance,
    }
    return xr.DataArray(power, dims=(*dims, "k"), coords={**kept, "k": k, "modes": modes}, name="power", attrs=attrs)


def _same_grid(field: xr.DataArray, other: xr.DataArray, grid: Grid) -> None:
    if dict(field.sizes) != dict(other.sizes):
        raise ValueError(
            f"the two fields have different sizes, {dict(field.sizes)} and {dict(other.sizes)}; a cross "
            "spectrum pairs their samples one to one"
        )
    second = Grid.of(other.transpose(*field.dims))
    if second.units != grid.units or not np.allclose(second.spacings, grid.spacings, rtol=1e-4):
        raise ValueError(
            f"the two fields lie on different grids: spacing {grid.spacings} {grid.units!r} and "
            f"{second.spacings} {second.units!r}"
        )
