"""Open and write labelled fields, whatever the format: reader or writer, labels, checks, joining."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from tqdm.auto import tqdm

from data_loaders.errors import DataError
from data_loaders.files import refuse_existing
from data_loaders.fits_file import check_fits
from data_loaders.guard import guarded, naming
from data_loaders.hdf5_types import check_types
from data_loaders.join import join
from data_loaders.labels import Labels, complete
from data_loaders.layout import as_dataset, check_layout, same_axis
from data_loaders.objects import group_objects
from data_loaders.registry import Reader, find_reader, find_writer, writers
from data_loaders.selection import select_samples

# Keywords of `data_loaders.spectra.prepare`.
SPECTRAL = ("wavelength", "frame", "medium", "normalize")


def open_field(
    path_or_paths: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    reader: str | None = None,
    dataset: str | None = None,
    samples: slice | Sequence[int] | None = None,
    group: int | Sequence[int] | None = None,
    select: Mapping[str, Any] | None = None,
    dims: str | Sequence[str] | None = None,
    box_size: Any = None,
    units: str | None = None,
    boundary: str | Sequence[str] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Open one or several files of fields as a labelled dataset; values are read when they are indexed.

    Parameters
    ----------
    path_or_paths : path-like or sequence of path-like
        Several files of one kind are joined along `sample`; the numbers of their groups are made disjoint, unless
        they stand for the same simulations. Files of different fields of the same samples become channels.
    reader : str, optional
        Name of the reader, instead of the one that knows the content; `readers` lists them.
    dataset : str, optional
        Which array of a file that holds several (HDF5, NetCDF, Zarr, FITS, npz).
    samples : slice or sequence of int, optional
        Which samples, of all files together and of those that `group` and `select` leave.
    group : int or sequence of int, optional
        Samples of these simulations or objects alone: numbers in the coordinate `group` of all files together.
    select : mapping, optional
        Samples by what is known of each: ``{"Omega_m": (0.2, 0.3), "suite": ["TNG", "SIMBA"]}``; bounds are
        included, None is an open end.
    dims : str or sequence of str, optional
        Names of the axes of a bare array, such as ``"sample z y x"``: needed for four axes. Without ``sample`` the
        array is one sample.
    box_size : float, str or a sequence of these, optional
        Length of the grid axes of a bare array [Mpc/h], or with a unit, such as ``"1000 Angstrom"``.
    units : str, optional
        Units of the values of a bare array.
    boundary : str or sequence of str, optional
        ``periodic``, ``reflect`` or ``zero``, for all grid axes of a bare array or for each.
    **options
        Of the reader, such as ``params`` (CAMELS) or ``mask_bits`` (surveys); and for spectra those of
        `data_loaders.spectra.prepare`: ``wavelength``, ``frame``, ``medium``, ``normalize``.

    Returns
    -------
    xarray.Dataset
        In the labelled layout of ``docs/data_format.md``; `main_variable` gives the field.

    Raises
    ------
    DataError
        A file cannot be read, lacks labels, or does not fit the others; the message names it.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "maps.npy"
    >>> np.save(path, np.ones((3, 8, 8), np.float32))
    >>> ds = open_field(path, box_size=25.0, units="(Msun/h)/(Mpc/h)^2", boundary="periodic")
    >>> dict(ds.sizes), float(ds.x[0])
    ({'sample': 3, 'y': 8, 'x': 8}, 1.5625)
    """
    given = {key: value for key, value in {"dataset": dataset, **options}.items() if value is not None}
    labels = Labels(dims, box_size, units, boundary)
    paths = _paths(path_or_paths)
    opened: list[xr.Dataset] = []
    labelled: list[xr.Dataset] = []
    for path in tqdm(paths, "open", delay=2, disable=len(paths) < 100, leave=False):
        with naming(path):
            labelled.append(_prepared(path, reader, given, labels, opened))
    ds = group_objects(join(_aligned(labelled, paths), paths))
    ds = select_samples(ds, paths[0] if len(paths) == 1 else f"{paths[0]}, ...", group, select, samples)
    ds.set_close(partial(_close, opened))
    return ds


def _close(opened: Sequence[xr.Dataset]) -> None:
    for ds in opened:
        ds.close()


def _prepared(
    path: Path, name: str | None, options: Mapping[str, Any], labels: Labels, opened: list[xr.Dataset]
) -> xr.Dataset:
    """One file as labelled fields; what has to be closed is added to `opened`."""
    if not path.exists():
        raise DataError(path, "no such file")
    _check_damage(path)
    chosen = find_reader(path, name)
    spectral = {key: value for key, value in options.items() if key in SPECTRAL and key not in chosen.options}
    mine = {key: value for key, value in options.items() if key not in spectral}
    _refuse_unknown(path, chosen, mine)
    ds = chosen.read(path, **mine)
    opened.append(ds)
    ds = guarded(ds, path)
    ds.encoding["source"] = str(path)
    ds = complete(ds, labels, path)
    if spectral:
        ds = _spectra_prepared(ds, path, spectral)
    check_layout(ds, path)
    return ds


