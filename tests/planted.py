"""Fields with structure beyond their power spectrum, and faults planted into a perfect set of them."""

import numpy as np
import xarray as xr

N, SPACING = 32, 0.5
NYQUIST = np.pi / SPACING
LABELS = {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"}
_AXES = 2 * np.pi * np.fft.fftfreq(N, SPACING)
K = np.hypot(_AXES[:, None], _AXES[None, :])


def logarithms(samples, seed, knee=1.5):
    """Skewed log10 fields of a red spectrum."""
    rng = np.random.default_rng(seed)
    modes = np.fft.fft2(rng.normal(size=(samples, N, N))) / (1 + (K / knee) ** 2)
    modes[:, 0, 0] = 0
    smooth = np.fft.ifft2(modes).real
    smooth /= np.sqrt((smooth**2).mean())
    return 10.5 + 0.2 * (smooth + 0.2 * (smooth**2 - 1))


def field(log, group=None):
    axis = (np.arange(N) + 0.5) * SPACING
    coords = {dim: (dim, axis, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    coords |= {} if group is None else {"group": ("sample", np.asarray(group))}
    return xr.DataArray(10**log, dims=("sample", "y", "x"), coords=coords, name="density", attrs=LABELS)


def filtered(log, factor):
    """Multiply the modes of log fields by a factor of k, their means left alone."""
    modes = np.fft.fft2(log)
    return np.fft.ifft2(modes * np.where(K > 0, factor, 1.0)).real


def tilted(log, share):
    """Take this share of the power away at k >= 0.5 Nyquist, less of it at larger scales."""
    return filtered(log, np.sqrt(1 - share * np.minimum(K / (0.5 * NYQUIST), 1) ** 2))


def randomized(log, seed):
    """Gaussian fields: the modules of the modes kept, their phases drawn."""
    phases = np.fft.fft2(np.random.default_rng(seed).normal(size=log.shape))
    modes = np.fft.fft2(log - log.mean((1, 2), keepdims=True))
    return np.fft.ifft2(np.abs(modes) * phases / np.abs(phases)).real + log.mean((1, 2), keepdims=True)


def alike(log, share):
    """Lower the variance of ln P(k) between samples by this share, shell by shell."""
    modes = np.fft.fft2(log)
    shell = np.rint(K / K[0, 1]).astype(int)
    for number in range(1, shell.max() + 1):
        inside = shell == number
        power = (np.abs(modes[:, inside]) ** 2).mean(axis=1)
        typical = np.exp(np.log(power).mean())
        modes[:, inside] *= ((typical / power) ** (0.5 * (1 - np.sqrt(1 - share))))[:, None]
    return np.fft.ifft2(modes).real


def rolled_and_flipped(log, seed):
    rng = np.random.default_rng(seed)
    moved = [np.roll(one, rng.integers(0, N, 2), (0, 1))[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])] for one in log]
    return np.array(moved)
