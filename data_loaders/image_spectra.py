"""Images of galaxies and their spectra, from the files in which they are published, as one labelled dataset.

A file may hold both, row by row; otherwise images and spectra come from files of their own and are paired by what both
say of the object.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.access import open_field
from data_loaders.cutouts import Form, binned, cut_out
from data_loaders.errors import DataError
from data_loaders.images import BOTH, chosen, files_by_kind, form_of, refuse_mixture
from data_loaders.layout import main_variable
from data_loaders.pairing import grouped, pair
from data_loaders.registry import find_reader

__all__ = ["open_image_spectra"]

_WITHIN = 1.5  # arcsec: the fiber of SDSS
_WITHIN_MULTIMODAL = 1.0  # arcsec: as its surveys are matched
_CREDITS = ("source", "citation", "licence")


def open_image_spectra(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    size: int | None = None,
    pixel_scale: float | None = None,
    bands: str | Sequence[str] | None = None,
    within: float | None = None,
    **options: Any,
) -> xr.Dataset:
    """Open images of galaxies with their spectra as one labelled dataset; values are read when they are indexed.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files that hold both (the labelled layout with ``flux`` and ``image``, AstroCLIP, Multimodal Universe, a folder
        of ``images/ spectra/ indices/``); or files of images (``sdss.npz``, stamps, Multimodal Universe) and files of
        spectra, or folders of these.
    size : int, optional
        Pixels of a side of the images: the middle is cut out and whole pixels are summed. 32 by default; a labelled
        file is left as it is unless `size`, `pixel_scale` or `bands` is given.
    pixel_scale : float, optional
        Side of these pixels [arcsec]; by default the image is 25.344 arcsec wide, 64 pixels of SDSS.
    bands : str or sequence of str, optional
        Which bands in which order, ``"ugriz"`` by default; one that the survey lacks is NaN.
    within : float, optional
        How far apart positions of one object may be [arcsec]: 1.5, for the Multimodal Universe 1.
    **options
        ``wavelength``, ``frame``, ``medium``, ``normalize``, ``select``, ``group``, ``samples`` and those of the reader
        of the spectra, as of `open_field`. `select` knows what both files say of an object, and its colors.

    Returns
    -------
    xarray.Dataset
        ``flux (sample, wavelength)``, the main variable, as `open_field` gives it; ``image (sample, band, y, x)``
        [nanomaggy], NaN where nothing is known; the colors of the image within the fiber and ``fiber_r`` [mag], for
        which every image is read once, in the pixels of the file; ``group``, one for all spectra of an object. The
        attribute ``left_out`` counts images and spectra without a partner.

    Raises
    ------
    DataError
        The files hold no images or no spectra, none belong together, or the images cannot be brought to this form.

    Examples
    --------
    >>> import tempfile, pathlib, h5py
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "astroclip.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["0/spectra"] = np.ones((2, 50, 1), np.float32)
    ...     file["0/images"] = np.ones((2, 152, 152, 3), np.float32)
    ...     file["0/redshifts"], file["0/targetids"] = [0.1, 0.2], [7, 8]
    >>> ds = open_image_spectra(path)
    >>> dict(ds.image.sizes), ds.band.values.tolist(), ds.g_r.values
    ({'sample': 2, 'band': 5, 'y': 32, 'x': 32}, ['u', 'g', 'r', 'i', 'z'], array([0., 0.]))
    """
    options = {key: value for key, value in options.items() if value is not None}
    wanted = {key: options.pop(key, None) for key in ("group", "select", "samples")}
    if options.keys() & {"dataset", "reader"}:
        raise DataError(str(paths), "dataset= and reader= name one array, here it takes two; leave them out")
    form = {"size": size, "pixel_scale": pixel_scale, "bands": bands}
    form = {key: value for key, value in form.items() if value is not None}
    found = files_by_kind(paths)
    refuse_mixture(found)
    images, spectra = _opened(found, options)
    where = images.encoding.get("source", "images")
    shape = form_of(images, form, where) if "whole" in found else Form(**form)
    if "whole" in found:
        ds = _recut(images, shape, where) if form else images
    else:
        default = _WITHIN_MULTIMODAL if _of_multimodal(found) else _WITHIN
        ds = _paired(images, spectra, shape, default if within is None else within, "both" in found)
    # Colors are those of the pixels of the file: coarser ones take light across the rim of the fiber.
    ds = chosen(ds, where, **wanted)
    if ds.sizes["x"] > shape.size:
        ds = binned(ds, shape.size)
    ds.set_close(partial(_close, (images, spectra)))
    return ds


def _close(parts: Sequence[xr.Dataset]) -> None:
    for part in parts:
        part.close()


def _opened(found: Mapping[str, list[Path]], options: Mapping[str, Any]) -> tuple[xr.Dataset, xr.Dataset]:
    """Images and spectra: the same dataset where it is whole."""
    if "whole" in found:
        whole = open_field(found["whole"], **options)
        return whole, whole
    if "both" in found:
        images, spectra = BOTH[find_reader(found["both"][0]).name]
        return open_field(found["both"], dataset=images), open_field(found["both"], dataset=spectra, **options)
    return open_field(found["images"]), open_field(found["spectra"], **options)


def _of_multimodal(found: Mapping[str, list[Path]]) -> bool:
    return any(find_reader(files[0]).name == "multimodal_universe" for files in found.values())


def _recut(ds: xr.Dataset, form: Form, where: object) -> xr.Dataset:
    cut = cut_out(ds, form, where, zero_filled=False)
    return _together(cut, ds.drop_dims(["band", "y", "x"]))


def _paired(images: xr.Dataset, spectra: xr.Dataset, form: Form, within: float, by_row: bool) -> xr.Dataset:
    """Images and spectra of the same objects, row by row in one file or found by what is said of them."""
    sizes = {"images": images.sizes["sample"], "spectra": spectra.sizes["sample"]}
    mine, theirs = (np.arange(sizes["images"]),) * 2 if by_row else pair(images, spectra, within)
    where = images.encoding.get("source", "images")
    images = images.rename({str(main_variable(images).name): "image"})
    cut = cut_out(images.isel(sample=mine), form, where)
    ds = grouped(_together(cut, spectra.isel(sample=theirs)), mine, within)
    ds.attrs["left_out"] = {
        "images": sizes["images"] - len(np.unique(mine)),
        "spectra": sizes["spectra"] - len(theirs),
    }
    return ds


def _together(images: xr.Dataset, spectra: xr.Dataset) -> xr.Dataset:
    """One dataset of both; what both say of a sample is that of the spectrum."""
    more = {name: c.variable for name, c in images.coords.items() if name not in spectra.coords}
    ds = spectra.assign_coords(more).assign(image=images["image"].variable)
    credits = {}
    for key in _CREDITS:
        texts = [str(part.attrs[key]) for part in (spectra, images) if key in part.attrs]
        credits |= {key: "; ".join(dict.fromkeys(texts))} if texts else {}
    ds.attrs = {**images.attrs, **spectra.attrs, **credits}
    ds.encoding = dict(spectra.encoding)
    return ds