def _check_damage(path: Path) -> None:
    """Raise a `DataError` for damage that would crash or delude the library of a format."""
    if path.is_file():
        check_types(path)
        check_fits(path)


def _refuse_unknown(path: Path, chosen: Reader, options: Mapping[str, Any]) -> None:
    unknown = [key for key in options if key not in chosen.options]
    if unknown:
        takes = ", ".join(chosen.options) or "none"
        told = f"reader {chosen.name!r} takes no option {', '.join(unknown)}; it takes: {takes}"
        raise DataError(path, f"{told}; spectra also take: {', '.join(SPECTRAL)}")


def _spectra_prepared(ds: xr.Dataset, path: Path, options: Mapping[str, Any]) -> xr.Dataset:
    if "wavelength" not in ds.dims:
        told = f"{', '.join(options)} prepare spectra, and this field has dims {tuple(map(str, ds.sizes))}"
        raise DataError(path, f"{told}; leave them out, or name its axes with dims='sample wavelength'")
    from data_loaders.spectra import prepare

    return prepare(ds, **options)


def _aligned(datasets: list[xr.Dataset], paths: list[Path]) -> list[xr.Dataset]:
    """Spectra on one axis, if they are not already."""
    axes = [ds["wavelength"] for ds in datasets if "wavelength" in ds.dims]
    if len(axes) < len(datasets) or all(same_axis(axis, axes[0]) for axis in axes[1:]):
        return datasets
    from data_loaders.spectra import align

    return list(align(datasets, paths))


def _paths(path_or_paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    single = isinstance(path_or_paths, str | os.PathLike)
    paths = [Path(path) for path in ([path_or_paths] if single else path_or_paths)]  # type: ignore[list-item]
    if not paths:
        raise DataError("open_field", "expected at least one path, found none")
    seen: dict[Path, Path] = {}
    for path in paths:
        if path.resolve() in seen:
            raise DataError(path, "is given twice; its samples would count double")
        seen[path.resolve()] = path
    return paths


def write_field(
    field: xr.Dataset | xr.DataArray,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    packing: str | None = None,
) -> None:
    """Write labelled fields; the suffix chooses the format, and `open_field` gives the same dataset back.

    Parameters
    ----------
    field : xarray.Dataset or xarray.DataArray
        In the labelled layout: dims ``(sample, [channel,] *grid)``, units, coordinates with units and
        boundary.
    path : path-like
        ``.h5``, ``.hdf5``, ``.nc`` (NetCDF-4), ``.zarr`` (a folder), ``.fits``, or ``.npy`` (labels in
        ``<name>.npy.json``).
    overwrite : bool
        Replace an existing file.
    packing : {None, "log10"}
        ``.h5`` and ``.nc``: store a positive field as uint16 of its log10, to R / 131070 dex for R decades.

    Raises
    ------
    DataError
        The field lacks labels, the suffix or the packing is unknown, or values to be packed are not positive.
    FileExistsError
        The file exists and `overwrite` is false.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, xarray as xr
    >>> x = xr.DataArray([0.5, 1.5], dims="x", attrs={"units": "Mpc/h", "boundary": "periodic"})
    >>> field = xr.DataArray(np.ones((3, 2)), dims=("sample", "x"), coords={"x": x}, name="T")
    >>> field.attrs["units"] = "K"
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "temperature.h5"
    >>> write_field(field, path)
    >>> open_field(path)["T"].attrs["units"]
    'K'
    """
    target = Path(path)
    check_target(target, overwrite, packing)
    options = {} if packing is None else {"packing": packing}
    find_writer(target).write(as_dataset(field, target), target, overwrite, **options)


def check_target(path: str | os.PathLike, overwrite: bool = False, packing: str | None = None) -> None:
    """Raise what `write_field` would raise for this path, before a long computation; parameters as there.

    Raises
    ------
    DataError
        No format has this suffix, or the format knows no packing.
    FileExistsError
        The file exists and `overwrite` is false.
    IsADirectoryError
        The path is a folder.
    PermissionError
        Its folder cannot be written to, or cannot be made.

    Examples
    --------
    >>> check_target("fields.h5", packing="log10")
    >>> check_target("fields.txt")
    Traceback (most recent call last):
    ...
    data_loaders.errors.DataError: fields.txt: no format has the suffix '.txt'; known: .fits, .h5, ...
    """
    target = Path(path)
    chosen = find_writer(target)
    if packing is not None and "packing" not in chosen.options:
        packed = [suffix for suffix, format_ in sorted(writers().items()) if "packing" in format_.options]
        raise DataError(target, f"{target.suffix} knows no packing; write {' or '.join(packed)}")
    refuse_existing(target, overwrite, chosen.folder)
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PermissionError(f"{target}: {folder} is no folder that can be written to; give another name")
