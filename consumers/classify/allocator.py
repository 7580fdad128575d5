"""Keeping freed memory: decoded pictures are a megabyte and more, and glibc gives each back to the kernel at once.

The next picture then pays for fresh, zeroed pages, which costs as much as decoding it. With the thresholds below glibc
keeps them (mallopt(3)); the memory held stays bounded by the largest amount in use at any one time.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 32 * 1024 * 1024
_KEPT = 256 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep what is freed; returns whether it does (other systems' allocators differ)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))
