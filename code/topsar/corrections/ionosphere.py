"""The ionosphere as the engine estimates it from sub-bands: an engine has their signal, a correction has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.corrections import Correction, Cost, Estimate, refuse
from topsar.interferogram import LAYERS

if TYPE_CHECKING:
    from topsar.interferogram import Interferogram


class Ionosphere(Correction):
    """The layer of that name, for the ledger and to be taken off."""

    name = "ionosphere"
    version = "1"
    layer = LAYERS["ionosphere"]
    cost = Cost(base_memory=45_000_000, memory=4, disk=4, start_s=0.5, microseconds=0.01)

    def compute(self, ifg: Interferogram) -> Estimate:
        """Take what the engine found; refuse where it found nothing, for its reason."""
        known = dict(ifg.facts.get("ionosphere", {}))
        if "ionosphere" in ifg.layers:
            return Estimate(phase_rad=ifg.layers["ionosphere"].values, facts=known)
        missing = "" if "unwrapped_phase" in ifg.layers else ": there is no unwrapped phase"
        return refuse(known.pop("refused", f"the engine did not estimate it{missing}"), known)
