"""What is recorded of one galaxy: image, spectrum and the truth about both."""

import numpy as np
from numpy.typing import NDArray

from data_loaders.simulate.galaxy_images import BANDS, Frame, pixel_noise
from data_loaders.simulate.galaxy_priors import Galaxy
from data_loaders.simulate.galaxy_spectra import Light, noise, observed, recorded, visual
from data_loaders.simulate.nebular import LINES, TOTALS

__all__ = ["COLORS", "TRUTH", "record"]

COLORS = ("u_g", "g_r", "r_i", "i_z")
TRUTH = {
    "redshift": ("1", "redshift"),
    "young_fraction": ("1", "part of the formed mass that is younger than 0.1 Gyr, in the fiber"),
    "age": ("Gyr", "mean age by formed mass, in the fiber"),
    "metallicity": ("dex", "log10 of the mean Z by formed mass over 0.02, in the fiber"),
    "A_V": ("mag", "attenuation of starlight at 5500 Angstrom at rest, in the fiber"),
    "velocity_dispersion": ("km/s", "of the stars in the fiber, root mean square of the components by their V light"),
    "bulge_fraction": ("1", "of the total light in r"),
    **{
        name: ("1e-17 erg / (s cm2)", f"flux of {text} in the fiber, after dust")
        for name, text in {
            "Halpha": "H alpha", "Hbeta": "H beta", "OIII_5007": "[O III] 5007", "OII_3727": "[O II] 3727 and 3730",
            "NII_6584": "[N II] 6584", "SII_6717_6731": "[S II] 6717 and 6731",
        }.items()
    },
    **{f"true_{name}": ("mag", f"{name.replace('_', ' - ')} of the fiber spectrum without noise") for name in COLORS},
    "true_fiber_r": ("mag", "r of the fiber spectrum without noise"),
}  # fmt: skip
"""Units and meaning of the scalars of a record."""
_RED = BANDS.index("r")
_FINENESS = 16  # steps of the rounding in one standard deviation, at least
_IVAR_BITS = 7
_COSMIC_RAYS = 2.5  # in a spectrum, on average, each of some pixels


def record(
    galaxy: Galaxy,
    frame: Frame,
    generator: np.random.Generator,
    image_noise: bool = True,
    spectrum_noise: bool = True,
) -> dict[str, NDArray | np.float64]:
    """Return what is recorded of a galaxy.

    Values with noise are rounded to at most a sixteenth of its standard deviation, which compresses them to a third.

    Parameters
    ----------
    galaxy : Galaxy
        What there is.
    frame : Frame
        Pixels of the image.
    generator : numpy.random.Generator
        Of the noise.
    image_noise, spectrum_noise : bool
        Whether there is any, and bad pixels in the spectrum.

    Returns
    -------
    dict of ndarray
        ``image`` (band, y, x) [nanomaggy]; ``flux``, ``flux_true`` [1e-17 erg / (s cm2 Angstrom)], ``ivar`` and
        ``mask`` (wavelength,); and the scalars of `TRUTH`.
    """
    lights = [observed(each, galaxy.redshift) for each in galaxy.components]
    modes = [frame.modes(each.shape) for each in galaxy.components]
    shares = np.array([each.share for each in galaxy.components])
    bands = np.stack([each.bands for each in lights])
    whole = shares * 10 ** (0.4 * (22.5 - galaxy.magnitude)) / (shares @ bands[:, _RED])
    transfer = frame.seeing(galaxy.seeing[_RED])
    within = whole * np.array([frame.aperture(each * transfer) for each in modes])
    image = np.stack([
        frame.image(sum(flux * each for flux, each in zip(whole * bands[:, i], modes)) * frame.seeing(fwhm))
        for i, fwhm in enumerate(galaxy.seeing)
    ])  # fmt: skip
    spectrum = recorded(
        within @ np.stack([light.continuum for light in lights]),
        [(m * light.lines, light.centers, c.gas_dispersion) for m, light, c in zip(within, lights, galaxy.components)],
        galaxy.redshift,
    )
    deviation = pixel_noise(image, frame.pixel_scale)
    if image_noise:
        image = _rounded(generator.normal(image, deviation), deviation)
    return {
        "image": image.astype(np.float32),
        **_exposed(spectrum, generator, spectrum_noise),
        "flux_true": spectrum.astype(np.float32),
        "bulge_fraction": whole[0] * bands[0, _RED] / (whole @ bands[:, _RED]),
        **_truth(galaxy, within, lights),
    }


def _exposed(spectrum: NDArray, generator: np.random.Generator, noisy: bool) -> dict[str, NDArray]:
    deviation = _short_deviation(noise(spectrum))
    bad = np.zeros(len(spectrum), bool)
    if noisy:
        for first in generator.integers(0, len(spectrum), generator.poisson(_COSMIC_RAYS)):
            bad[first : first + generator.integers(1, 5)] = True
        spectrum = _rounded(generator.normal(spectrum, deviation), deviation)
    return {
        "flux": np.where(bad, 0, spectrum).astype(np.float32),
        "ivar": np.where(bad, 0, deviation**-2).astype(np.float32),
        "mask": bad,
    }


def _rounded(values: NDArray, deviation: NDArray) -> NDArray:
    """Values in steps of a power of two."""
    step = 2.0 ** np.floor(np.log2(deviation / _FINENESS))
    return np.rint(values / step) * step


def _short_deviation(deviation: NDArray) -> NDArray:
    """Standard deviations whose inverse squares have a mantissa of a few bits."""
    mantissa, exponent = np.frexp(deviation**-2)
    return np.ldexp(np.rint(mantissa * 2.0**_IVAR_BITS) / 2.0**_IVAR_BITS, exponent) ** -0.5


def _truth(galaxy: Galaxy, masses: NDArray, lights: list[Light]) -> dict[str, np.float64]:
    """What the fiber sees of each component, by mass or by light."""
    part = masses / masses.sum()
    components = galaxy.components
    seen = masses * np.array([visual(light, galaxy.redshift) for light in lights])
    bare = np.array([light.bare for light in lights])
    flux = dict(zip(LINES, masses @ np.stack([light.lines for light in lights])))
    magnitudes = 22.5 - 2.5 * np.log10(masses @ np.stack([light.bands for light in lights]))
    values = {
        "redshift": galaxy.redshift,
        "young_fraction": part @ [each.history.young(0.1) for each in components],
        "age": part @ [each.history.mean_age() for each in components],
        "metallicity": np.log10(part @ [10**each.metallicity for each in components]),
        "A_V": 2.5 * np.log10(seen @ bare / seen.sum()),
        "velocity_dispersion": np.sqrt(seen @ [each.dispersion**2 for each in components] / seen.sum()),
        **{name: sum(flux[line] for line in names) for name, names in TOTALS.items()},
        **{f"true_{name}": magnitudes[i] - magnitudes[i + 1] for i, name in enumerate(COLORS)},
        "true_fiber_r": magnitudes[_RED],
    }
    return {name: np.float64(value) for name, value in values.items()}
