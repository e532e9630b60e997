"""Another package that offers formats and corrections, as `pip install` would leave it."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
"""Formats and a correction of somebody else."""

import numpy as np

from topsar.corrections import Cost, Estimate
from topsar.errors import ProductError
from topsar.files import write_json, write_text
from topsar.formats import Format
from topsar.interferogram import Drawing, LayerKind

COST = Cost(base_memory=100_000_000, memory=20, disk=1, start_s=1, microseconds=1)


class Means:
    name, version, scope, cost, options = "means", "7", "pair", COST, ("use_gpu",)

    def __init__(self, use_gpu):
        self.use_gpu = use_gpu

    def write(self, ifgs, folder):
        (ifg,) = ifgs
        mean = float(np.nanmean(ifg.layers["coherence"].values))
        write_json(folder / "means.json", {"gpu": self.use_gpu, "coherence": mean, "layers": list(ifg.layers)})
        return (folder / "means.json",)


class Dates:
    name, version, scope, cost, options = "dates", "1", "stack", COST, ()

    def write(self, ifgs, folder):
        lines = [f"{ifg.pair_id} {ifg.facts['reference_date']} {ifg.layers['height'].values.shape}" for ifg in ifgs]
        write_text(folder / "dates.txt", "\\n".join(lines))
        return (folder / "dates.txt",)


class Half:
    """Fails after its first file."""

    name, version, scope, cost, options = "half", "1", "pair", COST, ()

    def write(self, ifgs, folder):
        write_text(folder / "first.txt", "first")
        raise ProductError("the second file cannot be written")


class Torn(Half):
    """A stack that fails."""

    name, scope = "torn", "stack"


class Silent(Format):
    """States everything but how it writes."""

    name, version, cost = "silent", "1", COST


class Tide:
    name, version, cost = "tide", "1", COST
    layer = LayerKind(name="tide", long_name="Tide", unit="rad", description="Tide of the solid earth",
                      drawing=Drawing(style="symmetric", label="Phase (rad)"))

    def compute(self, ifg):
        phase = np.where(np.isfinite(ifg.layers["wrapped_phase"].values), 0.5, np.nan).astype(np.float32)
        return Estimate(phase_rad=phase, facts={"height_of_the_moon_m": 384_400_000})


class Shy:
    name, version, cost = "shy", "1", COST
    layer = LayerKind(name="shyness", long_name="Shyness", unit="rad", description="Never known")

    def compute(self, ifg):
        return Estimate(phase_rad=None, facts={"refused": "it would rather not"})
'''
OFFERS = """
[topsar.formats]
means = topsar_plug_in:Means
dates = topsar_plug_in:Dates
half = topsar_plug_in:Half
torn = topsar_plug_in:Torn
broken = topsar_plug_in.missing:Nothing
misfit = topsar_plug_in:ProductError
silent = topsar_plug_in:Silent

[topsar.corrections]
tide = topsar_plug_in:Tide
shy = topsar_plug_in:Shy
"""


def install_plug_in(folder: Path) -> Path:
    """Write the package; whoever has the folder on the path of Python has it installed."""
    (folder / "topsar_plug_in.py").write_text(SOURCE)
    known = folder / "topsar_plug_in-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: topsar-plug-in\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text(OFFERS)
    return folder
