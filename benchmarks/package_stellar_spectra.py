"""What the packaged `stellar_spectra` are: SpeX prism spectra of the SPLAT library, rounded far below their noise.

``python benchmarks/package_stellar_spectra.py splat_spex_prism_512.npz`` writes
``data_loaders/data/stellar_spectra.h5``. The npz holds 2,305 spectra of splat 1.14 (MIT; wheel with the sha256
398a1ab79c4d25466032c3aad777cc6d1d171dc7ebf17da609296e4dc4ee9d4b) on 512 pixels even in the logarithm of the
wavelength, divided by their median at 1.2-1.3 micron, with the rows of its tables.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_loaders import open_field, write_field
from data_loaders.spectra import spectra_dataset
from data_loaders.spex import numeric_type

OUT = Path(__file__).parents[1] / "data_loaders" / "data" / "stellar_spectra.h5"
FINENESS = 8  # steps of the rounding in one standard error, at least
IVAR_BITS = 4  # of the mantissa: 1.6 % of the error, rms below 1 %
ATTRS = {
    "source": "SpeX prism spectra of splat 1.14 (data of the SpeX Prism Library), resampled to 512 pixels even in the "
    "logarithm of the wavelength and divided by their median at 1.2-1.3 micron; photometry of 2MASS",
    "citation": "Burgasser 2014, ASInC 11, 7 (SpeX Prism Library); Burgasser & the SPLAT Development Team 2017, ASInC "
    "14, 7 (SPLAT); Skrutskie et al. 2006, AJ 131, 1163 (2MASS); for each spectrum the paper in the coordinate bibcode",
    "licence": "MIT (splat)",
    "medium_note": "SpeX is calibrated on vacuum wavelengths by Spextool; air would be a seventh of a pixel away",
}


def known_error(flux, err):
    """Where the error is one: finite, positive, and not in another unit than the flux (above it everywhere)."""
    usable = np.isfinite(err) & (err > 0)
    return usable & ~np.all(~usable | (err > np.abs(flux)), axis=1, keepdims=True)


def no_flux(wavelength, flux):
    """Which rows hold their wavelengths in place of a flux, as three files of two apertures do in the npz."""
    return np.ptp(flux / wavelength, axis=1) < 1e-5


def rounded(flux, err):
    """Flux in steps of a power of two, at most `err` over FINENESS."""
    step = 2.0 ** np.floor(np.log2(err / FINENESS))
    return (np.rint(flux / step) * step).astype(np.float32)


def short(values, bits):
    """Values with a mantissa of so many bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent).astype(np.float32)


def photometry(jhk, jhk_err):
    """2MASS magnitudes, their errors, and colors; an upper limit (no error) or one number for all bands gives none."""
    columns = {}
    for i, band in enumerate(("J", "H", "Ks")):
        columns[band] = (jhk[:, i], {"units": "mag", "long_name": f"2MASS {band}"})
        columns[f"{band}_err"] = (jhk_err[:, i], {"units": "mag", "long_name": f"error of 2MASS {band}; NaN: a limit"})
    copied = np.all(jhk == jhk[:, :1], axis=1, keepdims=True)
    measured = np.where(np.isfinite(jhk_err) & ~copied, jhk, np.nan).astype(np.float64)
    for name, i in (("J_H", 0), ("H_K", 1)):
        color = np.round(measured[:, i] - measured[:, i + 1], 4).astype(np.float32)
        columns[name] = (color, {"units": "mag", "long_name": ("2MASS J - H", "2MASS H - Ks")[i]})
    return columns


def groups(source, flux):
    """Number of the object; objects that share a spectrum bit for bit, as ten pairs of files do, get one number.

    One of the two labels is wrong then, nobody here can tell which, and a split must not part them.
    """
    n = len(source)
    number = np.unique(source, return_inverse=True)[1]
    same = np.unique(flux, axis=0, return_inverse=True)[1].ravel()
    # A graph of the spectra, their objects and the distinct fluxes: its components are what belongs together.
    ends = np.concatenate([n + number, n + number.max() + 1 + same])
    graph = coo_array((np.ones(2 * n), (np.tile(np.arange(n), 2), ends)), shape=(ends.max() + 1, ends.max() + 1))
    component = connected_components(graph, directed=False)[1][:n]
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return source[first][inverse]


