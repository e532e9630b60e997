"""ARIA-S1-GUNW: one netCDF-4 of a pair, version 3 of the standard, with its browse image and ingest record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.formats import Cost, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from topsar.interferogram import Interferogram


class Gunw(Format):
    """``<name>.nc``, ``.png`` and ``.json`` (but of VH and HV); the later date is the reference."""

    name = "gunw"
    version = "6"
    cost = Cost(base_memory=225_000_000, memory=45, disk=25, start_s=1.5, microseconds=2.0)
    needs_unwrapped = True

    def write(self, ifgs: Iterable[Interferogram], folder: Path) -> tuple[Path, ...]:
        """Write the product of one pair.

        Parameters
        ----------
        ifgs : iterable of Interferogram
            The one pair.
        folder : Path
            The empty folder to write into.

        Raises
        ------
        ProductError
            If the pair is not unwrapped.
        """
        from topsar.formats.gunw.writing import write_product

        return tuple(path for ifg in ifgs for path in write_product(ifg, folder))

    def check(self, path: Path) -> Iterator[str]:
        """Check structure, values, name and attributes of a file against version 3 of the standard."""
        from topsar.formats.gunw.check import check_file

        return (str(violation) for violation in check_file(path))
