"""Small files of spectra in the layouts that their surveys publish; the values are known."""

import h5py
import numpy as np
from astropy.io import fits

SDSS_LOGLAM = np.float32(3.5800) + np.float32(1e-4) * np.arange(6, dtype=np.float32)
BRIGHTSKY, BADFLAT = 1 << 23, 1 << 2
DESI_GRIDS = {"B": 3600 + 0.8 * np.arange(6), "R": 3600 + 0.8 * np.arange(4, 9), "Z": 3600 + 0.8 * np.arange(8, 12)}
DESI_IDS = [39633559463397282, 39633559463397283, -27, 616088619186127404]
LAMOST_LOGLAM = 3.5682 + 1e-4 * np.arange(6)
LAMOST_ROWS = {
    "FLUX": np.array([1, 2, 3, 4, 5, np.nan]),
    "IVAR": np.array([1, 0, 2, 2, 2, 2]),
    "WAVELENGTH": (10**LAMOST_LOGLAM),
    "ANDMASK": np.array([0, 0, 8, 0, 32, 0]),
    "ORMASK": np.array([0, 0, 8, 1, 32, 0]),
}
ESO_UNIT = "10**(-19).erg.cm**(-2).s**(-1).angstrom**(-1)"
MULTIMODAL_GRID = np.array([4000.0, 4001, 4002, 4003])
ASTROCLIP_ID = 39633559463397282


def write_spec(path, *, upper=False, ids=("    299492975510054912", "22A"), drop=(), rows=1, loglam=SDSS_LOGLAM):
    """One object, in lower case with names (COADD, SPECOBJ) or in upper case without."""
    n = len(loglam)
    values = {
        "flux": ("E", np.array([1, 2, 3, 4, np.nan, 6], np.float32)[:n]),
        "loglam": ("E", loglam),
        "ivar": ("E", np.array([1, 0, 4, 4, 4, 4], np.float32)[:n]),
        "and_mask": ("J", np.array([0, 0, BRIGHTSKY, BADFLAT, 0, 0], np.int32)[:n]),
    }
    case = str.upper if upper else str.lower
    coadd = [fits.Column(case(key), form, array=array) for key, (form, array) in values.items() if key not in drop]
    row = {"PLATE": ("J", 266), "MJD": ("J", 51602), "FIBERID": ("J", 13), "CLASS": ("6A", "GALAXY")}
    row |= {"Z": ("E", 0.25), "PLUG_RA": ("D", 146.9), "PLUG_DEC": ("D", -0.5), "SPECOBJID": (ids[1], ids[0])}
    table = [fits.Column(key, form, array=[value] * rows) for key, (form, value) in row.items() if key not in drop]
    names = ("", "") if upper else ("COADD", "SPECOBJ")
    parts = [fits.BinTableHDU.from_columns(columns, name=name) for columns, name in zip((coadd, table), names)]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    return path


def write_plate(path, *, extensions=True, keys=("COEFF0", "COEFF1")):
    primary = fits.PrimaryHDU(np.arange(8, dtype=np.float32).reshape(2, 4))
    primary.header.update({"PLATEID": 4055, "MJD": 55359, keys[0]: 3.5529, keys[1]: 1e-4})
    hdus = [primary]
    if extensions:
        ivar = np.ones((2, 4), np.float32)
        ivar[0, 1] = 0
        bits = np.zeros((2, 4), np.int32)
        bits[1, 2] = BRIGHTSKY
        columns = [fits.Column("FIBERID", "J", array=[1, 2]), fits.Column("OBJTYPE", "6A", array=["QSO", "SKY"])]
        columns += [fits.Column(key, "D", array=[10.0, 20.0]) for key in ("RA", "DEC")]
        hdus += [fits.ImageHDU(ivar), fits.ImageHDU(bits), fits.ImageHDU(bits), fits.ImageHDU(ivar)]
        hdus.append(fits.BinTableHDU.from_columns(columns))
    fits.HDUList(hdus).writeto(path)
    return path


