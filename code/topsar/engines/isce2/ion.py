"""topsApp's step ``ion``: its failure costs a pair its ionosphere and nothing else.

topsApp estimates the ionosphere in cells of many looks and interpolates these to the merged image, holes too: around
them values fade to zero. Where it could not estimate anything it crashes, or goes on with zeros.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import minimum_filter1d

from topsar.engines.isce2.config import IONOSPHERE
from topsar.errors import StepFailed
from topsar.files import read_json, write_json
from topsar.model import Looks
from topsar.raster.isce_image import read_isce_image, write_isce_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topsar.engines.isce2.topsapp import TopsAppRun

ION_FACTS = "ionosphere.json"
"""What became of the ionosphere, in topsApp's run folder: empty, or why it was ``refused``."""
_CELL = Looks(east=200, north=50)
"""Single looks of a cell of topsApp's ionosphere."""
log = logging.getLogger(__name__)


def run_ion(run: TopsAppRun) -> None:
    """Let topsApp estimate the ionosphere; where it fails, let it pass its state on and say why."""
    facts = {}
    try:
        run.start(["ion"])
    except StepFailed as exc:
        log.warning("%s: the pair goes on without it", exc.message)
        facts["refused"] = " ".join(exc.message.split())
        (run.folder / "ion").mkdir(exist_ok=True)
        run.start(["ion"], ionosphere=False)
    write_json(run.folder / ION_FACTS, facts)


def run_merge(run: TopsAppRun) -> None:
    """Let topsApp merge bursts; without an ionosphere it leaves an image of zeros, as topsApp itself sometimes does."""
    refused = "refused" in read_json(run.folder / ION_FACTS)
    run.start(["mergebursts"], ionosphere=not refused)
    if refused:
        write_isce_image(run.folder / IONOSPHERE, np.zeros(run.task.merged.shape, np.float32))


def read_ionosphere(run: TopsAppRun) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Read topsApp's merged ionosphere, zero where it is not known, and what is to be said of it.

    What lies within a cell of a hole is left out.
    """
    facts = read_json(run.folder / ION_FACTS)
    image = read_isce_image(run.folder / IONOSPHERE)[0].astype(np.float32)
    looks = run.task.looks
    inner = (np.isfinite(image) & (image != 0)).astype(np.uint8)
    for axis, reach in enumerate((-(-_CELL.north // looks.north), -(-_CELL.east // looks.east))):
        minimum_filter1d(inner, 2 * reach + 1, axis=axis, output=inner, mode="nearest")
    if not inner.any() and "refused" not in facts:
        facts["refused"] = "topsApp's is zero everywhere: it could not estimate one, and went on"
    return np.where(inner > 0, image, np.float32(0)), facts
