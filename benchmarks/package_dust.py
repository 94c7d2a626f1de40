"""Write the packaged dust map: the northern cut-out of SFD as one compressed FITS image.

The cut-out (1634 x 891 pixels of 2.37', b from 11 to 65 deg, diffuse cirrus) is the test file of fastspecfit 3.6.1,
distributed under the BSD-3-Clause licence, which goes into the header. Values are rounded to steps of 2e-6 mag
(largest error 1e-6 mag; the map's own noise is a thousand times that), which halves the file of a lossless compression.

    python benchmarks/package_dust.py SFD_dust_4096_ngp.fits LICENSE.rst [--out data_loaders/data/dust.fits]
"""

import argparse
import hashlib
import textwrap
from pathlib import Path

import numpy as np
from astropy.io import fits

from data_loaders.files import replacing

STEP = 2e-6  # mag
TILE = (64, 891)
SOURCE = "fastspecfit 3.6.1, fastspecfit/test/data/SFD_dust_4096_ngp.fits"
OUT = Path(__file__).parent.parent / "data_loaders" / "data" / "dust.fits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("licence", type=Path, help="text of the licence of the cut-out")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with fits.open(given.map) as hdus:
        values, header = np.array(hdus[0].data), hdus[0].header
    describe(header, given.map, given.licence)
    with replacing(given.out, overwrite=True) as temporary:
        compressed(values, header).writeto(temporary)
    told = compare(values, given.out)
    print(
        f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB ({given.map.stat().st_size / 1e6:.2f} MB before); {told}"
    )


def describe(header: fits.Header, path: Path, licence: Path) -> None:
    """Say in the header where the map comes from and what was done to it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    header["LICENSE"] = ("BSD-3-Clause", "of the cut-out; its text is below")
    header["ROUNDED"] = (STEP, "[mag] step of the values in a tile")
    for line in (
        "Cut-out of the map by D. Schlegel, D. Finkbeiner and M. Davis, from",
        SOURCE,
        f"sha256 {digest}",
        f"Compressed by RICE with steps of {STEP:g} mag: largest error {STEP / 2:g} mag",
        "Please cite Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525",
    ):
        header.add_history(line)
    for paragraph in licence.read_text(encoding="utf-8").split("\n\n"):
        for line in (*textwrap.wrap(" ".join(paragraph.split()), 70), ""):
            header.add_comment(line)


def compressed(values: np.ndarray, header: fits.Header) -> fits.CompImageHDU:
    """Return the map as a tile-compressed image; a negative level is an absolute step."""
    return fits.CompImageHDU(
        values.astype(np.float32),
        header,
        name="DUST",
        compression_type="RICE_1",
        tile_shape=TILE,
        quantize_level=-STEP,
        quantize_method=-1,  # no dithering: the same values in every reader
    )


def compare(values: np.ndarray, path: Path) -> str:
    error = np.abs(fits.getdata(path, 1) - values)
    return f"largest error {error.max():.2e} mag, {(error / values).max():.1e} of the value"


if __name__ == "__main__":
    main()
