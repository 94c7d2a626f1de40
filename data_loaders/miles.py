"""Optical spectra of stars with known atmospheres: the MILES library, 985 stars, 3540-7410 Angstrom at 2.5 Angstrom.

A folder holds one FITS file a star, ``m0001V.fits`` or with a prefix (``MILES_res2.50_star_m0001V.fits``), and a table
of parameters: ``paramsMILES_v9.1.txt`` of the library, in columns of fixed width, or ``MILES_params.db``, four numbers
a row. An npz of the same (``wave_A``, ``flux``, ``ids``, ``params_text``) is read too. Wavelengths are those of air, at
rest; the flux is relative; its errors are not published.

References
----------
Sánchez-Blázquez et al. 2006, MNRAS 371, 703 (library); Cenarro et al. 2007, MNRAS 374, 664 (parameters);
Falcón-Barroso et al. 2011, A&A 532, A95 (resolution).
"""

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.guard import naming
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra import spectra_dataset
from data_loaders.survey import opened, part

ATTRS = {
    "source": "MILES stellar library",
    "citation": "Sánchez-Blázquez et al. 2006, MNRAS 371, 703; Falcón-Barroso et al. 2011, A&A 532, A95; parameters "
    "Cenarro et al. 2007, MNRAS 374, 664",
    "licence": "freely available; acknowledge MILES",
    "resolution": "2.5 Angstrom (FWHM)",
}
PARAMETERS = ("paramsMILES_v9.1.txt", "MILES_params.db")
_STAR = re.compile(r"(?:^|_)[ms](\d{4})V?\.fits(?:\.gz)?$", re.IGNORECASE)
_MEMBERS = {"wave_A.npy", "flux.npy", "ids.npy", "params_text.npy"}
# Of the library's table: where a column starts and ends.
_COLUMNS = {"teff": slice(51, 57), "logg": slice(57, 64), "feh": slice(64, 74)}
_NUMBER, _NAME, _TYPE = slice(22, 28), slice(0, 18), slice(36, 51)
_LABELS = {
    "teff": {"units": "K", "long_name": "effective temperature"},
    "logg": {"units": "dex", "long_name": "log10 of surface gravity [cm/s2]"},
    "feh": {"units": "dex", "long_name": "[Fe/H]"},
}
_UNKNOWN = {"teff": 99999, "logg": 9999, "feh": 9999}


@dataclass(frozen=True)
class Star:
    """One row of the table of parameters; NaN where a parameter is not known."""

    teff: float = np.nan
    logg: float = np.nan
    feh: float = np.nan
    name: str = ""
    spectral_type: str = ""


