"""Transforms that know what a spectrum is: its shape apart from its amplitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.transform.base import Transform

__all__ = ["AMPLITUDE", "SHAPE", "Amplitude"]

SHAPE, AMPLITUDE = "shape", "log_norm"


@dataclass(frozen=True)
class Amplitude(Transform):
    """A spectrum as two channels: its shape, the flux over its mean in a window, and the log10 of that mean.

    So a network generates the amplitude together with the shape, and the inverse returns flux in the units of the
    data. The amplitude is the same along all pixels; drawn, its mean over them counts. It comes back as the coordinate
    ``norm`` as well.

    Parameters
    ----------
    low, high : float
        The window, in the units of the coordinate ``wavelength``.

    References
    ----------
    Doorenbos et al. 2024, arXiv:2406.18175, divide by the mean in 6900 to 6950 Angstrom, and forget it.

    Examples
    --------
    >>> import xarray as xr
    >>> flux = xr.DataArray([[20.0, 10.0, 40.0]], dims=("sample", "wavelength"), coords={"wavelength": [1.0, 2.0, 3.0]})
    >>> both = Amplitude(1.5, 2.5)(flux)
    >>> both.dims, both.sel(channel="shape").values.tolist(), both.sel(channel="log_norm").values.tolist()
    (('sample', 'channel', 'wavelength'), [[2.0, 1.0, 4.0]], [[1.0, 1.0, 1.0]])
    >>> Amplitude(1.5, 2.5).inverse(both).values.tolist()
    [[20.0, 10.0, 40.0]]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(
                f"amplitude: expected a window LOW:HIGH of positive wavelengths, got {self.low}:{self.high}"
            )

    def _forward(self, field: xr.DataArray) -> xr.DataArray:
        if field.dims != ("sample", "wavelength"):
            raise ValueError(f"amplitude takes spectra (sample, wavelength), found {field.dims}")
        window = (field["wavelength"].values >= self.low) & (field["wavelength"].values <= self.high)
        if not window.any():
            raise ValueError(f"amplitude: no pixel lies between {self.low:g} and {self.high:g}; give another window")
        good = window & ~np.asarray(field["mask"].values, bool) if "mask" in field.coords else window
        # Where all of the window is bad, its interpolated pixels are the best that is known.
        weight = np.where(np.any(good, -1, keepdims=True), good, window) * np.ones(field.shape)
        norm = (field.values * weight).sum(1) / weight.sum(1)
        if not (norm > 0).all():
            row = int(np.flatnonzero(~(norm > 0))[0])
            sample = field["sample"].values[row] if "sample" in field.coords else row
            raise ValueError(
                f"amplitude: the mean flux of sample {sample} between {self.low:g} and {self.high:g} is "
                f"{norm[row]:.3g}, not positive; leave such spectra out, or give another window"
            )
        channels = np.stack([field.values / norm[:, None], np.log10(norm)[:, None] * np.ones(field.shape)], 1)
        out = xr.DataArray(channels, dims=("sample", "channel", "wavelength"), name=field.name, attrs=field.attrs)
        return out.assign_coords({**field.coords, "channel": [SHAPE, AMPLITUDE]})

    def _backward(self, field: xr.DataArray) -> xr.DataArray:
        shape, log_norm = field.sel(channel=SHAPE, drop=True), field.sel(channel=AMPLITUDE, drop=True)
        shape = shape.transpose("sample", "wavelength")
        norm = 10.0 ** log_norm.mean("wavelength").values
        out = shape.copy(data=shape.values * norm[:, None])
        label = {"units": str(field.attrs.get("units", "")), "long_name": f"mean of {self.low:g} to {self.high:g}"}
        return out.assign_coords(norm=("sample", norm, label))
