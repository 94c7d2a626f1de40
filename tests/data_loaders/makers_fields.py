"""Small files of maps, images, grids and particles in the layouts that are published; the values are known."""

import h5py
import numpy as np
import xarray as xr
from astropy.io import fits

WELL_SHAPE = (3, 4, 5, 6)  # trajectories, steps, x, y
SFD_SCALE = 64  # pixels from equator to pole of the maps written here
SNAPSHOT_BOX = 25.0  # Mpc/h
MASS_OF_ONE = 0.00650  # 1e10 Msun/h


def labelled(grid, shape, *, channels=0, seed=0, dtype="float32"):
    """Fields with every kind of label: text, int64, float64, booleans, units, boundaries."""
    rng = np.random.default_rng(seed)
    samples, *lengths = shape
    axes = {
        dim: (dim, (np.arange(n) + 0.5) * 25 / n, {"units": "Mpc/h", "boundary": "periodic"})
        for dim, n in zip(grid, lengths)
    }
    coords = {
        "group": ("sample", np.arange(samples, dtype=np.int64) // 2 + 39_627_835_000_000_001),
        "split": ("sample", np.array(["train", "validation", "test"] * samples)[:samples]),
        "Omega_m": ("sample", rng.uniform(0.1, 0.5, samples), {"long_name": "matter density"}),
        "axis": ("sample", np.arange(samples, dtype=np.int32) % 3),
        "good": ("sample", rng.random(samples) > 0.5),
        "redshift": ((), 0.5),
        **axes,
    }
    dims = ("sample", *grid)
    if channels:
        dims, lengths = ("sample", "channel", *grid), [channels, *lengths]
        coords["channel"] = ("channel", np.array(list("griz"))[:channels])
    values = 10 ** rng.uniform(9, 14, (samples, *lengths))
    attrs = {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"}
    ds = xr.Dataset({"density": (dims, values.astype(dtype), attrs)}, coords)
    ds.attrs = {"field": "density", "seed": 3, "steps": [50, 250], "note": "α ≤ 1"}
    return ds


def write_stamp(folder, band, ra, dec, *, shape=(5, 4), value=1.0):
    image = value + np.arange(float(np.prod(shape))).reshape(shape)
    ivar = np.ones(shape)
    ivar[0, 0] = 0
    primary = fits.PrimaryHDU(image)
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": float(ra), "CRVAL2": float(dec)}
    wcs |= {"CRPIX1": 2.5, "CRPIX2": 3.0, "CD1_1": -0.00011, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.00011}
    primary.header.update(wcs | {"BAND": band, "NMGY": 0.004, "RUN": 1, "CAMCOL": 2})
    path = folder / f"stamp-{band}-{ra}-{dec}.fits"
    fits.HDUList([primary, fits.ImageHDU(ivar)]).writeto(path)
    return path


def write_catalogue(folder, ra, dec, rows):
    columns = {"ra": [r[0] for r in rows], "dec": [r[1] for r in rows]}
    columns |= {f"psfflux_{band}": [r[2] + i for r in rows] for i, band in enumerate("ugriz")}
    made = [fits.Column(key, "D", array=np.array(values, float)) for key, values in columns.items()]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(folder / f"cat-{ra}-{dec}.fits")


def write_galaxies(path, numbers=(0, 2, 10), *, ids=None):
    ids = [100 + i for i in numbers] if ids is None else ids
    for kind in ("images", "spectra", "indices"):
        (path / kind).mkdir(parents=True)
    for number, object_id in zip(numbers, ids):
        image = np.arange(5.0) + 10 * number + np.zeros((64, 64, 1))
        np.save(path / "images" / f"{number}.npy", image.astype(np.float32))
        np.save(path / "spectra" / f"{number}.npy", np.full(3598, number, np.float32))
        np.save(path / "indices" / f"{number}.npy", np.array([object_id, number / 100]))
    return path


def sfd_header(pole=1, scale=SFD_SCALE, center=None, **cards):
    """The cards of the published maps; `center` counts from 0."""
    row, column = (scale - 0.5, scale - 0.5) if center is None else center
    step = np.degrees(np.sqrt(2) / scale)
    header = fits.Header()
    header.update(
        OBJECT="E(B-V)", BUNIT="mag", CRPIX1=column + 1, CRVAL1=90.0 * pole, CTYPE1="GLON-ZEA",
        CRPIX2=row + 1, CRVAL2=90.0 * pole, CTYPE2="GLAT-ZEA", CD1_1=-pole * step, CD1_2=0.0, CD2_1=0.0,
        CD2_2=pole * step, LONPOLE=180, LAM_NSGP=pole, LAM_SCAL=scale,
    )  # fmt: skip
    header.update(cards)
    return header


def sfd_values(seed=0):
    """Positive values, each of which tells its pixel."""
    order = np.random.default_rng(seed).permutation(4 * SFD_SCALE**2) + 1
    return (order / 1000).reshape(2 * SFD_SCALE, 2 * SFD_SCALE).astype(">f4")


def particles(number, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, SNAPSHOT_BOX * 1e3, (number, 3)), rng.uniform(0.5, 2, number) * 1e-3


def write_snapshot(path, positions, masses=None, *, parts=1, part=0, total=None, header=(), **create):
    """One file as the release has it: `positions` [ckpc/h] and `masses` [1e10 Msun/h] by kind of particles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.zeros(6, np.uint64)
    for kind, position in positions.items():
        counts[kind] = len(position)
    total = counts if total is None else total
    with h5py.File(path, "w") as file:
        table = np.zeros(6)
        table[1] = MASS_OF_ONE if 1 not in (masses or {}) else 0
        attrs = {
            "BoxSize": SNAPSHOT_BOX * 1e3,
            "MassTable": table,
            "NumFilesPerSnapshot": np.int32(parts),
            "NumPart_ThisFile": counts.astype(np.int32),
            "NumPart_Total": (total & np.uint64(0xFFFFFFFF)).astype(np.uint32),
            "NumPart_Total_HighWord": (total >> np.uint64(32)).astype(np.uint32),
            "Redshift": 0.5,
            "Time": 1 / 1.5,
            "Omega0": 0.3,
            "OmegaLambda": 0.7,
            "HubbleParam": 0.6711,
            **dict(header),
        }
        file.create_group("Header").attrs.update(attrs)
        for kind, position in positions.items():
            if len(position):
                file.create_dataset(f"PartType{kind}/Coordinates", data=position, **create)
        for kind, mass in (masses or {}).items():
            file[f"PartType{kind}/Masses"] = mass
    return path


def write_well(path):
    """A file in the layout that The Well specifies, with a field of each rank; returns the arrays by name."""
    trajectories, steps, nx, ny = WELL_SHAPE
    rng = np.random.default_rng(0)
    arrays = {
        ("t0_fields", "density"): rng.normal(size=(trajectories, steps, nx, ny)),
        ("t0_fields", "terrain"): rng.normal(size=(nx, ny)),
        ("t1_fields", "velocity"): rng.normal(size=(trajectories, steps, nx, ny, 2)),
        ("t2_fields", "stress"): rng.normal(size=(trajectories, steps, nx, ny, 2, 2)),
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="turbulence", grid_type="cartesian", n_spatial_dims=2, n_trajectories=trajectories
        )
        file.attrs.update(simulation_parameters=["Reynolds"], Reynolds=100.0)
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for name, values in (("time", np.arange(steps) * 0.5), ("x", np.arange(nx) / nx), ("y", np.arange(ny) / ny)):
            dimensions[name] = values.astype(np.float32)
            dimensions[name].attrs.update(sample_varying=False, time_varying=False)
        for dim, kind in (("x", "PERIODIC"), ("y", "WALL")):
            group = file.create_group(f"boundary_conditions/{dim}_boundary")
            group.attrs.update(associated_dims=[dim], associated_fields=[], bc_type=kind, time_varying=False)
            group["mask"] = np.zeros(nx if dim == "x" else ny, bool)
        scalars = file.create_group("scalars")
        scalars["forcing"] = np.arange(trajectories, dtype=np.float32)
        scalars["forcing"].attrs.update(sample_varying=True, time_varying=False)
        scalars["energy"] = np.arange(trajectories * steps, dtype=np.float32).reshape(trajectories, steps)
        scalars["energy"].attrs.update({"sample_varying": True, "time_varying": True})
        for (group, name), values in arrays.items():
            item = file.require_group(group).create_dataset(name, data=values.astype(np.float32))
            varying = values.ndim > 2
            item.attrs.update(dim_varying=[True, True], sample_varying=varying, time_varying=varying)
    return {name: values.astype(np.float32) for (_, name), values in arrays.items()}