def _is_miles(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any(map(_is_star, _files(path)[:1]))
    if _STAR.search(path.name) and head.startswith((b"SIMPLE", b"\x1f\x8b")):
        return _is_star(path)
    return head.startswith(b"PK") and _is_archive(path)


def _is_star(path: Path) -> bool:
    """Whether a file that is named like a star holds one row of pixels that begins in the blue [Angstrom]."""
    hdus = fits_hdus(path) if path.is_file() else ()
    if not hdus or not hdus[0].shape or max(hdus[0].shape) != math.prod(hdus[0].shape):
        return False
    first = hdus[0].header.get("CRVAL1")
    return isinstance(first, int | float) and 3000 < first < 4000


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= _MEMBERS
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


@reader("miles", _is_miles, refines=("fits", "npz"))
def read_miles(path: Path, params: str | None = None) -> xr.Dataset:
    """Stars of a folder, of one file of it, or of an npz, with `teff`, `logg` and `feh`.

    Parameters
    ----------
    path : Path
        Folder or file.
    params : str, optional
        Table of parameters, where it is not beside the spectra; without any they are NaN.
    """
    if path.suffix == ".npz":
        return _archive(path, params)
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(path, "expected spectra named m0001V.fits, ..., found none")
    numbers = [_number(file.name) for file in files]
    wavelength = _wavelength(files[0])
    folder = path if path.is_dir() else path.parent
    beside = [folder / name for name in PARAMETERS if (folder / name).is_file()]
    table = Path(params) if params is not None else beside[0] if beside else None
    stars = {} if table is None else _table(table, _text(table))
    flux = lazy_variable(
        ("sample", "wavelength"), _Stars(tuple(files), len(wavelength), wavelength[0], _step(wavelength))
    )
    return _dataset(flux, wavelength, numbers, stars)


def _dataset(flux: xr.Variable | np.ndarray, wavelength: np.ndarray, numbers: list[int], stars: dict[int, Star]):
    known = [stars.get(number, Star()) for number in numbers]
    objects = {key: (np.array([getattr(star, key) for star in known]), labels) for key, labels in _LABELS.items()}
    texts = {key: np.array([getattr(star, key) for star in known], str) for key in ("name", "spectral_type")}
    identity = np.array(numbers, np.int64)
    objects |= texts | {"object_id": identity, "group": identity}
    return spectra_dataset(flux, wavelength, units="", medium="air", frame="rest", objects=objects, attrs=ATTRS)


def _archive(path: Path, params: str | None) -> xr.Dataset:
    with naming(path), np.load(path, allow_pickle=False) as stored:
        flux, wavelength, ids = (stored[key] for key in ("flux", "wave_A", "ids"))
        text = str(stored["params_text"]) if params is None else _text(Path(params))
    if flux.shape != (len(ids), len(wavelength)):
        told = f"flux of shape {flux.shape} does not fit {len(ids)} ids and {len(wavelength)} wavelengths"
        raise DataError(path, f"{told}; the file is damaged: copy it anew")
    numbers = [_number(f"{name}.fits", path) for name in ids.tolist()]
    return _dataset(flux, wavelength, numbers, _table(Path(params or path), text))


def _files(folder: Path) -> list[Path]:
    return sorted((file for file in folder.iterdir() if _STAR.search(file.name)), key=lambda file: _number(file.name))


def _number(name: str, where: Path | None = None) -> int:
    found = _STAR.search(name)
    if found is None:
        raise DataError(where or name, f"{name!r}: expected the number of a star of MILES, as in m0001V")
    return int(found[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"expected a table of the parameters of MILES: {error}") from error


def _table(path: Path, text: str) -> dict[int, Star]:
    """Return the stars of a table by their number; a row without a number of four digits belongs to no spectrum."""
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if rows and rows[0].startswith("Name"):
        cells = [
            (row[_NUMBER], *(row[column] for column in _COLUMNS.values()), row[_NAME], row[_TYPE]) for row in rows[3:]
        ]
    else:
        cells = [(*row.split()[:4], "", "") for row in rows]
    stars = {}
    for row in cells:
        number, *values, name, kind = (cell.strip() for cell in row)
        if re.fullmatch(r"\d{4}", number):
            parameters = _parameters(path, number, values)
            stars[int(number)] = Star(*parameters, name=name, spectral_type=kind)
    if not stars:
        raise DataError(path, f"expected a table of the parameters of MILES ({' or '.join(PARAMETERS)}), found no star")
    return stars


def _parameters(path: Path, number: str, texts: list[str]) -> list[float]:
    try:
        values = [np.nan if text == "--" else float(text) for text in texts]
    except ValueError as error:
        raise DataError(path, f"star {number}: expected three numbers or --, found {texts}") from error
    if len(values) != len(_COLUMNS):
        raise DataError(path, f"star {number}: expected {', '.join(_COLUMNS)}, found {texts}; the table is cut off")
    return [np.nan if value == _UNKNOWN[key] else value for key, value in zip(_COLUMNS, values)]


def _wavelength(path: Path) -> np.ndarray:
    """Return the wavelengths of a file, in steps of equal length."""
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        header, shape = primary.header, tuple(primary.shape)
        start, step = header.get("CRVAL1"), header.get("CDELT1", header.get("CD1_1"))
        first = header.get("CRPIX1", 1)
    length = int(np.prod(shape)) if shape else 0
    if length < 2 or length != max(shape) or start is None or not step or step <= 0:
        raise DataError(path, f"expected a row of pixels with CRVAL1 and CDELT1, found shape {shape}, {start}, {step}")
    return float(start) + float(step) * (np.arange(length) + 1 - float(first))


def _step(wavelength: np.ndarray) -> float:
    return float(wavelength[1] - wavelength[0])


@dataclass(frozen=True)
class _Stars(RowSource):
    """One file a star, each checked to have the grid of the first when it is read."""

    files: tuple[Path, ...]
    npix: int
    start: float
    step: float
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (len(self.files), self.npix)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.array([self._row(self.files[number]) for number in numbers])

    def _row(self, path: Path) -> np.ndarray:
        grid = _wavelength(path)
        if len(grid) != self.npix or abs(grid[0] - self.start) > 0.01 * self.step:
            told = f"{len(grid)} pixels from {grid[0]:g} Angstrom, the first file has {self.npix} from {self.start:g}"
            raise DataError(path, f"{told}; move it out of the folder")
        with opened(path) as hdus:
            flux = np.ravel(np.asarray(hdus[0].data, np.float32))
        if not np.isfinite(flux).all():
            raise DataError(path, f"{(~np.isfinite(flux)).sum()} values are not finite; copy it anew")
        return flux
