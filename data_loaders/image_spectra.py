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
from tqdm.auto import tqdm

from data_loaders.access import open_field
from data_loaders.cutouts import Form, binned, cut_out
from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.multimodal import KINDS
from data_loaders.pairing import grouped, pair
from data_loaders.probe import hdf5_items
from data_loaders.registry import find_reader, readers
from data_loaders.selection import select_samples
from data_loaders.spectra.photometry import color_names, pixel_side, with_aperture_colors

__all__ = ["open_image_spectra"]

# Readers of files of both, by what they call images and spectra.
_BOTH = {
    "galaxy_pairs": ("images", "spectra"),
    "astroclip": ("images", "spectra"),
    "multimodal_universe": ("image", "spectrum"),
}
# What is known to be one of them without being opened: there may be a million files of these.
_KNOWN = {"sdss_stamps": "images", "galaxy_cube": "images", "sdss_spec": "spectra", "sdss_plate": "spectra"}
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
    chosen = {key: options.pop(key, None) for key in ("group", "select", "samples")}
    if options.keys() & {"dataset", "reader"}:
        raise DataError(str(paths), "dataset= and reader= name one array, here it takes two; leave them out")
    form = {"size": size, "pixel_scale": pixel_scale, "bands": bands}
    form = {key: value for key, value in form.items() if value is not None}
    found = _sorted_out(paths)
    images, spectra = _opened(found, options)
    where = images.encoding.get("source", "images")
    wanted = _form_of(images, form, where) if "whole" in found else Form(**form)
    if "whole" in found:
        ds = _recut(images, wanted, where) if form else images
    else:
        default = _WITHIN_MULTIMODAL if _of_multimodal(found) else _WITHIN
        ds = _paired(images, spectra, wanted, default if within is None else within, "both" in found)
    # Colors are those of the pixels of the file: coarser ones take light across the rim of the fiber.
    ds = _chosen(ds, where, **chosen)
    if ds.sizes["x"] > wanted.size:
        ds = binned(ds, wanted.size)
    ds.set_close(partial(_close, (images, spectra)))
    return ds


def _close(parts: Sequence[xr.Dataset]) -> None:
    for part in parts:
        part.close()


def _sorted_out(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> dict[str, list[Path]]:
    """Files by what they hold: ``{"whole"}``, ``{"both"}`` or ``{"images", "spectra"}``."""
    found: dict[str, list[Path]] = {}
    files = _files(paths)
    for path in tqdm(files, "look", delay=2, disable=len(files) < 100, leave=False):
        found.setdefault(_kind(path), []).append(path)
    if set(found) not in ({"whole"}, {"both"}, {"images", "spectra"}):
        words = {"whole": "the labelled layout", "both": "images with spectra"}
        told = [f"{len(files)} of {words.get(kind, kind)} ({files[0].name}, ...)" for kind, files in found.items()]
        expected = "expected files of images with spectra, of one kind, or files of images and files of spectra"
        raise DataError(next(iter(found.values()))[0], f"{expected}; found {', '.join(told)}")
    names = {find_reader(path).name for path in found.get("both", ())}
    if len(names) > 1:
        raise DataError(found["both"][0], f"expected files of one kind, found {', '.join(sorted(names))}")
    return found


def _files(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """Files that are given, and those in folders that are no file of some format themselves."""
    listed = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    files: list[Path] = []
    for path in listed:
        if not path.exists():
            raise DataError(path, "no such file")
        files += [path] if path.is_file() else _inside(path)
    return list(dict.fromkeys(files))


def _inside(folder: Path) -> list[Path]:
    matching = {name for name, each in readers().items() if each.matches(folder, b"")}
    if "sdss_stamps" in matching:
        return [folder, *sorted(folder.glob("spec-*.fits*"))]
    if matching:
        return [folder]
    files = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    if not files:
        raise DataError(folder, "the folder holds no files; expected images or spectra")
    return files


def _kind(path: Path) -> str:
    """What a file holds: images, spectra, both by names of its own, or both as the labelled layout has it (whole)."""
    name = find_reader(path).name
    if name == "multimodal_universe":
        there = [kind for kind, array in KINDS.items() if array in hdf5_items(path)]
        return "both" if len(there) > 1 else {"image": "images", "spectrum": "spectra"}[there[0]]
    if name in _BOTH or name in _KNOWN:
        return _KNOWN.get(name, "both")
    with open_field(path) as ds:
        field = main_variable(ds)
        if field.dims == ("sample", "wavelength"):
            return "whole" if "image" in ds.data_vars else "spectra"
        if field.dims == ("sample", "channel", "y", "x"):
            return "images"
    expected = "images (sample, channel, y, x) or spectra (sample, wavelength)"
    raise DataError(path, f"expected {expected}, found {field.dims}")


def _opened(found: Mapping[str, list[Path]], options: Mapping[str, Any]) -> tuple[xr.Dataset, xr.Dataset]:
    """Images and spectra: the same dataset where it is whole."""
    if "whole" in found:
        whole = open_field(found["whole"], **options)
        return whole, whole
    if "both" in found:
        images, spectra = _BOTH[find_reader(found["both"][0]).name]
        return open_field(found["both"], dataset=images), open_field(found["both"], dataset=spectra, **options)
    return open_field(found["images"]), open_field(found["spectra"], **options)


def _of_multimodal(found: Mapping[str, list[Path]]) -> bool:
    return any(find_reader(files[0]).name == "multimodal_universe" for files in found.values())


def _form_of(ds: xr.Dataset, form: Mapping[str, Any], where: object) -> Form:
    """What is asked for of a labelled set; by default its own field of view and bands."""
    n, side = ds.sizes["x"], pixel_side(ds, where)
    size = form.get("size", round(n * side / form["pixel_scale"]) if "pixel_scale" in form else n)
    return Form(**{"pixel_scale": n * side / size, "bands": ds["band"].values.tolist(), **form, "size": size})


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


def _chosen(ds: xr.Dataset, where: object, group: Any, select: Any, samples: Any) -> xr.Dataset:
    """The wanted samples with their colors, which are measured of no more images than need be."""
    known = {name: value for name, value in (select or {}).items() if name in ds.coords}
    late = {name: value for name, value in (select or {}).items() if name not in ds.coords}
    ds = select_samples(ds, where, group, known, None if late else samples)
    if not set(color_names(ds["band"].values.tolist())) <= set(ds.coords):
        ds = with_aperture_colors(ds)
    return select_samples(ds, where, None, late, samples) if late else ds