def objects(table):
    source = table["source"].astype(np.int64)
    ra, dec = table["ra_dec"].T
    types = np.array([numeric_type(text) for text in table["spt"]], np.float32)
    told = "numeric spectral type: F0 -20, G0 -10, K0 0, M0 10, L0 20, T0 30, one a subtype"
    return {
        **photometry(table["jhk"], table["jhk_err"]),
        "spectral_type": (table["spt"], {"long_name": "spectral type as published"}),
        "spt": (types, {"long_name": told}),
        "object_type": table["otype"],
        "quality": (table["quality"], {"long_name": "OK, POOR or BG (background)"}),
        "snr": (table["snr"], {"long_name": "median signal-to-noise ratio as published"}),
        "name": table["name"],
        "bibcode": table["bibcode"],
        "file": (table["filename"], {"long_name": "file in splat"}),
        "ra": (ra, {"units": "deg"}),
        "dec": (dec, {"units": "deg"}),
        "object_id": (source, {"long_name": "number of the object in splat"}),
        "group": (
            groups(source, table["flux"]),
            {"long_name": "object; repeated spectra share it, and objects with the same spectrum bit for bit"},
        ),
        "split": np.full(len(source), ""),
    }


def main():
    with np.load(sys.argv[1], allow_pickle=False) as stored:
        table = {key: stored[key] for key in stored}
    flux, err = table["flux"].astype(np.float64), table["err"].astype(np.float64)
    lost = no_flux(table["wave_um"], flux)
    flux[lost] = 0
    good = known_error(flux, err) & ~lost[:, None]
    typical = np.nanmedian(np.where(good, err, np.nan))
    scale = np.where(good, err, typical)
    new = rounded(flux, scale)
    ivar = np.where(good, short(1 / scale**2, IVAR_BITS), 0).astype(np.float32)
    # The npz has float32 micron; its 512 pixels are even in the logarithm to that precision.
    wavelength = np.geomspace(8500.0, 24000.0, flux.shape[1])
    assert np.allclose(wavelength, table["wave_um"] * 1e4, rtol=3e-7)
    noise = (new - flux)[good] / err[good]
    attrs = {
        **ATTRS,
        "rounding_noise": f"flux is rounded by {np.sqrt(np.mean(noise**2)):.4f} of its error (rms), at most "
        f"{np.abs(noise).max():.4f}; ivar by at most {np.abs(ivar[good] * err[good] ** 2 - 1).max():.3f} of itself",
        "mask_note": f"{int((~good.any(axis=1)).sum())} spectra are masked as a whole: their error is unknown or in "
        f"another unit, {int(lost.sum())} of them have no flux",
    }
    ds = spectra_dataset(new, wavelength, units="", ivar=ivar, mask=~good, objects=objects(table), attrs=attrs)
    ds.flux.attrs["long_name"] = "flux density over its median at 1.2-1.3 micron"
    write_field(ds, OUT, overwrite=True)
    report(open_field(OUT), flux, good)


def report(ds, flux, good):
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.2f} MB, {dict(ds.sizes)}")
    print(f"objects {len(np.unique(ds.group))}, bad pixels {1 - good.mean():.4f}, spectra without a known error "
          f"{int((~good.any(axis=1)).sum())}")  # fmt: skip
    print(ds.attrs["rounding_noise"])
    for name in ("J_H", "H_K", "spt"):
        values = ds[name].values
        print(f"{name}: {np.isfinite(values).sum()} known, {np.nanmin(values):.2f} to {np.nanmax(values):.2f}")
    print(f"largest change of a flux: {np.abs(ds.flux.values - flux).max():.2e}")


if __name__ == "__main__":
    main()
