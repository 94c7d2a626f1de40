"""Measure down to which scale the maps of a simulation hold, and what a simulation costs.

The same universe (phases and box) at several numbers of particles, mesh points and steps: P(k) of the maps over that
of the finest run, and CPU seconds on one thread. Writes ``results/particle_mesh.md`` and
``docs/figures/particle_mesh_resolution.png``.

    python benchmarks/particle_mesh.py [--seed 1] [--grid 64]
"""

import argparse
import itertools
import time

import matplotlib
import numpy as np
import xarray as xr
from record import FIGURES, circumstances, table, write

from data_loaders.simulate import Cosmology, ParticleMesh, simulate, surface_density
from sciffusion.statistics import power_spectrum

# Particles, mesh, steps; the last is the reference.
RUNS = [(64, 128, 30), (64, 192, 20), (96, 192, 20), (96, 192, 30), (128, 256, 30), (128, 384, 30)]
EDGES = [0.2, 0.7, 1, 2, 3, 4, 5, 6.4, 8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grid", type=int, default=64)
    given = parser.parse_args()
    measured = {run: measure(run, given.seed, given.grid) for run in RUNS}
    reference = measured[RUNS[-1]][0]
    rows = []
    for run, (power, seconds) in measured.items():
        ratio = in_bands(power) / in_bands(reference)
        rows.append([name(run), f"{seconds:.1f}", *(f"{value:.3f}" for value in ratio)])
    bands = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(EDGES)]
    text = f"# Resolution of the particle mesh\n\n{circumstances('scipy')}\n\nSeed {given.seed}, {given.grid}^2 maps, "
    text += f"fiducial cosmology, box 25 Mpc/h. P(k) of the maps over that of {name(RUNS[-1])}, by bands of k "
    text += "[h/Mpc]; seconds are CPU time of one thread on a machine with other work.\n\n"
    write("particle_mesh.md", text + table(["particles / mesh / steps", "CPU s", *bands], rows))
    draw(measured, reference, given.seed)


def measure(run: tuple[int, int, int], seed: int, grid: int) -> tuple[xr.DataArray, float]:
    """Return the mean P(k) of the maps of one universe and the CPU seconds that they took."""
    particles, mesh, steps = run
    cosmology, begin = Cosmology(), time.process_time()
    numerics = ParticleMesh(particles=particles, mesh=mesh, steps=steps)
    maps = surface_density(simulate(cosmology, numerics, seed), cosmology.Omega_m, grid)
    seconds = time.process_time() - begin
    centers = (np.arange(grid) + 0.5) * numerics.box_size / grid
    coords = {dim: (dim, centers, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    flat = maps.reshape(-1, grid, grid)
    contrast = flat / flat.mean((1, 2), keepdims=True) - 1
    field = xr.DataArray(contrast, dims=("sample", "y", "x"), coords=coords, attrs={"units": "1"})
    print(f"{name(run)}: {seconds:.1f} s", flush=True)
    return power_spectrum(field).mean("sample", keep_attrs=True), seconds


def in_bands(power: xr.DataArray) -> np.ndarray:
    """Average over bands of k, every mode with equal weight."""
    bands = [(power.k >= low) & (power.k < high) for low, high in itertools.pairwise(EDGES)]
    return np.array([float(power[band].weighted(power.modes[band]).mean()) for band in bands])


def name(run: tuple[int, int, int]) -> str:
    return "{}³ / {}³ / {}".format(*run)


def draw(measured: dict, reference: xr.DataArray, seed: int) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(6.4, 6), sharex=True, height_ratios=[3, 2], layout="constrained"
    )
    for run, (power, seconds) in measured.items():
        top.loglog(power.k, power, label=f"{name(run)}: {seconds:.0f} s")
        bottom.semilogx(power.k, power / reference)
    bottom.axhspan(0.9, 1.1, color="0.9", zorder=0)
    bottom.set(xlabel="k [h/Mpc]", ylabel="ratio to the finest", ylim=(0.85, 1.15))
    top.set(ylabel="P(k) of the maps' contrast [(Mpc/h)²]", title=f"One universe (seed {seed}), 25 Mpc/h")
    top.legend(title="particles / mesh / steps: CPU time", fontsize="small")
    bottom.set_xticks([0.3, 0.5, 1, 2, 4, 8], labels=["0.3", "0.5", "1", "2", "4", "8"])
    bottom.tick_params(which="minor", labelbottom=False)
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / "particle_mesh_resolution.png", dpi=120)


if __name__ == "__main__":
    main()
