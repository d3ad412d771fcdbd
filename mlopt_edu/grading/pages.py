"""Makes forking a large process cheap: its memory in huge pages.

A fork copies the table of pages. A process that imported torch has 56,000 pages of
4 KB and forks in 18 ms; with 2 MB pages it is 5 ms. They stay shared until somebody
writes into them. Loaded on the answer side; imports the standard library only.
"""

import contextlib
import ctypes
import re

_HUGE = 2 * 2**20  # bytes
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # the second since Linux 6.1
# Memory of the process alone, behind no file.
_PRIVATE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0\s*(?:\[heap\])?\s*")


def use_huge_pages() -> None:
    """Move what this process has in memory into huge pages, where the system can."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "madvise"):
        return
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for match in filter(None, map(_PRIVATE.fullmatch, list(maps))):
            start, end = (int(address, 16) for address in match.groups())
            for page in range(-(-start // _HUGE) * _HUGE, end - _HUGE + 1, _HUGE):
                for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
                    size = ctypes.c_size_t(_HUGE)
                    libc.madvise(ctypes.c_void_p(page), size, advice)
