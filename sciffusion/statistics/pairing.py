"""Two sets made comparable: the same channels, the same pixels, the same units; or an error that says what differs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import Grid, grid_dims, is_spectrum
from sciffusion.units import conversion

__all__ = ["agreeing", "by_channel", "channel_names"]

_HUBBLE = (0.6, 0.8)
_PIXEL = 0.01
"""Part of a pixel by which wavelengths may differ."""


def by_channel(real: xr.DataArray, generated: xr.DataArray) -> Iterator[tuple[str, xr.DataArray, xr.DataArray]]:
    """Yield the channels of two sets, each as a field of its own with its name and units.

    Parameters
    ----------
    real, generated : DataArray (sample, [channel,] *grid)
        Several channels have the coordinate ``channel`` (names), and ``channel_units`` where their units differ.

    Yields
    ------
    channel : str
        Its name; empty where there is one alone.
    real, generated : DataArray (sample, *grid)

    Raises
    ------
    ValueError
        If the sets have different channels.
    """
    names = [channel_names(field) for field in (real, generated)]
    if sorted(names[0]) != sorted(names[1]):
        told = [f"{len(each)} channels ({', '.join(each)})" if each[1:] else "1 channel" for each in names]
        raise ValueError(f"the real set has {told[0]}, the generated one {told[1]}")
    for name in names[0]:
        ours, theirs = (_one_channel(field, each.index(name)) for field, each in zip((real, generated), names))
        yield name, ours, theirs


def channel_names(field: xr.DataArray) -> list[str]:
    """Return the names of several channels (their numbers, without a coordinate); one alone has an empty one."""
    size = field.sizes.get("channel", 1)
    if size == 1:
        return [""]
    return [str(name) for name in (field["channel"].values if "channel" in field.coords else range(size))]


def _one_channel(field: xr.DataArray, number: int) -> xr.DataArray:
    if "channel" not in field.dims:
        return field
    one = field.isel(channel=number)
    several = field.sizes["channel"] > 1
    labels = {"long_name": str(one["channel"].values)} if several and "channel" in one.coords else {}
    if "channel_units" in one.coords:
        labels["units"] = str(one["channel_units"].values)
    names = [name for name in ("channel", "channel_units") if name in one.coords]
    return one.drop_vars(names).assign_attrs(labels).rename(labels.get("long_name", field.name))


def agreeing(
    real: xr.DataArray, generated: xr.DataArray, second: str = "generated"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two sets on one grid, in one order of dims and in the units of the first, or say what differs.

    Parameters
    ----------
    real, generated : DataArray (sample, *grid)
    second : str
        What messages call the second set.

    Returns
    -------
    real, generated : DataArray (sample, *grid)
        Named by their part in the comparison; the second on the coordinates of the first.

    Raises
    ------
    ValueError
        If dims, sizes, pixels, units (beyond conversion) or the medium or frame of wavelengths differ.
    """
    fields = []
    for name, field in (("real", real), (second, generated)):
        if "sample" not in field.dims:
            raise ValueError(f"the {name} set has the dims {field.dims}; expected 'sample' among them")
        fields.append(field.rename(" ".join([name, str(field.name or "set")])))
    ours, theirs = fields
    if set(grid_dims(ours)) != set(grid_dims(theirs)):
        raise ValueError(f"the real set has the grid dims {grid_dims(ours)}, the {second} one {grid_dims(theirs)}")
    ours = ours.transpose("sample", ...)
    theirs = theirs.transpose(*ours.dims)
    (_same_wavelengths if is_spectrum(ours) else _same_pixels)(ours, theirs, second)
    units = [str(field.attrs.get("units", "")) for field in (ours, theirs)]
    factor = conversion(units[1], units[0])
    if factor != 1.0:
        theirs = (theirs * factor).assign_attrs(theirs.attrs, units=units[0])
    return ours, theirs.assign_coords({dim: ours[dim] for dim in grid_dims(ours)})


def _same_pixels(ours: xr.DataArray, theirs: xr.DataArray, name: str) -> None:
    first, second = Grid.of(ours), Grid.of(theirs)
    if first.sizes != second.sizes:
        raise ValueError(
            f"the real fields have {first.sizes} pixels along {first.dims}, the {name} ones {second.sizes}"
        )
    factor = conversion(second.units, first.units)
    if not np.allclose(np.array(second.spacings) * factor, first.spacings, rtol=1e-3):
        ratio = second.spacings[0] * factor / first.spacings[0]
        hint = next((_h(each) for each in (ratio, 1 / ratio) if _HUBBLE[0] < each < _HUBBLE[1]), "")
        raise ValueError(
            f"the real fields have pixels of {first.spacings} {first.units} along {first.dims}, the "
            f"{name} ones of {second.spacings} {second.units}{hint}"
        )


def _h(ratio: float) -> str:
    return f"; a factor of {ratio:.4g}: are the lengths of one of them without h?"


def _same_wavelengths(ours: xr.DataArray, theirs: xr.DataArray, name: str) -> None:
    """Check every wavelength: the grid may be uneven."""
    first, second = (field["wavelength"] for field in (ours, theirs))
    for key in ("medium", "frame"):
        said = [str(axis.attrs.get(key, "")) for axis in (first, second)]
        if all(said) and said[0] != said[1]:
            raise ValueError(f"the {key} of the wavelengths is {said[0]!r} for real and {said[1]!r} for {name} spectra")
    if first.size != second.size:
        raise ValueError(f"the real spectra have {first.size} pixels, the {name} ones {second.size}")
    factor = conversion(str(second.attrs.get("units", "")), str(first.attrs.get("units", "")))
    gap = np.abs(second.values * factor - first.values)
    if np.any(gap > _PIXEL * np.abs(np.gradient(first.values))):
        worst = int(gap.argmax())
        raise ValueError(
            f"pixel {worst} has the wavelength {first.values[worst]:.8g} in the real spectra and "
            f"{second.values[worst] * factor:.8g} in the {name} ones; bring both onto one grid first"
        )
