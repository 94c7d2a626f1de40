"""Which pixels of a spectrum are bad, by the bits of a survey's mask, and what stands in their place.

Bits are counted from 0. SPPIXMASK is that of SDSS and BOSS (0-15 speak of the fiber, 16-31 of the pixel);
DESI and LAMOST have their own for the pixels of a spectrum.
"""

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["MASK_BITS", "bad_pixels", "fill"]

MASK_BITS = {
    "sdss": {
        "NOPLUG": 0, "BADTRACE": 1, "BADFLAT": 2, "BADARC": 3, "MANYBADCOLUMNS": 4, "MANYREJECTED": 5,
        "LARGESHIFT": 6, "BADSKYFIBER": 7, "NEARWHOPPER": 8, "WHOPPER": 9, "SMEARIMAGE": 10, "SMEARHIGHSN": 11,
        "SMEARMEDSN": 12, "NEARBADPIXEL": 16, "LOWFLAT": 17, "FULLREJECT": 18, "PARTIALREJECT": 19,
        "SCATTEREDLIGHT": 20, "CROSSTALK": 21, "NOSKY": 22, "BRIGHTSKY": 23, "NODATA": 24, "COMBINEREJ": 25,
        "BADFLUXFACTOR": 26, "BADSKYCHI": 27, "REDMONSTER": 28,
    },
    "desi": {
        "SOMEBADPIX": 0, "ALLBADPIX": 1, "COSMIC": 2, "LOWFLAT": 3, "BADFIBERFLAT": 4, "BRIGHTSKY": 5, "BADSKY": 6,
        "BAD2DFIT": 7, "NODATA": 8, "BADFIBER": 9, "BADCOLUMN": 10,
    },
    "lamost": {"BADCCD": 0, "BADPROFILE": 1, "NOSKY": 2, "BRIGHTSKY": 3, "BADCENTER": 4, "NODATA": 5},
}  # fmt: skip
# SDSS: the bits of pixels that say that nothing was measured or the sky dominates (those of a whole fiber are set for
# spectra that are well measured). DESI's own redshift fits drop a pixel with any bit.
_DEFAULT = {
    "sdss": "FULLREJECT NOSKY BRIGHTSKY NODATA COMBINEREJ BADFLUXFACTOR BADSKYCHI REDMONSTER",
    "desi": -1,
    "lamost": -1,
}


def bad_pixels(bits: np.ndarray, wanted: str | int | Sequence[str] | None = None, table: str = "sdss") -> np.ndarray:
    """Return where any of the `wanted` bits of a mask is set.

    Parameters
    ----------
    bits : ndarray of int
        The mask of a survey.
    wanted : str, int or sequence of str, optional
        Names (``"BRIGHTSKY NODATA"``), or the integer whose bits count (-1: any bit, 0: none; text of digits is an
        integer). By default for SDSS FULLREJECT, NOSKY, BRIGHTSKY, NODATA, COMBINEREJ, BADFLUXFACTOR, BADSKYCHI and
        REDMONSTER; for the others any bit.
    table : {"sdss", "desi", "lamost"}
        Whose names.

    Returns
    -------
    ndarray of bool
        Like `bits`, True where a pixel is bad.

    Raises
    ------
    ValueError
        A name is not in the table, or `bits` are no integers.

    Examples
    --------
    >>> bad_pixels(np.array([0, 2**23, 2**24, 2**19]), "BRIGHTSKY NODATA").tolist()
    [False, True, True, False]
    """
    if table not in MASK_BITS:
        raise ValueError(f"no table of mask bits {table!r}; there are {', '.join(MASK_BITS)}")
    bits = np.asarray(bits)
    if bits.dtype.kind not in "iub":
        raise ValueError(f"expected a mask of integers, found dtype {bits.dtype}")
    # Through int64 a set sign bit of int32 stays set, and -1 asks for every bit.
    return (bits.astype(np.int64) & _as_integer(_DEFAULT[table] if wanted is None else wanted, table)) != 0


def _as_integer(wanted: str | int | Sequence[str], table: str) -> int:
    if isinstance(wanted, int | np.integer):
        return int(wanted)
    names = re.split(r"[\s,|]+", wanted.strip()) if isinstance(wanted, str) else list(wanted)
    if len(names) == 1 and re.fullmatch(r"-?\d+", names[0]):
        return int(names[0])
    known = MASK_BITS[table]
    unknown = [name for name in names if name.upper() not in known]
    if unknown:
        raise ValueError(f"mask_bits: {table} has no bit {', '.join(unknown)}; it has {', '.join(known)}")
    return sum({1 << known[name.upper()] for name in names})


def fill(flux: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return `flux` with bad pixels interpolated linearly between the good ones beside them.

    At the ends the nearest good pixel goes on; a spectrum without any good pixel becomes 0.

    Parameters
    ----------
    flux : ndarray (..., wavelength)
    mask : ndarray of bool (..., wavelength)
        True where a pixel is bad; pixels that are not finite count as bad.

    Returns
    -------
    ndarray (..., wavelength)
        Finite everywhere.

    Examples
    --------
    >>> fill(np.array([[1.0, np.nan, 3.0, 9.0]]), np.array([[False, True, False, True]])).tolist()
    [[1.0, 2.0, 3.0, 3.0]]
    """
    filled = np.array(flux)
    good = ~np.asarray(mask, bool) & np.isfinite(filled)
    pixels = np.arange(filled.shape[-1])
    for index in np.argwhere(~good.all(axis=-1)):
        row, here = filled[tuple(index)], good[tuple(index)]
        row[~here] = np.interp(pixels[~here], pixels[here], row[here]) if here.any() else 0
    return filled
