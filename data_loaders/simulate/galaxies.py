"""Galaxies with an image, a spectrum and the truth about both, as one labelled dataset.

Each is a bulge and a disc (`galaxy_priors`) whose starlight and gas (`populations`, `nebular`) a fiber records
(`galaxy_spectra`) and a camera maps in five bands (`galaxy_images`). A galaxy depends on the seed and on its number
alone, so that a larger set begins with a smaller one.
"""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Galaxies", "collect", "galaxies"]

SIMULATION = 2
"""Counts the versions of the simulation: galaxies of the same settings differ between versions."""
BLOCK = 100  # galaxies in a piece
_REDSHIFTS = (0.02, 0.17)  # for which the populations reach over all bands


@dataclass(frozen=True)
class Galaxies:
    """Which galaxies a set holds, and how they are observed.

    Parameters
    ----------
    num : int
        Galaxies.
    test : int
        How many of them, the first ones, are marked ``split = "test"``.
    validation : int
        How many that follow are marked ``"validation"``; the rest is ``"train"``. With neither the split is left open.
    size : int
        Pixels along a side of an image, even.
    pixel_scale : float
        Side of a pixel [arcsec].
    redshift : tuple of float
        Smallest and largest, within 0.02 and 0.17.
    seed : int
        Seed of everything.
    image_noise : bool
        Whether images have noise.
    spectrum_noise : bool
        Whether spectra have noise and bad pixels; ``ivar`` is that of the noise in any case.
    noise_free : bool
        Keep the spectra without noise, too, as ``flux_true``.

    Raises
    ------
    ValueError
        If a number makes no sense.

    Examples
    --------
    >>> ds = galaxies(Galaxies(num=2, seed=3))
    >>> ds["flux"].shape, ds["image"].shape, bool((ds["redshift"] > 0.05).all())
    ((2, 3598), (2, 5, 32, 32), True)
    """

    num: int = 14000
    test: int = 0
    validation: int = 0
    size: int = 32
    pixel_scale: float = 0.792
    redshift: tuple[float, float] = (0.05, 0.15)
    seed: int = 0
    image_noise: bool = True
    spectrum_noise: bool = True
    noise_free: bool = False

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"num = {self.num} counts galaxies: give at least 1")
        if min(self.test, self.validation) < 0 or self.test + self.validation > self.num:
            raise ValueError(
                f"test = {self.test} and validation = {self.validation} are of the {self.num} galaxies: "
                "give no negative number, and no more than there are"
            )
        if self.size < 2 or self.size % 2:
            raise ValueError(f"size must be an even number of pixels, not {self.size}")
        if not 3 / self.size <= self.pixel_scale <= 2:
            raise ValueError(
                f"pixel_scale must be at most 2 arcsec, and the image as wide as the fiber of 3 arcsec: "
                f"not {self.pixel_scale} with {self.size} pixels"
            )
        low, high = self.redshift
        if not _REDSHIFTS[0] <= low < high <= _REDSHIFTS[1]:
            raise ValueError(f"redshift = {low}:{high}: give a range within {_REDSHIFTS[0]} and {_REDSHIFTS[1]}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}")

    def to_json(self) -> str:
        """Return all settings as text; two sets are equal if their texts agree."""
        return json.dumps({"simulation": SIMULATION, **asdict(self)}, sort_keys=True)

    @property
    def piece(self) -> str:
        """What is made at a time, in the plural."""
        return f"blocks of {BLOCK} galaxies"

    def names(self) -> list[str]:
        """Return the name of the file of every block of galaxies."""
        return [f"galaxies_{first:07d}.npz" for first in range(0, self.num, BLOCK)]

    def make(self, number: int, path: Path, workers: int) -> None:
        """Write a block of galaxies; it takes one thread."""
        numbers = range(number * BLOCK, min((number + 1) * BLOCK, self.num))
        np.savez(path, **_stacked([self.observe(i) for i in numbers]))  # pyright: ignore[reportArgumentType]

    def observe(self, number: int) -> dict[str, NDArray | np.float64]:
        """Return what is recorded of a galaxy, by its number: see `galaxy_record.record`."""
        # Imported where it is needed: the flags of the command alone need neither this nor xarray.
        from data_loaders.simulate.galaxy_images import Frame
        from data_loaders.simulate.galaxy_priors import draw
        from data_loaders.simulate.galaxy_record import record

        generator = np.random.default_rng([self.seed, number])
        galaxy = draw(generator, self.redshift)
        frame = Frame(self.size, self.pixel_scale)
        recorded = record(galaxy, frame, generator, self.image_noise, self.spectrum_noise)
        return recorded if self.noise_free else {name: recorded[name] for name in recorded if name != "flux_true"}

    def split(self) -> np.ndarray:
        """Return to which part of the set each galaxy belongs."""
        rest = self.num - self.test - self.validation
        if rest == self.num:
            return np.full(self.num, "")
        return np.repeat(["test", "validation", "train"], [self.test, self.validation, rest])


