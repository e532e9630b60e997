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


class IonosphereBurstRamps(Correction):
    """The ramps that the ionosphere leaves in bursts, for the ledger and to be taken off."""

    name = "ionosphere_burst_ramps"
    version = "1"
    layer = LAYERS["ionosphere_burst_ramps"]
    cost = Ionosphere.cost

    def compute(self, ifg: Interferogram) -> Estimate:
        """Take what the engine found; refuse where it found nothing, for its reason."""
        whole = dict(ifg.facts.get("ionosphere", {}))
        known = dict(whole.get("burst_ramps", {}))
        if self.name in ifg.layers:
            return Estimate(phase_rad=ifg.layers[self.name].values, facts=known)
        why = whole.get("refused", f"the {ifg.facts.get('engine', '')} engine does not look for them")
        return refuse(known.pop("refused", why), known)