def desi_table(name, **columns):
    forms = {"TARGETID": "K", "Z": "D", "ZWARN": "K", "SPECTYPE": "6A", "OBJTYPE": "3A", "COADD_FIBERSTATUS": "J"}
    forms |= {"TARGET_RA": "D", "TARGET_DEC": "D", "EXPID": "J"}
    return fits.BinTableHDU.from_columns([fits.Column(k, forms[k], array=v) for k, v in columns.items()], name=name)


def write_coadd(path, *, ids=DESI_IDS, objtype=("TGT", "TGT", "", "SKY"), status=(0, 0, 1, 0), compress=False, **more):
    n = len(ids)
    fibers = {"TARGETID": ids, "OBJTYPE": list(objtype)[:n], "COADD_FIBERSTATUS": list(status)[:n]} | more
    hdus = [fits.PrimaryHDU(), desi_table("FIBERMAP", **fibers)]
    for arm, ivar in zip(DESI_GRIDS, (1.0, 3.0, 2.0)):
        grid = DESI_GRIDS[arm]
        flux = {"B": 1.0, "R": 5.0, "Z": 9.0}[arm] + np.arange(n)[:, None] * np.ones(len(grid))
        mask = np.zeros((n, len(grid)), np.int32)
        mask[:, -1] = 4 if arm == "Z" else 0
        kind = fits.CompImageHDU if compress else fits.ImageHDU
        hdus += [
            fits.ImageHDU(grid, name=f"{arm}_WAVELENGTH"),
            fits.ImageHDU(flux.astype(np.float32), name=f"{arm}_FLUX"),
            fits.ImageHDU(np.full(flux.shape, ivar, np.float32), name=f"{arm}_IVAR"),
            kind(mask, name=f"{arm}_MASK"),
        ]
    fits.HDUList(hdus).writeto(path)
    return path


def write_redshifts(path, ids, name="REDSHIFTS"):
    values = {"Z": np.arange(len(ids)) / 10, "ZWARN": [0] * len(ids), "SPECTYPE": ["GALAXY"] * len(ids)}
    fits.HDUList([fits.PrimaryHDU(), desi_table(name, TARGETID=ids, **values)]).writeto(path)
    return path


def write_lamost(path, *, later=False, rows=LAMOST_ROWS, name=None, **header):
    keys = {"TELESCOP": "LAMOST", "OBSID": 101001, "Z": 0.0525, "Z_ERR": 1e-4, "CLASS": "GALAXY", "SUBCLASS": "Non"}
    keys |= {"RA": 332.2, "DEC": -2.05, "SNRG": 21.5, "MJD": 55859, "FIBERID": 1, "SPID": 1, "PLANID": "F5902"}
    if later:
        columns = [fits.Column(key, f"{len(row)}E", array=row[None].astype(np.float32)) for key, row in rows.items()]
        columns.append(fits.Column("NORMALIZATION", "6E", array=np.ones((1, 6), np.float32)))
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="COADD")]
    else:
        hdus = [fits.PrimaryHDU(np.stack(list(rows.values())).astype(np.float32))]
    hdus[0].header.update(keys | header)
    fits.HDUList(hdus).writeto(path)
    return path


def write_aaomega(path, *, flux=None, grid=None, types="PSP", **header):
    n = len(types)
    flux = np.arange(4.0 * n).reshape(n, 4) if flux is None else flux
    variance = np.full(flux.shape, 4.0)
    variance[0, 0], variance[-1, 1] = -1, np.nan
    primary = fits.PrimaryHDU(flux)
    primary.header.update({"CRVAL1": 6000.0, "CDELT1": 2.0, "CRPIX1": 2.0} | header)
    hdus = [primary, fits.ImageHDU(variance, name="VARIANCE")]
    if grid is not None:
        hdus.append(fits.ImageHDU(grid, name="WAVELENGTH"))
    values = {"NAME": ("8A", [f"o{i}" for i in range(n)]), "TYPE": ("1A", list(types)), "PIVOT": ("I", range(n))}
    values |= {"RA": ("D", [np.pi / 2] * n), "DEC": ("D", [-np.pi / 6] * n), "MAGNITUDE": ("D", [19.0] * n)}
    columns = [fits.Column(key, form, array=np.array(list(array))) for key, (form, array) in values.items()]
    hdus.append(fits.BinTableHDU.from_columns(columns, name="FIBRES"))
    fits.HDUList(hdus).writeto(path)
    return path