def galaxies(settings: Galaxies) -> "xr.Dataset":
    """Return the galaxies of a small set at once, made in this process.

    Parameters
    ----------
    settings : Galaxies
        The set.

    Returns
    -------
    xarray.Dataset
        As of `collect`.
    """
    return _labelled(settings, _stacked([settings.observe(i) for i in range(settings.num)]), "")


def collect(settings: Galaxies, folder: Path, command: str) -> "xr.Dataset":
    """Join the finished pieces of a folder to one labelled dataset.

    Parameters
    ----------
    settings : Galaxies
        The set that `run` has finished there.
    folder : pathlib.Path
        The folder.
    command : str
        The command that made the set, for the record.

    Returns
    -------
    xarray.Dataset
        ``flux (sample, wavelength)`` with ``ivar`` and ``mask``, ``image (sample, band, y, x)``, and as coordinates
        of the samples colors and magnitude in the fiber as measured from the image, the truth, and ``split``.

    Raises
    ------
    FileNotFoundError
        If a piece is missing.
    """
    blocks = [np.load(folder / name) for name in settings.names()]
    try:
        return _labelled(settings, {key: np.concatenate([each[key] for each in blocks]) for key in blocks[0]}, command)
    finally:
        for each in blocks:
            each.close()


def _stacked(records: list[dict[str, NDArray | np.float64]]) -> dict[str, np.ndarray]:
    return {name: np.stack([each[name] for each in records]) for name in records[0]}


def _labelled(settings: Galaxies, values: dict[str, np.ndarray], command: str) -> "xr.Dataset":
    import xarray as xr

    from data_loaders.simulate.galaxy_images import BANDS
    from data_loaders.simulate.galaxy_record import TRUTH
    from data_loaders.simulate.galaxy_spectra import LOG_WAVELENGTH
    from data_loaders.spectra import spectra_dataset
    from data_loaders.spectra.photometry import with_aperture_colors
    from data_loaders.survey import FLUX_UNITS

    number = np.arange(settings.num)
    objects = {
        name: (values[name], {"units": units, "long_name": text}) for name, (units, text) in TRUTH.items()
    } | {
        "object_id": (number, {"long_name": "number of the galaxy"}),
        "group": (number, {"long_name": "number of the galaxy"}),
        "split": (settings.split(), {"long_name": "part of the set; empty: free"}),
    }  # fmt: skip
    ds = spectra_dataset(
        values["flux"],
        10**LOG_WAVELENGTH,
        units=FLUX_UNITS,
        ivar=values["ivar"],
        mask=values["mask"],
        objects=objects,
        attrs=_provenance(settings, command),
    )
    offset = (np.arange(settings.size) - (settings.size - 1) / 2) * settings.pixel_scale / 3600
    axis = {"units": "deg", "boundary": "reflect", "long_name": "offset from the center"}
    ds = ds.assign_coords(
        band=("band", list(BANDS), {"long_name": "SDSS band"}), y=("y", offset, axis), x=("x", offset, axis)
    )
    attrs = {"units": "nanomaggy", "long_name": "flux in a pixel"}
    ds["image"] = xr.Variable(("sample", "band", "y", "x"), values["image"], attrs)
    if settings.noise_free:
        attrs = {"units": FLUX_UNITS, "long_name": "flux without noise"}
        ds["flux_true"] = xr.Variable(("sample", "wavelength"), values["flux_true"], attrs)
    return with_aperture_colors(ds)


def _provenance(settings: Galaxies, command: str) -> dict[str, str]:
    return {
        "source": "simulated galaxies of sciffusion: bulge and disc, observed as by SDSS",
        "citation": "Bruzual & Charlot 2003, MNRAS 344, 1000 (stars); docs/galaxies.md lists the relations",
        "settings": settings.to_json(),
        "command": command,
        "version": f"sciffusion {version('sciffusion')}, numpy {version('numpy')}, simulation {SIMULATION}",
    }
