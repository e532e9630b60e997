"""Arrays in, arrays out: the numerical work, in NumPy, SciPy and Numba alone.

Numba caches compiled kernels and notices a change in the file that holds a kernel, but not in a file whose functions
that kernel inlines. So an edit in any of these files voids all of their caches.
"""

from contextlib import suppress
from pathlib import Path


def _void_stale_caches(folder: Path) -> None:
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)


with suppress(OSError):  # a read-only installation, or another process that is quicker
    _void_stale_caches(Path(__file__).parent)
