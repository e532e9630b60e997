"""The step that says how the ground of an output grid is seen: the same for all pairs with one reference pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topsar.engines.ground import dem_under, ground_points
from topsar.engines.viewing import arc_between, view
from topsar.engines.water import find_water
from topsar.files import save_array

if TYPE_CHECKING:
    from pathlib import Path

    from topsar.engines.native.tasks import ViewTask


def look(task: ViewTask, folder: Path) -> None:
    """Write height, line of sight, layover and shadow, and water into ``folder``.

    Raises
    ------
    ProvisionError
        If the orbit does not cover the pass.
    """
    folder.mkdir(parents=True, exist_ok=True)
    choice = task.orbit
    orbit = choice.load(choice.scenes[0].swaths[0], task.polarisation)
    height, points = ground_points(task.grid, dem_under(task.dem, task.grid))
    los, folded = view(points, height, arc_between(orbit, choice.start, choice.stop))
    save_array(folder / "height.npy", height)
    save_array(folder / "los.npy", los)
    save_array(folder / "layover_shadow.npy", folded)
    save_array(folder / "water.npy", find_water(task.dem, task.grid))
