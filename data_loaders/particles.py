"""Mass of particles on a periodic grid by cloud-in-cell assignment: each is a cube of one cell, of uniform density.

Hockney & Eastwood 1981, section 5-3. Unlike `data_loaders.simulate.mesh`, which needs the weights themselves to read
forces with them, it takes particles in any order, block by block, and keeps only the grid in memory.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_particles"]


def add_particles(
    grid: NDArray[np.float64], position: NDArray, mass: NDArray | float, box_size: float
) -> NDArray[np.float64]:
    """Add particles to the mass in the cells of a periodic box, in place.

    Parameters
    ----------
    grid : ndarray, shape (n, n, n), float64
        Mass in each cell, axes z, y, x; cell i spans ``[i, i + 1] box_size / n``.
    position : ndarray, shape (p, 3)
        x, y, z of each particle, in the units of `box_size`; outside of the box they are wrapped.
    mass : ndarray, shape (p,), or float
        Of each particle, or of all.
    box_size : float
        Side of the box.

    Returns
    -------
    ndarray, shape (n, n, n)
        `grid`; its sum has grown by the mass of the particles.

    Examples
    --------
    >>> grid = np.zeros((4, 4, 4))
    >>> add_particles(grid, np.array([[0.5, 0.5, 1.0]]), 8.0, box_size=4.0)[:2, 0, 0]  # between two centers in z
    array([4., 4.])
    """
    n, flat = len(grid), grid.reshape(-1)
    cells, weights = [], []
    for axis in range(3):
        scaled = np.asarray(position[:, axis], np.float64) * (n / box_size) - 0.5
        lower = np.floor(scaled)
        first = lower.astype(np.int64) % n
        cells.append((first, (first + 1) % n))
        weights.append((lower + 1 - scaled, scaled - lower))
    for i, j, k in product((0, 1), repeat=3):
        index = (cells[2][i] * n + cells[1][j]) * n + cells[0][k]
        np.add.at(flat, index, weights[2][i] * weights[1][j] * weights[0][k] * mass)
    return grid
