"""Files that the fuzz test damages: how each is written, in the layout that is published."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import makers_fields as fields
import makers_spectra as spectra
import numpy as np
from astropy.io import fits

from data_loaders import write_field

Make = Callable[[Path], Path]


def maps(channels=0):
    """Labelled maps with a mask, as this package writes them."""
    ds = fields.labelled(("y", "x"), (5, 16, 24), channels=channels)
    return ds.assign_coords(mask=(ds.density.dims, ds.density.values > 1e13))


def written(name: str, **how: Any) -> Make:
    def make(folder: Path) -> Path:
        write_field(maps(), folder / name, **how)
        return folder / name

    return make


def hdf5(folder: Path, **how: Any) -> Path:
    with h5py.File(folder / "bare.h5", "w") as file:
        file.create_dataset("a/maps", data=maps().density.values, **how)
        file["a/redshift"] = np.arange(5.0)
        file["a/name"] = np.array(list("abcde"), object)
    return folder / "bare.h5"


def read_hdf5(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file["a/maps"])


def netcdf(folder: Path, **how: Any) -> Path:
    maps().drop_vars(["good", "mask", "group"]).to_netcdf(folder / "other.nc", **how)
    return folder / "other.nc"


def npy(folder: Path) -> Path:
    np.save(folder / "bare.npy", maps().density.values)
    return folder / "bare.npy"


def npz(save: Callable[..., None]) -> Make:
    def make(folder: Path) -> Path:
        save(
            folder / "bare.npz",
            maps=maps().density.values,
            object_id=np.arange(5) + 2**60,
            name=np.array(list("abcde")),
        )
        return folder / "bare.npz"

    return make


def read_npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as stored:
        return stored["maps"]


def zarr(folder: Path) -> Path:
    ds = maps().drop_vars(["split", "channel"], errors="ignore")
    ds.to_zarr(folder / "other.zarr", zarr_format=3, consolidated=False)
    return folder / "other.zarr"


def well(folder: Path) -> Path:
    fields.write_well(folder / "well.hdf5")
    return folder / "well.hdf5"


def image(folder: Path, dtype: str = ">f4", checksum: bool = False, **cards: Any) -> Path:
    values = maps().density.values
    hdu = fits.PrimaryHDU((values / 1e10).astype(dtype))
    hdu.header.update(cards)
    hdu.writeto(folder / "image.fits", checksum=checksum)
    return folder / "image.fits"


def sky(folder: Path) -> Path:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 1.0, "CRPIX2": 1.0}
    return image(folder, **cards, CDELT1=-0.01, CDELT2=0.01, BUNIT="K")


def read_image(path: Path, hdu: int = 0) -> np.ndarray:
    with fits.open(path, memmap=False) as hdus:
        return np.array(hdus[hdu].data)


def tiled(folder: Path) -> Path:
    values = (maps().density.values / 1e10).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(folder / "tiled.fits")
    return folder / "tiled.fits"


def table(folder: Path) -> Path:
    values = maps().density.values
    columns = [fits.Column("FLUX", "384E", dim="(24,16)", array=values), fits.Column("Z", "D", array=np.arange(5.0))]
    columns += [fits.Column("NAME", "5A", array=list("abcde")), fits.Column("N", "J", array=np.arange(5), null=-1)]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(folder / "table.fits")
    return folder / "table.fits"


def gzipped(make: Make) -> Make:
    def packed(folder: Path) -> Path:
        plain = make(folder)
        path = plain.with_name(plain.name + ".gz")
        with gzip.GzipFile(path, "wb", mtime=0) as stream:
            stream.write(plain.read_bytes())
        plain.unlink()
        return path

    return packed


def camels(folder: Path) -> Path:
    values = np.random.default_rng(0).lognormal(25, 1, (30, 8, 8)).astype(np.float32)
    np.save(folder / "Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", values)
    np.savetxt(folder / "params_LH_IllustrisTNG.txt", np.random.default_rng(1).uniform(0.1, 1, (2, 6)))
    return folder / "Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy"


def quijote(folder: Path) -> Path:
    for number in (0, 2, 10):
        (folder / "latin_hypercube" / str(number)).mkdir(parents=True)
        grid = np.random.default_rng(number).normal(size=(4, 4, 4)).astype(np.float32)
        np.save(folder / f"latin_hypercube/{number}/df_m_64_CIC_z=0.npy", grid)
    table = np.random.default_rng(9).uniform(0.1, 0.9, (12, 5))
    np.savetxt(folder / "latin_hypercube/latin_hypercube_params.txt", table, header="Omega_m Omega_b h n_s sigma_8")
    return folder / "latin_hypercube"


def snapshot(folder: Path) -> Path:
    (dark, _), (gas, mass) = fields.particles(300, 2), fields.particles(100, 1)
    return fields.write_snapshot(folder / "CV_14/snapshot_024.hdf5", {0: gas, 1: dark}, {0: mass})


def sfd(folder: Path, tiled: bool = False) -> Path:
    how = {"compression_type": "RICE_1", "quantize_level": -1e-3, "quantize_method": -1}
    arguments = fields.sfd_values(), fields.sfd_header()
    hdu = fits.CompImageHDU(*arguments, **how) if tiled else fits.PrimaryHDU(*arguments)
    hdu.writeto(folder / "SFD_dust_ngp.fits")
    return folder / "SFD_dust_ngp.fits"


def healpix(folder: Path, width: int = 1024) -> Path:
    values = np.random.default_rng(0).uniform(1, 2, 12 * 32**2).astype(">f4")
    form, array = (f"{width}E", values.reshape(-1, width)) if width > 1 else ("E", values)
    table = fits.BinTableHDU.from_columns([fits.Column("I", form, array=array, unit="uK")])
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 32, "COORDSYS": "G"})
    table.writeto(folder / "map.fits")
    return folder / "map.fits"


def desi(folder: Path, name: str = "coadd-x.fits", compress: bool = False) -> Path:
    spectra.write_redshifts(folder / f"redrock-x.{name.partition('.')[2]}", spectra.DESI_IDS)
    return spectra.write_coadd(folder / name, compress=compress)


def aaomega_log(folder: Path) -> Path:
    grid = np.tile(3.7 + 1e-3 * np.arange(4), (3, 1))
    return spectra.write_aaomega(folder / "log.fits", grid=grid, VACUUM=True, LOGSCALE=True)


def spex(folder: Path) -> Path:
    wave = np.linspace(0.65, 2.55, 564)
    hdu = fits.PrimaryHDU(np.array([wave, 1e-15 * (1 + np.sin(wave)) ** 2, 1e-17 * wave]).astype(">f4"))
    hdu.header.update(YUNITS="Wm-2um-1", OBJECT="sdssp j0539", RA="05:39:51.9", DEC="-00:59:02")
    hdu.writeto(folder / "10001_10443.fits")
    return folder / "10001_10443.fits"


def miles(folder: Path) -> Path:
    for number in (1, 203):
        hdu = fits.PrimaryHDU(np.linspace(1, 2, 43) * number)
        hdu.header.update(CRPIX1=1, CRVAL1=3540.5, CDELT1=0.9)
        (folder / "miles").mkdir(exist_ok=True)
        hdu.writeto(folder / f"miles/m{number:04d}V.fits")
    (folder / "miles/MILES_params.db").write_text(
        "#MILES Teff log g [Fe/H]\n0001 5305 4.49 -0.75\n0203 4000 0.93 9999\n"
    )
    return folder / "miles"


def stamps(folder: Path) -> Path:
    (folder / "stamps").mkdir()
    for band in "gr":
        fields.write_stamp(folder / "stamps", band, "10.5000", "11.6072")
    fields.write_catalogue(folder / "stamps", "10.5000", "11.6072", [(10.50002, 11.6072, 30), (10.5, 11.62, 9)])
    return folder / "stamps"


def galaxy_cube(folder: Path) -> Path:
    labels = np.array([(2**60, 0.1, b"a"), (2**60 + 1, 0.2, b"b")], [("specObjID", "i8"), ("z", "f4"), ("class", "S1")])
    np.savez(
        folder / "sdss.npz", cube=np.random.default_rng(0).normal(size=(2, 6, 6, 5)).astype(np.float32), labels=labels
    )
    return folder / "sdss.npz"


def multimodal_images(folder: Path) -> Path:
    return spectra.write_multimodal(folder / "001-of-001.hdf5", spectra=False, images=True)


def named(name: str, write: Callable[..., Any], **how: Any) -> Make:
    def make(folder: Path) -> Path:
        write(folder / name, **how)
        return folder / name

    return make
