"""Maps of surface density from the Lagrangian sheet of a simulation.

Cold matter fills a three-dimensional sheet in phase space, ``x(q) = q + s(q)``: between the particles it is continuous.
Interpolating ``s`` trilinearly to tracers between the particles (Abel, Hahn & Kaehler 2012, MNRAS 427, 61) resolves
voids that hold no particle, so that no pixel is empty and the logarithm of a map is finite. The map is a histogram
of the tracers' mass: the mean surface density of every pixel.
"""

import numpy as np
from numpy.typing import NDArray

from .cosmology import RHO_CRIT
from .nbody import Particles


def surface_density(particles: Particles, Omega_m: float, grid: int = 64, slabs: int = 5) -> NDArray[np.float32]:
    """Surface density of every slab of the box along every axis.

    Parameters
    ----------
    particles : Particles
        The simulation's end.
    Omega_m : float
        Matter density in units of the critical density: it sets the mass of a particle [dimensionless].
    grid : int
        Pixels along a side.
    slabs : int
        Slabs along an axis, each ``box_size / slabs`` thick.

    Returns
    -------
    ndarray, shape (3, slabs, grid, grid), float32
        Surface density [(Msun/h)/(Mpc/h)^2] by axis of projection and slab; rows and columns of a map follow the two
        other axes of the box in their order. Every pixel is positive.

    Examples
    --------
    >>> from data_loaders.simulate import Cosmology, ParticleMesh, simulate
    >>> end = simulate(Cosmology(), ParticleMesh(particles=16, mesh=32, steps=3), seed=1)
    >>> maps = surface_density(end, Omega_m=0.3, grid=16)
    >>> maps.shape, bool(maps.min() > 0)
    ((3, 5, 16, 16), True)
    >>> print(f"{maps.mean():.3e}")
    4.163e+11
    """
    n = particles.displacement.shape[1]
    tracers = max(2, -(-4 * grid // n))
    counts = tracer_counts(particles, grid, slabs, tracers)
    # The sheet is continuous and covers the box, so enough tracers reach every pixel.
    while not counts.all():
        tracers *= 2
        counts = tracer_counts(particles, grid, slabs, tracers)
    mass = Omega_m * RHO_CRIT * particles.box_size**3 / (n * tracers) ** 3
    return (counts * (mass * (grid / particles.box_size) ** 2)).astype(np.float32)


def tracer_counts(particles: Particles, grid: int, slabs: int, tracers: int) -> NDArray[np.int64]:
    """Number of tracers in every pixel of every slab.

    Parameters
    ----------
    particles : Particles
        The simulation's end, n**3 particles.
    grid, slabs : int
        Pixels along a side and slabs along an axis.
    tracers : int
        Tracers a particle along every axis: ``(n * tracers)**3`` in all.

    Returns
    -------
    ndarray, shape (3, slabs, grid, grid), int64
        Counts; each of the three axes has them all.
    """
    n, box_size = particles.displacement.shape[1], particles.box_size
    counts = np.zeros((3, slabs * grid * grid), np.int64)
    lagrangian = (np.arange(n) * (box_size / n)).astype(np.float32)
    fractions = [np.float32(step / tracers) for step in range(tracers)]
    for fx in fractions:
        along_x = _shifted(particles.displacement, fx, axis=1)
        for fy in fractions:
            along_xy = _shifted(along_x, fy, axis=2)
            for fz in fractions:
                position = _shifted(along_xy, fz, axis=3)
                pixel, slab = [], []
                for axis, fraction in enumerate((fx, fy, fz)):
                    start = lagrangian + fraction * np.float32(box_size / n)
                    x = position[axis] + start.reshape([-1 if a == axis else 1 for a in range(3)])
                    pixel.append(_cell(x, grid, box_size))
                    slab.append(_cell(x, slabs, box_size))
                for axis, (row, column) in enumerate(((1, 2), (0, 2), (0, 1))):
                    flat = (slab[axis] * grid + pixel[row]) * grid + pixel[column]
                    counts[axis] += np.bincount(flat.ravel(), minlength=counts.shape[1])
    return counts.reshape(3, slabs, grid, grid)


def _shifted(displacement: NDArray, fraction: np.float32, axis: int) -> NDArray:
    """Displacement at a fraction of the way to the next particle along an axis of the periodic grid."""
    if fraction == 0:
        return displacement
    return displacement + fraction * (np.roll(displacement, -1, axis) - displacement)


def _cell(x: NDArray, cells: int, box_size: float) -> NDArray[np.int32]:
    """Index of the cell that holds `x` in a periodic box."""
    return np.floor(x * np.float32(cells / box_size)).astype(np.int32) % np.int32(cells)
