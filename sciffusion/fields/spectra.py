"""Spectra: the field ``stellar_spectra``, stars and brown dwarfs in the near infrared, and ``spectra``, a user's own.

Noise is part of what is learnt, and known: the error of each pixel is the map condition ``log_error``, so that clean
spectra, or some of given noise, can be asked for. Bad pixels are interpolated, marked for the network by the
coordinate ``mask`` and left out of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciffusion.field import Field

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["for_training", "spectra", "stellar_spectra"]

# Pixels of masks, and of whole spectra, that are kept in memory.
_SMALL, _HELD = 2**28, 2**26


def read(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return spectra for training from files of any reader of spectra.

    Parameters
    ----------
    paths : sequence of path-like
        Files of `data_loaders.open_field`.
    **options
        Of `data_loaders.open_field`, the preparation of spectra included: ``wavelength``, ``frame``, ``medium``,
        ``normalize``, ``mask_bits``.

    Returns
    -------
    xarray.DataArray
        ``(sample, wavelength)``, finite under the coordinate ``mask``; with the coordinate ``log_error`` [dex] where
        the file knows the errors. Spectra without a good pixel are left out; the attribute ``left_out`` counts them.

    Raises
    ------
    data_loaders.DataError
        A file cannot be read, or no spectrum has a good pixel.
    ValueError
        No file is given.
    """
    from data_loaders import main_variable, open_field

    if not paths:
        raise ValueError("the field 'spectra' has no data of its own; give --data FILES")
    return main_variable(for_training(open_field(list(paths) if len(paths) > 1 else paths[0], **options)))


def read_stellar(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return spectra with their errors from `paths`, or the packaged SpeX prism spectra if there are none."""
    from data_loaders import packaged_data

    return read(paths or [packaged_data("stellar_spectra")], **options)


def for_training(ds: xr.Dataset) -> xr.Dataset:
    """Return the spectra of `ds` to be learnt from: finite, with the coordinate ``log_error`` if errors are known.

    Raises
    ------
    data_loaders.DataError
        `ds` does not hold spectra, or none with a good pixel.
    """
    from data_loaders import DataError, main_variable
    from data_loaders.spectra import filled, held, usable, with_log_error

    where = ds.encoding.get("source", "spectra")
    if main_variable(ds).dims != ("sample", "wavelength"):
        raise DataError(where, f"spectra have dims (sample, wavelength), found {main_variable(ds).dims}")
    # Asked for again and again, and computed each time.
    if main_variable(ds).size <= _HELD:
        ds = held(ds)
    elif "mask" in ds.coords and ds["mask"].size <= _SMALL:
        ds["mask"].variable.load()
    kept = usable(ds)
    if not kept.any():
        raise DataError(where, f"none of {len(kept)} spectra has a good pixel; see mask_bits, wavelength and normalize")
    ds = filled(ds.isel(sample=kept.nonzero()[0]))
    known = "ivar" in ds.variables
    ds = with_log_error(ds) if known else ds
    field = main_variable(ds)
    # True of what a model draws as well: its noise is that of the log_error it was given.
    field = field.assign_attrs(noise="in each pixel of its log_error" if known else "as observed, of unknown error")
    lost = len(kept) - int(kept.sum())
    if lost:
        field = field.assign_attrs(left_out=f"{lost} of {len(kept)} spectra without a good pixel")
    return ds.assign({str(field.name): field})


stellar_spectra = Field(
    name="stellar_spectra",
    long_name="near-infrared spectra of stars and brown dwarfs",
    read=read_stellar,
    transform=("asinh:1", "standardize:wavelength"),
    symmetries=(),
    conditions=("J_H", "H_K", "log_error"),
    preset=Path(str(files("sciffusion.fields") / "stellar_spectra.yaml")),
    diagnostics=("colors",),
)

spectra = Field(
    name="spectra",
    long_name="spectra",
    read=read,
    transform=("asinh", "standardize:wavelength"),
    symmetries=(),
    conditions=(),
    preset=Path(str(files("sciffusion.fields") / "spectra.yaml")),
)
