"""Images of galaxies from the files in which they are published, as one labelled dataset; and which files hold them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from tqdm.auto import tqdm

from data_loaders.access import open_field
from data_loaders.cutouts import Form, binned, cut_out
from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.multimodal import KINDS
from data_loaders.probe import hdf5_items
from data_loaders.registry import find_reader, readers
from data_loaders.selection import select_samples
from data_loaders.spectra.photometry import color_names, pixel_side, with_aperture_colors

__all__ = ["BOTH", "chosen", "files_by_kind", "form_of", "hold_images_alone", "open_images", "refuse_mixture"]

BOTH = {
    "galaxy_pairs": ("images", "spectra"),
    "astroclip": ("images", "spectra"),
    "multimodal_universe": ("image", "spectrum"),
}
"""Readers of files of both, by what they call images and spectra."""
# What is known to be one of them without being opened: there may be a million files of these.
_KNOWN = {"sdss_stamps": "images", "galaxy_cube": "images", "sdss_spec": "spectra", "sdss_plate": "spectra"}

Paths = str | os.PathLike | Sequence[str | os.PathLike]


def open_images(
    paths: Paths,
    *,
    size: int | None = None,
    pixel_scale: float | None = None,
    bands: str | Sequence[str] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Open images of galaxies as one labelled dataset, with their colors; pixels are read when they are indexed.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files of images (``sdss.npz``, stamps, Multimodal Universe), or of images with spectra, which are left out, of
        one kind; or folders of these.
    size, pixel_scale, bands : optional
        What the images shall look like, as `open_image_spectra` takes it.
    **options
        ``select``, ``group``, ``samples`` and those of the reader, as of `open_field`. `select` knows the colors, too.

    Returns
    -------
    xarray.Dataset
        ``image (sample, band, y, x)`` [nanomaggy], the main variable, NaN where nothing is known; the colors within the
        fiber and ``fiber_r`` [mag], for which every image is read once, and what the files say of each object.

    Raises
    ------
    DataError
        The files hold no images, or not of one kind, or these cannot be brought to this form.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "sdss.npz"
    >>> labels = np.array([(17, 0.1)], dtype=[("specobjid", "i8"), ("z", "f4")])
    >>> np.savez(path, cube=np.ones((1, 64, 64, 5), np.float32), labels=labels)
    >>> ds = open_images(path)
    >>> dict(ds.image.sizes), ds.g_r.values
    ({'sample': 1, 'band': 5, 'y': 32, 'x': 32}, array([0.]))
    """
    wanted = {key: options.pop(key, None) for key in ("group", "select", "samples")}
    form = {"size": size, "pixel_scale": pixel_scale, "bands": bands}
    form = {key: value for key, value in form.items() if value is not None}
    found = files_by_kind(paths)
    kind, files = next(iter(found.items()))
    if len(found) > 1 or kind == "spectra":
        raise DataError(files[0], f"expected files of images, of one kind; found {_told(found)}")
    array = {"dataset": BOTH[find_reader(files[0]).name][0]} if kind == "both" else {}
    images = open_field(files, **array, **options)
    where = images.encoding.get("source", "images")
    if kind == "whole":
        ds, shape = images.drop_dims("wavelength"), form_of(images, form, where)
        ds = cut_out(ds, shape, where, zero_filled=False) if form else ds
    else:
        shape = Form(**form)
        ds = cut_out(images.rename({str(main_variable(images).name): "image"}), shape, where)
    ds.encoding = dict(images.encoding)
    ds = chosen(ds, where, **wanted)
    ds = binned(ds, shape.size) if ds.sizes["x"] > shape.size else ds
    ds.set_close(images.close)
    return ds.assign_attrs(field="image")


def hold_images_alone(paths: Paths) -> bool:
    """Say whether all files are known to hold images, without spectra.

    Not so of files that are no files of galaxies at all: who opens them next says what they are.
    """
    try:
        return set(files_by_kind(paths)) == {"images"}
    except DataError:
        return False


def files_by_kind(paths: Paths) -> dict[str, list[Path]]:
    """Return files by what they hold.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files, and folders that are searched for them where they are no file of some format themselves.

    Returns
    -------
    dict of str to list of Path
        ``images``, ``spectra``, ``both`` (by names of their own) or ``whole`` (both in the labelled layout).

    Raises
    ------
    DataError
        A file is not there, of no known format, or holds none of these.
    """
    found: dict[str, list[Path]] = {}
    files = _files(paths)
    if not files:
        raise DataError("images", "expected at least one path, found none")
    for path in tqdm(files, "look", delay=2, disable=len(files) < 100, leave=False):
        found.setdefault(_kind(path), []).append(path)
    names = {find_reader(path).name for path in found.get("both", ())}
    if len(names) > 1:
        raise DataError(found["both"][0], f"expected files of one kind, found {', '.join(sorted(names))}")
    return found


def refuse_mixture(found: Mapping[str, list[Path]]) -> None:
    """Raise a `DataError` unless files by kind are images with spectra."""
    if set(found) not in ({"whole"}, {"both"}, {"images", "spectra"}):
        expected = "expected files of images with spectra, of one kind, or files of images and files of spectra"
        raise DataError(next(iter(found.values()))[0], f"{expected}; found {_told(found)}")


def form_of(ds: xr.Dataset, form: Mapping[str, Any], where: object) -> Form:
    """Return what is asked for of a labelled set; by default its own field of view and bands."""
    n, side = ds.sizes["x"], pixel_side(ds, where)
    size = form.get("size", round(n * side / form["pixel_scale"]) if "pixel_scale" in form else n)
    return Form(**{"pixel_scale": n * side / size, "bands": ds["band"].values.tolist(), **form, "size": size})


def chosen(ds: xr.Dataset, where: object, group: Any, select: Any, samples: Any) -> xr.Dataset:
    """Return the wanted samples with their colors, which are measured of no more images than need be."""
    known = {name: value for name, value in (select or {}).items() if name in ds.coords}
    late = {name: value for name, value in (select or {}).items() if name not in ds.coords}
    ds = select_samples(ds, where, group, known, None if late else samples)
    if not set(color_names(ds["band"].values.tolist())) <= set(ds.coords):
        ds = with_aperture_colors(ds)
    return select_samples(ds, where, None, late, samples) if late else ds


def _told(found: Mapping[str, list[Path]]) -> str:
    words = {"whole": "the labelled layout", "both": "images with spectra"}
    return ", ".join(f"{len(files)} of {words.get(kind, kind)} ({files[0].name}, ...)" for kind, files in found.items())


def _files(paths: Paths) -> list[Path]:
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
    if name in BOTH or name in _KNOWN:
        return _KNOWN.get(name, "both")
    with open_field(path) as ds:
        field = main_variable(ds)
        if field.dims == ("sample", "wavelength"):
            return "whole" if "image" in ds.data_vars else "spectra"
        if field.dims == ("sample", "channel", "y", "x"):
            return "images"
    expected = "images (sample, channel, y, x) or spectra (sample, wavelength)"
    raise DataError(path, f"expected {expected}, found {field.dims}")
