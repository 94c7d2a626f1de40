"""How to run fast on this machine: number format, memory allocator, denormal numbers.

None of this happens at import. Whoever trains or samples calls :func:`tune_allocator` once and works inside
:func:`autocast`.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch

OPT_OUT = "SCIFFUSION_KEEP_ALLOCATOR"
_CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def native_bf16(device: torch.device | str = "cpu") -> bool:
    """Say whether the device computes in bfloat16 by itself, not by emulation.

    Parameters
    ----------
    device
        A torch device. On a CPU the flags of the processor decide (Linux only; elsewhere the answer is False).

    Examples
    --------
    >>> native_bf16("meta")
    False
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu" or not _CPUINFO.exists():
        return False
    lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.split(":", 1)[1] for line in lines if line.startswith(("flags", "Features"))), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())


def autocast(device: torch.device | str = "cpu", precision: str = "auto") -> torch.autocast:
    """Give the context in which networks run.

    Parameters
    ----------
    device
        A torch device.
    precision
        ``auto``: bfloat16 where it is native, else float32; ``bf16`` or ``fp32``: as told.

    Examples
    --------
    >>> with autocast("cpu", "fp32"):
    ...     y = torch.ones(2, 2) @ torch.ones(2, 2)
    """
    bf16 = {"auto": native_bf16(device), "bf16": True, "fp32": False}[precision]
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16)


def tune_allocator() -> bool:
    """Keep freed memory in the process and flush denormal numbers to zero.

    The C library of GNU systems gives every tensor above 32 MiB back to the kernel when it is freed, and faults its
    pages in again at the next use: an activation on such a tensor takes ten times longer. This sets the limits of
    ``mallopt`` so that freed memory is used again. Set ``SCIFFUSION_KEEP_ALLOCATOR=1`` to leave the allocator as it is.

    Returns
    -------
    bool
        Whether the allocator was changed: False on other C libraries and where the variable is set.
    """
    torch.set_flush_denormal(True)
    if os.environ.get(OPT_OUT) or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**28}
    return all(mallopt(key, value) == 1 for key, value in settings.items())
