"""Which filter curves the package brings: 2MASS J, H, Ks and SDSS ugriz of speclite, as one small ECSV table.

``python benchmarks/package_filters.py`` (speclite installed) writes ``data_loaders/data/filters.ecsv``.
"""

from pathlib import Path

import numpy as np
import speclite
from astropy.table import Table

FILTERS = {
    **{f"2mass-{band}": f"twomass-{band}" for band in ("J", "H", "Ks")},
    **{f"sdss-{band}": f"sdss2010-{band}" for band in "ugriz"},
}
# Cohen, Wheaton & Megeath 2003, Table 2: F_lambda of zero magnitude [W / (cm2 micron)], and its error.
ZERO = {"2mass-J": (3.129e-13, 5.464e-15), "2mass-H": (1.133e-13, 2.212e-15), "2mass-Ks": (4.283e-14, 8.053e-16)}
OUT = Path(__file__).parents[1] / "data_loaders" / "data" / "filters.ecsv"


def main():
    names, wavelengths, responses = [], [], []
    for name, original in FILTERS.items():
        source = Path(speclite.__file__).parent / "data" / "filters" / f"{original}.ecsv"
        curve = Table.read(source, format="ascii.ecsv")
        names += [name] * len(curve)
        wavelengths += curve["wavelength"].tolist()
        # speclite's 2MASS curves are those of Cohen et al. over the wavelength: per photon, of no particular scale.
        responses += [float(f"{value:.6g}") for value in curve["response"] / curve["response"].max()]
    table = Table({"filter": names, "wavelength": np.array(wavelengths), "response": np.array(responses)})
    table["wavelength"].unit = "Angstrom"
    table.meta = {
        "description": "response to photons (not to energy) over its peak, through the atmosphere",
        "source": f"speclite {speclite.__version__}",
        "licence": "BSD-3-Clause",
        "citation": "2MASS: Cohen, Wheaton & Megeath 2003, AJ 126, 1090; SDSS (airmass 1.3): Doi+ 2010, AJ 139, 1628",
        "vega_zero_points": {
            name: {"flux": float(f"{flux * 1e3:.4g}"), "error": float(f"{error * 1e3:.4g}")}
            for name, (flux, error) in ZERO.items()
        },
        "vega_zero_points_units": "erg / (s cm2 Angstrom)",
    }
    table.write(OUT, format="ascii.ecsv", overwrite=True)
    print(f"{OUT.name}: {len(FILTERS)} curves, {len(table)} rows, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
