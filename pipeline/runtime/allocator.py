"""How the C library's allocator treats a worker's big buffers: it keeps those that are freed for the next ones.

A worker allocates and frees the same hundreds of MiB again and again (decoded frames, windows, activations). By default
glibc gives such blocks back to the kernel each time; the next ones are mapped anew and their pages cleared one fault at
a time. Films of 640×360: 870,000 page faults in 300 s of film became 14,000, and a sixth of the CPU time went away.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), from malloc.h."""
KEPT_BYTES = 128 * 2**20
"""Free memory at an arena's end above this goes back to the kernel."""
MAPPED_BYTES = 32 * 2**20
"""Blocks from this size on are mapped on their own and given back when freed; glibc takes no higher value."""


def keep_freed_memory() -> bool:
    """For the rest of this process; whether its C library can do that."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    done: tuple[int, int] = (libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES), libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    return done == (1, 1)


def give_back() -> None:
    """What is free goes back to the kernel now: before a process's memory is held against it."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