def write_manga(path, *, wave=None, redshifts=(0.1, 0.2)):
    shape = (2, 3)
    mask = np.array([[0, 1026, 0], [1, 0, 0]], np.int32)
    wave = np.array([4000.0, 4001, 4002]) if wave is None else wave
    parts = {"WAVE": wave, "FLUX": np.ones(shape, np.float32), "IVAR": np.ones(shape, np.float32), "MASK": mask}
    parts["Z"] = np.array(redshifts)
    primary = fits.PrimaryHDU()
    primary.header["DRPVER"] = "v2_4_3"
    fits.HDUList([primary, *(fits.ImageHDU(v, name=k) for k, v in parts.items())]).writeto(path)
    return path


def write_eso_spectrum(path, *, unit="nm", ucd="em.wl;obs.atmos", rows=1):
    values = {"WAVE": [500.0, 500.1, 500.2], "FLUX": [1.0, np.nan, 3.0], "ERR": [0.5, 0.5, 0.0]}
    units = {"WAVE": unit, "FLUX": ESO_UNIT, "ERR": ESO_UNIT}
    columns = [fits.Column(k, "3D", unit=units[k], array=np.tile(v, (rows, 1))) for k, v in values.items()]
    columns.append(fits.Column("QUAL", "3I", array=np.zeros((rows, 3), np.int16)))
    table = fits.BinTableHDU.from_columns(columns, name="PHASE3SPECTRA")
    table.header.update({"VOCLASS": "SPECTRUM V1.0", "TUCD1": ucd, "RA": 10.0, "DEC": -5.0, "OBJECT": "star"})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def write_multimodal(path, *, wavelength=None, spectra=True, images=False, bands=(b"g", b"r"), **more):
    lam = np.array([MULTIMODAL_GRID, MULTIMODAL_GRID, [*MULTIMODAL_GRID[:3], -1]]) if wavelength is None else wavelength
    n = len(lam)
    with h5py.File(path, "w") as file:
        file["object_id"] = np.array([b"39633559463397282", b"39633559463397283", b"39633559463397284"][:n])
        file["ra"], file["dec"] = np.arange(n) + 10.0, np.arange(n) - 5.0
        file["Z"] = np.float32([0.1, 0.2, 0.3][:n])
        if spectra:
            file["spectrum_lambda"] = lam.astype(np.float32)
            file["spectrum_flux"] = np.where(lam > 0, np.arange(n)[:, None] + 1.0, -1).astype(np.float32)
            file["spectrum_ivar"] = np.where(lam > 0, 2, -1).astype(np.float32)
            file["spectrum_mask"] = lam == 4001
        if images:
            file["image_array"] = np.arange(n * 2 * 4 * 3, dtype=np.float32).reshape(n, 2, 4, 3)
            file["image_ivar"] = np.ones((n, 2, 4, 3), np.float32)
            file["image_band"] = np.tile(np.array(bands), (n, 1))
        for name, values in more.items():
            del file[name]
            file[name] = values
    return path


def write_astroclip(path, counts=(2, 1, 3), *, ids=np.int64, **change):
    """Groups 0, 2, 10 in which every row has its number as value."""
    start = 0
    with h5py.File(path, "w") as file:
        for name, n in zip(("0", "2", "10"), counts):
            rows = np.arange(start, start + n)
            ones = np.ones((n, 7, 1), np.float32)
            values = {"spectra": rows[:, None, None] * ones}
            values["images"] = rows[:, None, None, None] * np.ones((n, 4, 5, 3), np.float32) + [0, 0.25, 0.5]
            values |= {"redshifts": rows / 10, "targetids": (ASTROCLIP_ID + rows).astype(ids)}
            for key, array in (values | change.get(f"g{name}", {})).items():
                if array is not None:
                    file[f"{name}/{key}"] = array
            start += n
    return path
