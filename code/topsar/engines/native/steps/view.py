"""The step that finds how the ground of an output grid is seen: the same for all pairs with one reference pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.engines.ground import find_ground_points, open_dem_under, predict_dem
from topsar.engines.native.steps import BASE_MEMORY
from topsar.engines.orbits import OrbitChoice
from topsar.engines.step import Cost, StepKind
from topsar.engines.viewing import fit_arc_between
from topsar.engines.water import find_water
from topsar.files import save_array
from topsar.kernels.geometry import find_viewing_geometry
from topsar.kernels.visibility import find_layover_shadow
from topsar.model import Dem, GeoGrid

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTask:
    """An output grid, and the reference pass of some pairs, from which its ground is to be looked at."""

    job: str
    grid: GeoGrid
    orbit: OrbitChoice
    polarisation: str
    dem: Dem


class _View(StepKind[ViewTask]):
    """Heights, line of sight, layover and shadow, and water; sizes are output pixels."""

    name, task = "view", ViewTask
    cost = Cost(base_memory=BASE_MEMORY, memory=70, disk=18, start_s=1.5, microseconds=1, pixels_per_thread=2e5)
    water_dems = 3
    """Memory of the search for water, in sizes of the DEM."""

    def size(self, task: ViewTask) -> float:
        return task.grid.rows * task.grid.columns

    def extra_memory(self, task: ViewTask, dem_density: float) -> float:
        """Water is looked for in the whole of the DEM, before the geometry of pixels is."""
        dem = predict_dem(task.grid, dem_density)
        return max(dem, self.water_dems * dem - self.cost.memory * self.size(task))

    def inputs(self, task: ViewTask) -> tuple[Path, ...]:
        return (task.orbit.path, *task.dem.files)

    def run(self, task: ViewTask, runs: Path, folder: Path) -> None:  # noqa: ARG002
        """Write the arrays into ``view``."""
        out, choice = folder / "view", task.orbit
        out.mkdir(parents=True, exist_ok=True)
        orbit = choice.load(choice.scenes[0].swaths[0], task.polarisation)
        save_array(out / "water.npy", find_water(task.dem, task.grid))
        height, points = find_ground_points(task.grid, open_dem_under(task.dem, task.grid))
        time, range_m, off_nadir, los = find_viewing_geometry(points, fit_arc_between(orbit, choice.start, choice.stop))
        save_array(out / "height.npy", height)
        save_array(out / "los.npy", los)
        save_array(out / "layover_shadow.npy", find_layover_shadow(time, range_m, off_nadir, height))


STEP = _View()
