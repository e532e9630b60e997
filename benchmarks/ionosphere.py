"""The ionosphere of a simulated pair beside its truth, and what its estimate takes: native, and topsApp where it is.

Two swaths of two bursts lie under a ramp, a hill and turbulence; in one of them the second date is a centimetre late.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pipeline
from run import RESULTS
from scipy.ndimage import uniform_filter

from topsar.files import read_json
from topsar.raster import read_geotiff
from topsar.simulate import Acquisition, Recipe, recipe
from topsar.simulate.compare import read_true_change
from topsar.simulate.recipe import Screen, SwathCut

ESTIMATES = {"native": ("split", "subband", "ionosphere"), "isce2": ("ion",)}
"""The steps that estimate the ionosphere and nothing else."""
COHERENCE, AVERAGED_M = 0.6, 500.0


def main() -> None:
    """Simulate, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=sorted(ESTIMATES))
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where simulated data are kept [results]")
    args = parser.parse_args()
    data, _ = pipeline.data_of(screened(), args.folder.resolve())
    for engine in args.engines:
        use = pipeline.run_pairs(data, flags=[f"ENGINE={engine}", "CORRECTIONS=ionosphere", "FORMATS=geotiff"])
        (products,) = (data / "runs").glob("*/products")
        steps = [
            step
            for step in read_json(products / "facts.json")["steps"]
            if step["name"].partition("_")[0] in ESTIMATES[engine]
        ]
        cpu, written = (sum(step[key] for step in steps) for key in ("cpu_seconds", "written_bytes"))
        print(
            f"{engine}: whole pair {use['cpu_s']:.0f} core s; estimate {cpu:.1f} core s, {written / 1e6:.0f} MB written"
        )
        for name, value in compare(products, data / "truth").items():
            print(f"  {name}: {value:.3f} rad")


def screened() -> Recipe:
    """What is simulated."""
    screen = Screen(north_m=0.03, east_m=0.01, bump_m=0.012, bump_radius_m=9000.0, turbulence_m=0.002)
    second = Acquisition(
        day=date(2025, 3, 15),
        perpendicular_baseline_m=60.0,
        sync_s=1e-3,
        ionosphere=screen,
        swath_delays_m=(("IW2", 0.01),),
    )
    cuts = SwathCut(swath="IW1", first_sample=17_040, samples=3600), SwathCut(swath="IW2", first_sample=0, samples=3600)
    return replace(
        recipe("demo"),
        name="ionosphere",
        acquisitions=(Acquisition(day=date(2025, 3, 3)), second),
        cuts=cuts,
        bursts=2,
        dem_posting_arcsec=3,
        scatterers=(6, 10),
        water_share=0.0,
        stable=(0.6, 1.0),
    )


def compare(products: Path, truth: Path) -> dict[str, float]:
    """Deviations, rad, of the layer from the truth and of the phase with and without it, over coherent ground."""
    facts: dict[str, Any] = read_json(products / "facts.json")
    names = "unwrapped_phase", "ionosphere", "coherence", "components"
    if "ionosphere" not in facts["layers"]:
        return {}
    phase, found, coherence, components = (read_geotiff(products / f"{name}.tif")[0] for name in names)
    grid = read_geotiff(products / "coherence.tif")[1]
    dates, scale = (facts["reference_date"], facts["secondary_date"]), 4 * np.pi / facts["wavelength_m"]
    path = scale * read_true_change(truth, dates, grid)
    ionosphere = scale * read_true_change(truth, dates, grid, "ionosphere")
    seen = np.isfinite(phase + found + path + ionosphere) & (coherence > COHERENCE) & (components == 1)
    side = max(round(AVERAGED_M / grid.dx), 1)
    share = uniform_filter(seen.astype(float), side)

    def deviate(values: np.ndarray) -> float:
        means = uniform_filter(np.where(seen, values, 0.0), side) / np.maximum(share, 1e-9)
        return float(means[seen & (share > 0.5)].std())

    return {
        "layer minus truth": float((found + ionosphere)[seen].std()),
        "phase minus truth at 0.5 km": deviate(phase - path),
        "with the layer taken off": deviate(phase - found - path),
    }


if __name__ == "__main__":
    main()
