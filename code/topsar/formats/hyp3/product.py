"""The folder of a HyP3 product, and the zip of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.files import write_text, write_zip
from topsar.formats.exchange import order_dates
from topsar.formats.hyp3.names import Flavour, name_burst_product, name_scene_product
from topsar.formats.hyp3.rasters import write_rasters
from topsar.formats.hyp3.texts import make_parameters, make_readme

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from topsar.interferogram import Interferogram


def write_product(
    ifg: Interferogram,
    folder: Path,
    *,
    phase: str = "filtered_unwrapped_phase",
    flavour: Flavour = "isce2",
    browse: bool = True,
) -> list[Path]:
    """Write the folder of a product below ``folder``, the older date first.

    Parameters
    ----------
    ifg : Interferogram
    folder : Path
    phase : str
        The layer to write as ``unw_phase``; HyP3's is filtered.
    flavour : {"isce2", "gamma"}
        Whose job it shall look like.
    browse : bool
        Whether to write pictures and overlays too.

    Returns
    -------
    list of Path
        The files.
    """
    ifg = order_dates(ifg, older_first=True)
    name = name_scene_product(ifg) if flavour == "gamma" else name_burst_product(ifg)
    files = list(write_rasters(ifg, folder / name / name, phase, flavour, browse=browse))
    readme = ".README.md" if flavour == "gamma" else "_README.md"
    texts = {"": make_parameters(ifg, phase, flavour), readme: make_readme(ifg, name, phase, flavour)}
    for suffix, text in texts.items():
        files.append(folder / name / f"{name}{suffix}.txt")
        write_text(files[-1], text)
    return files


def pack_product(folder: Path, files: Iterable[Path]) -> Path:
    """Put the folder of a product into a zip beside it.

    Parameters
    ----------
    folder : Path
        Where the folder lies.
    files : iterable of Path
    """
    members = sorted(files)
    path = folder / f"{members[0].parent.name}.zip"
    write_zip(path, ((member.relative_to(folder).as_posix(), member.read_bytes()) for member in members))
    return path
