"""Files that the fuzz test damages: one or more for every reader, written here in the published layouts, or real."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fuzz_made as made
import makers_fields as fields
import makers_spectra as spectra
import numpy as np
import xarray as xr
from astropy.io import fits

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}
REAL = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Seed:
    """A file, or a folder of files, to be damaged.

    `make` writes it into a folder and returns what is to be opened. `array` reads its main array by the library of its
    format, without this package. `spread` is how many values of the field one number of the file makes; none: any.
    `exact`: the file has checksums of "all" that it says, or of its "arrays": they are the original, or it is refused.
    """

    name: str
    reader: str
    make: Callable[[Path], Path]
    options: dict[str, Any] = field(default_factory=dict)
    array: Callable[[Path], np.ndarray] | None = None
    spread: int | None = 1
    exact: str = ""
    needs: str = "numpy"

    @property
    def real(self) -> bool:
        """Whether it is made of a real file."""
        return self.name.startswith("real ")


def _copied(name: str, *beside: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for each in (name, *beside):
            shutil.copyfile(REAL / each, folder / Path(each).name)
        return folder / Path(name).name

    return make


def _real_dust(folder: Path) -> Path:
    """A piece of the dust map, and the cards that say where it is."""
    with fits.open(REAL / "dust/SFD_dust_4096_ngp.fits", memmap=False) as hdus:
        header, values = hdus[0].header.copy(), hdus[0].data[400:528, 400:528]
    header["CRPIX1"] -= 400
    header["CRPIX2"] -= 400
    fits.PrimaryHDU(values, header).writeto(folder / "dust.fits")
    return folder / "dust.fits"


def _real_archive(name: str, rows: int = 8) -> Callable[[Path], Path]:
    """The first rows of all arrays of an archive that have as many as its identifiers."""

    def make(folder: Path) -> Path:
        with np.load(REAL / name, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        n = len(arrays["flux"])
        cut = {key: values[:rows] if values.shape[:1] == (n,) else values for key, values in arrays.items()}
        np.savez(folder / Path(name).name, **cut)
        return folder / Path(name).name

    return make


def _real_stamps(folder: Path) -> Path:
    (folder / "stamps").mkdir()
    names = [f"stamp-{band}-253.1147-11.6072.fits" for band in "gr"] + ["cat-253.1147-11.6072.fits"]
    for name in names:
        shutil.copyfile(REAL / "spectra/sdss_stamps" / name, folder / "stamps" / name)
    return folder / "stamps"


_ANY = {"spread": None}
_HEALPIX = {"spread": None, "needs": "astropy_healpix"}
_SKY = {"size": 8, "coordsys": "G", "units": ""}
_DESI = ("coadd-4-80613-thru20210324.fits", "redrock-4-80613-thru20210324.fits")
MADE = (
    Seed("hdf5", "hdf5", made.written("ours.h5"), exact="arrays"),
    Seed("hdf5 packed", "hdf5", made.written("ours.nc", packing="log10"), exact="arrays"),
    Seed("hdf5_array gzip", "hdf5_array", lambda f: made.hdf5(f, compression=4), BARE, made.read_hdf5),
    Seed("hdf5_array plain", "hdf5_array", made.hdf5, {**BARE, "coords": ["redshift", "name"]}, made.read_hdf5),
    Seed("hdf5_array checked", "hdf5_array", lambda f: made.hdf5(f, fletcher32=True), BARE, made.read_hdf5),
    Seed("netcdf 4", "netcdf", lambda f: made.netcdf(f, engine="h5netcdf")),
    Seed("netcdf classic", "netcdf", lambda f: made.netcdf(f, engine="scipy", format="NETCDF3_64BIT")),
    Seed("npy bare", "npy", made.npy, BARE, lambda path: np.load(path, allow_pickle=False)),
    Seed("npy labelled", "npy", made.written("ours.npy"), {}, lambda path: np.load(path, allow_pickle=False)),
    Seed("npz stored", "npz", made.npz(np.savez), BARE, made.read_npz),
    Seed("npz compressed", "npz", made.npz(np.savez_compressed), BARE, made.read_npz),
    Seed("zarr", "zarr", made.written("ours.zarr"), exact="arrays", needs="zarr"),
    Seed("zarr other", "zarr", made.zarr, needs="zarr"),
    Seed("well", "well", made.well, {"dataset": "density"}),
    Seed("well vectors", "well", made.well, {"dataset": "velocity"}),
    Seed("fits", "fits", made.written("ours.fits"), exact="all"),
    Seed("fits image", "fits", made.image, BARE, made.read_image),
    Seed("fits sky", "fits", made.sky, {}, made.read_image),
    Seed("fits scaled", "fits", lambda f: made.image(f, ">i2", BSCALE=0.5, BZERO=10.0, BLANK=-1), BARE),
    Seed("fits checksum", "fits", lambda f: made.image(f, checksum=True), BARE, made.read_image, exact="all"),
    Seed("fits tiled", "fits", made.tiled, BARE, lambda path: made.read_image(path, 1), spread=None),
    Seed("fits table", "fits", made.table, BARE),
    Seed("fits table gz", "fits", made.gzipped(made.table), BARE),
    Seed("camels", "camels", made.camels, {}, lambda path: np.load(path, allow_pickle=False)),
    Seed("quijote", "quijote", made.quijote),
    Seed("snapshot", "snapshot", made.snapshot, {"grid": 8, "project": "xz"}, **_ANY),
    Seed("snapshot gas", "snapshot", made.snapshot, {"grid": 8, "particles": 0}, **_ANY),
    Seed("sfd", "sfd", made.sfd, {"size": 8}, **_ANY),
    Seed("sfd tiled", "sfd", lambda f: made.sfd(f, True), {"size": 8}, **_ANY),
    Seed("healpix", "healpix", made.healpix, {"size": 8}, **_HEALPIX),
    Seed("healpix columns", "healpix", lambda f: made.healpix(f, 1), {"size": 4}, **_HEALPIX),
    Seed("sdss_spec", "sdss_spec", made.named("spec-1.fits", spectra.write_spec)),
    Seed("sdss_spec upper", "sdss_spec", made.named("spec-2.fits", spectra.write_spec, upper=True)),
    Seed("sdss_plate", "sdss_plate", made.named("spPlate-1.fits", spectra.write_plate)),
    Seed("desi", "desi", made.desi),
    Seed("desi gz tiled", "desi", lambda f: made.desi(f, "coadd-x.fits.gz", True), spread=None),
    Seed("lamost", "lamost", made.named("spec-3.fits", spectra.write_lamost)),
    Seed("lamost later", "lamost", made.named("spec-4.fits", spectra.write_lamost, later=True)),
    Seed("aaomega", "aaomega", made.named("reduced.fits", spectra.write_aaomega)),
    Seed("aaomega log", "aaomega", made.aaomega_log),
    Seed("manga", "manga", made.named("manga.fits", spectra.write_manga)),
    Seed("eso_spectrum", "eso_spectrum", made.named("eso.fits", spectra.write_eso_spectrum)),
    Seed("spex", "spex", made.spex),
    Seed("miles", "miles", made.miles),
    Seed("sdss_stamps", "sdss_stamps", made.stamps),
    Seed("multimodal", "multimodal_universe", made.named("001-of-001.hdf5", spectra.write_multimodal)),
    Seed("multimodal images", "multimodal_universe", made.multimodal_images),
    Seed("astroclip", "astroclip", made.named("clip.h5", spectra.write_astroclip), {"dataset": "spectra"}),
    Seed("astroclip images", "astroclip", made.named("clip.h5", spectra.write_astroclip), {"dataset": "images"}),
    Seed("galaxy_pairs", "galaxy_pairs", made.named("sdss", fields.write_galaxies), {"dataset": "images"}),
    Seed("galaxy_cube", "galaxy_cube", made.galaxy_cube),
)  # fmt: skip
_REAL = (
    Seed("real dust", "sfd", _real_dust, {"size": 16}, **_ANY),
    Seed("real healpix", "healpix", _copied("dust/dust_ebv_SFD_healpix_lowres.fits"), _SKY, **_HEALPIX),
    Seed("real wmap", "healpix", _copied("dust/wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits"), _SKY, **_HEALPIX),
    Seed("real aaomega", "aaomega", _copied("spectra/aaomega/emlLinearSkyAirHelio.fits")),
    Seed("real aaomega log", "aaomega", _copied("spectra/aaomega/emlLogVacuumHelioMultiple.fits")),
    Seed("real desi", "desi", _copied(*(f"spectra/desi/{name}" for name in _DESI))),
    Seed("real boss", "sdss_spec", _copied("spectra/sdss_boss/spec-3655-55240-0002.fits")),
    Seed("real sdss", "sdss_spec", _copied("spectra/sdss_misc/gelato_spec-0280-51612-0117.fits")),
    Seed("real sdss v5", "sdss_spec", _copied("spectra/sdss_v5_10/spec-10000-57346-0002.fits")),
    Seed("real plate", "sdss_plate", _copied("spectra/sdss_misc/spPlate-4055-55359-0020.fits")),
    Seed("real manga", "manga", _copied("spectra/sdss_misc/MaNGA_test_spectra.fits")),
    Seed("real eso", "eso_spectrum", _copied("spectra/sdss_misc/legac_M19_56670_v3.0.fits")),
    Seed("real stamps", "sdss_stamps", _real_stamps),
    Seed("real miles", "miles", _real_archive("spectra/miles_stars.npz")),
    Seed("real spex", "npz", _real_archive("spectra/splat_spex_prism_512.npz"), {**BARE, "dataset": "flux"}),
)  # fmt: skip


def seeds() -> dict[str, Seed]:
    """All seeds whose packages are there, by name; real ones where there are real files."""
    chosen = MADE + (_REAL if REAL.is_dir() else ())
    return {seed.name: seed for seed in chosen if find_spec(seed.needs) is not None}


def loaded(ds: xr.Dataset) -> xr.Dataset:
    """Return the dataset in memory, its file closed."""
    with ds:
        return ds.load()
