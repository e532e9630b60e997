"""What the formats of other programs have in common: the order of dates, what must be there, how holes are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topsar.errors import ProductError
from topsar.interferogram import swap_dates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from topsar.interferogram import Interferogram, Layer


def order_dates(ifg: Interferogram, *, older_first: bool) -> Interferogram:
    """Take the older, or the newer, date for the reference.

    Parameters
    ----------
    ifg : Interferogram
    older_first : bool
    """
    is_older = ifg.facts["reference_date"] < ifg.facts["secondary_date"]
    return ifg if is_older == older_first else swap_dates(ifg)


def name_dates(facts: Mapping[str, Any]) -> str:
    """Name both dates of a pair as other programs do: ``20250303_20250315``."""
    return "_".join(facts[f"{side}_date"].replace("-", "") for side in ("reference", "secondary"))


def require_unwrapped(ifg: Interferogram, client: str) -> None:
    """Raise a ProductError for a pair that is not unwrapped.

    Parameters
    ----------
    ifg : Interferogram
    client : str
        Who wants the unwrapped phase.
    """
    if "unwrapped_phase" not in ifg.layers:
        msg = f"{ifg.pair_id} is not unwrapped, and {client} needs unwrapped phase"
        raise ProductError(msg, hint="run again with UNWRAPPER=snaphu")


def open_holes(layer: Layer) -> NDArray[Any]:
    """Values of a layer with NaN in holes, the layer's own where it has no other; labels and masks as they are."""
    if layer.values.dtype.kind != "f" or np.isnan(layer.kind.nodata):
        return layer.values
    return np.where(layer.holes, np.float32(np.nan), layer.values)


def fill_holes(values: NDArray[Any]) -> NDArray[np.float32]:
    """Replace NaN by 0, which clients take for a hole; a true zero becomes the smallest positive number."""
    filled = np.array(values, np.float32)
    filled[filled == 0] = np.finfo(np.float32).tiny
    filled[np.isnan(filled)] = 0
    return filled
