"""Which pairs of a batch can be run, and where each lies on the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topsar.engines.grid import LaidPair, check_crs, group_pairs, lay_grid
from topsar.engines.outlook import look_ahead
from topsar.engines.survey import Survey
from topsar.errors import TopsarError

if TYPE_CHECKING:
    from topsar.engines.protocol import Inputs, Outlook
    from topsar.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Pairs on their grids, in the order in which they are listed; and, by id, what is said of them and of the rest."""

    pairs: tuple[LaidPair, ...]
    outlooks: dict[str, Outlook]
    refused: dict[str, TopsarError]


def lay_out(inputs: Inputs, options: Options) -> Layout:
    """Match the bursts of all pairs and lay their grids.

    Raises
    ------
    SettingsError
        If no pair could be run with these options.
    """
    check_crs(options.crs)
    survey, found = Survey(inputs, options), []
    refused: dict[str, TopsarError] = {}
    for pair in inputs.pairs:
        try:
            found.append(survey.match(pair))
        except TopsarError as exc:
            refused[pair.id] = exc
    laid: dict[str, LaidPair] = {}
    for group in group_pairs(found):
        try:
            laid.update({one.matched.pair.id: one for one in lay_grid(group, options)})
        except TopsarError as exc:
            refused.update({one.pair.id: exc for one in group})
    return Layout(
        pairs=tuple(laid[pair.id] for pair in inputs.pairs if pair.id in laid),
        outlooks={name: look_ahead(one.matched, options, survey.read) for name, one in laid.items()},
        refused=refused,
    )
