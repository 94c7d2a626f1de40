"""The field ``galaxy_spectra``: the spectrum of a galaxy, given its image in several bands.

Spectra are learnt as shape and amplitude, so that drawn ones have flux in units. The image, in calibrated flux, is a
context; the colors and the magnitude inside the fiber, measured from it, are scalars. The redshift is a coordinate of
real and simulated galaxies; a model may be conditional on it (``--conditions image redshift``), by default it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciffusion.field import Field
from sciffusion.fields.spectra import for_training

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["galaxy_spectra"]

WAVELENGTH = "4000:8496:8"
"""563 pixels, as Doorenbos et al. 2024 (arXiv:2406.18175) have them at low resolution."""


def read(paths: Sequence[str | Path], wavelength: Any = WAVELENGTH, coarse: Any = None, **options: Any) -> xr.Dataset:
    """Return spectra with the images of their galaxies.

    Parameters
    ----------
    paths : sequence of path-like
        Files or folders of `data_loaders.open_image_spectra`; without any, simulated galaxies, which are made at the
        first use.
    wavelength : str or array, optional
        Pixels of the spectra, as `data_loaders.open_field` takes them; None: as the files have them. 563 pixels by
        default; ``"4000:8499:1"`` are 4,500, and ``"log:3891.35:8908.97:1e-4"`` the 3,598 of SDSS (Doorenbos et al.
        2022, arXiv:2211.05556).
    coarse : str or array, optional
        Pixels of a low resolution, which the second model of a cascade is conditional on, such as ``"4000:8496:8"``:
        adds the coordinates ``coarse (sample, wavelength)`` and ``log_norm (sample)`` of
        `data_loaders.spectra.with_coarse`.
    **options
        Of `data_loaders.open_image_spectra`.

    Returns
    -------
    xarray.Dataset
        ``flux (sample, wavelength)``, finite under the coordinate ``mask``, with ``log_error`` [dex], and
        ``image (sample, band, y, x)`` [nanomaggy]; colors, magnitude and redshift along ``sample``.

    Raises
    ------
    data_loaders.DataError
        A file cannot be read, images and spectra have no object in common, or no spectrum has a good pixel.
    """
    from data_loaders import open_image_spectra

    if not paths:
        from data_loaders.simulate import simulated_galaxies

        paths = [simulated_galaxies()]
    ds = for_training(open_image_spectra(paths, wavelength=wavelength, **options))
    if coarse is None:
        return ds
    from data_loaders.spectra import with_coarse

    return with_coarse(ds, coarse)


galaxy_spectra = Field(
    name="galaxy_spectra",
    long_name="spectra of galaxies",
    read=read,
    # No strong line enters this window at redshifts of 0.05 to 0.15; H alpha enters 6900 to 6950, the paper's window.
    transform=("amplitude:5800:6800", "shape=asinh:1", "log_norm=standardize", "standardize:wavelength"),
    symmetries=(),
    conditions=("image", "u_g", "g_r", "r_i", "i_z", "fiber_r"),
    preset=Path(str(files("sciffusion.fields") / "galaxy_spectra.yaml")),
    invariances=("flip", "rotate90"),
)
