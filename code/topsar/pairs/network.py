"""Which dates to pair: products are grouped into passes, passes into stacks, and rules choose pairs in each stack."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from topsar.errors import ProvisionError, SettingsError
from topsar.files import write_text
from topsar.kernels.geometry import OrbitArc, measure_baseline, rdr2geo
from topsar.model import Direction
from topsar.wording import count_text

log = logging.getLogger(__name__)

_DAY_S = 86_400.0
_NEXT_SLICE_S = 5.0
_SHARED_GROUND_S = 5.0
_MID_RANGE_M = 880_000.0  # middle of the three swaths; B_perp changes by a few percent across them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """A product that may become part of a pair; ``arc`` is its orbit, where known."""

    name: str
    mission: str
    start: datetime
    stop: datetime
    track: int
    direction: Direction
    polarisations: tuple[str, ...]
    arc: OrbitArc | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """Slices of one satellite that follow each other, in time order."""

    slices: tuple[Slice, ...]

    @property
    def start(self) -> datetime:
        """Start of the first slice."""
        return self.slices[0].start

    @property
    def stop(self) -> datetime:
        """End of the last slice."""
        return self.slices[-1].stop

    @property
    def mission(self) -> str:
        """``S1A`` to ``S1D``."""
        return self.slices[0].mission

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slices."""
        return tuple(one.name for one in self.slices)

    @property
    def polarisations(self) -> frozenset[str]:
        """Polarisations that all slices have."""
        return frozenset.intersection(*(frozenset(one.polarisations) for one in self.slices))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Connection:
    """Two passes to pair; ``baseline_m`` is the perpendicular baseline, None where an orbit is unknown."""

    reference: Pass
    secondary: Pass
    baseline_m: float | None

    @property
    def days(self) -> int:
        """Days from reference to secondary."""
        return _count_days(self.reference, self.secondary)

    @property
    def is_mixed(self) -> bool:
        """Whether the passes are of two satellites."""
        return self.reference.mission != self.secondary.mission

    def __str__(self) -> str:
        length = "B_perp unknown" if self.baseline_m is None else f"B_perp {self.baseline_m:+.0f} m"
        mixed = f", {self.reference.mission} with {self.secondary.mission}" if self.is_mixed else ""
        return f"{self.reference} to {self.secondary}: {count_text(self.days, 'day')}, {length}{mixed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which passes of a stack are paired; a rule that is None allows every pair, and all rules must allow a pair.

    Each date is paired with its next ``neighbours``; under ``max_baseline_m`` pairs of unknown baseline are left out.
    """

    neighbours: int | None = None
    max_days: int | None = None
    max_baseline_m: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("neighbours", 1), ("max_days", 1), ("max_baseline_m", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                msg = f"{name} {value}, expected at least {least}"
                raise ValueError(msg)

    def __str__(self) -> str:
        parts = [
            "" if self.neighbours is None else f"each date with the next {self.neighbours}",
            "" if self.max_days is None else f"at most {count_text(self.max_days, 'day')}",
            "" if self.max_baseline_m is None else f"B_perp at most {self.max_baseline_m:g} m",
        ]
        return ", ".join(filter(None, parts)) or "every date with every other"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Passes over the same ground, in time order, and the pairs among them.

    ``baselines_m`` are perpendicular baselines to the first pass of known orbit; ``parts`` are the groups of passes
    that pairs connect, the largest first.
    """

    passes: tuple[Pass, ...]
    baselines_m: tuple[float | None, ...]
    connections: tuple[Connection, ...]
    parts: tuple[tuple[Pass, ...], ...]

    @property
    def title(self) -> str:
        """Track and direction."""
        first = self.passes[0].slices[0]
        return f"Track {first.track}, {first.direction.value}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """The pairs that rules choose; ``notes`` tell the user about isolated dates, gaps and unknown baselines."""

    rules: Rules
    stacks: tuple[Stack, ...]
    notes: tuple[str, ...]

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All pairs, stack by stack."""
        return tuple(one for stack in self.stacks for one in stack.connections)


def group_passes(slices: Iterable[Slice]) -> tuple[Pass, ...]:
    """Group slices that follow each other into passes; of two versions of a slice the last by name is taken."""
    groups: list[list[Slice]] = []
    for one in sorted(slices, key=lambda s: (s.mission, s.start, s.name)):
        last = groups[-1][-1] if groups else None
        if last is None or not _is_next(one, last):
            groups.append([one])
        elif one.start - last.start < (last.stop - last.start) / 2:
            if one.name != last.name:
                log.warning("%s and %s are two versions of one slice; the second is taken", last.name, one.name)
            groups[-1][-1] = one
        else:
            groups[-1].append(one)
    return tuple(sorted((Pass(slices=tuple(group)) for group in groups), key=lambda p: p.start))


def _is_next(one: Slice, last: Slice) -> bool:
    follows = one.mission == last.mission and (one.start - last.stop).total_seconds() <= _NEXT_SLICE_S
    return follows and bool(set(one.polarisations) & set(last.polarisations))


def require_free(path: Path, *, force: bool) -> None:
    """Raise a SettingsError if there is a list of pairs that may not be replaced.

    Parameters
    ----------
    path : Path
        Of the list.
    force : bool
        Whether it may be replaced.
    """
    if path.exists() and not force:
        msg = f"{path.absolute()} exists and is not overwritten"
        raise SettingsError(msg, hint="choose another file, or add --force: the old one is then kept as .bak")


def _can_be_paired(first: Pass, second: Pass) -> bool:
    """Whether both are of one track and direction, saw the same ground on two dates, and share a polarisation."""
    one, other = first.slices[0], second.slices[0]
    return (
        (one.track, one.direction) == (other.track, other.direction)
        and _count_days(first, second) != 0
        and bool(first.polarisations & second.polarisations)
        and _cover_same_ground(first, second)
    )


def _cover_same_ground(first: Pass, second: Pass) -> bool:
    """Whether both were taken at the same time of day, which on one track means over the same ground."""
    lengths = [(one.stop - one.start).total_seconds() for one in (first, second)]
    middles = [one.start + (one.stop - one.start) / 2 for one in (first, second)]
    apart = _compare_times_of_day(*middles)
    return sum(lengths) / 2 - abs(apart) >= min(_SHARED_GROUND_S, *(length / 2 for length in lengths))


def _count_days(first: Pass, second: Pass) -> int:
    """Days from one pass to the other, whatever midnight lies between."""
    return round((second.start - first.start).total_seconds() / _DAY_S)


def build_network(passes: Sequence[Pass], rules: Rules) -> Network:
    """Choose the pairs of every stack; a ProvisionError tells that there are none.

    Parameters
    ----------
    passes : sequence of Pass
        From `group_passes`; tracks may be mixed.
    rules : Rules
    """
    groups = _find_parts(sorted(passes, key=lambda p: p.start), _can_be_paired)
    stacks = [_make_stack(group, rules) for group in groups if len(group) > 1]
    if not stacks:
        dates = ", ".join(f"{one} track {one.slices[0].track}" for one in passes[:6]) or "none"
        count = count_text(len(passes), "pass", "passes")
        msg = f"no two dates of one track over the same ground among {count}: {dates}"
        raise ProvisionError(msg, hint="a pair needs two dates of one track, direction and polarisation")
    network = Network(rules=rules, stacks=tuple(stacks), notes=tuple(_list_notes(passes, stacks, rules)))
    if not network.connections:
        msg = f"no pair is allowed by: {rules}"
        raise ProvisionError(msg, hint="allow more days, a longer baseline or more neighbours")
    return network


def _make_stack(passes: tuple[Pass, ...], rules: Rules) -> Stack:
    connections = tuple(_choose_pairs(passes, rules))
    joined = {frozenset((id(one.reference), id(one.secondary))) for one in connections}
    parts = _find_parts(passes, lambda a, b: frozenset((id(a), id(b))) in joined)
    origin = next((one for one in passes if _has_orbit(one)), None)
    return Stack(
        passes=passes,
        baselines_m=tuple(None if origin is None else _compute_baseline(origin, one) for one in passes),
        connections=connections,
        parts=tuple(sorted(parts, key=lambda part: -len(part))),
    )


def _choose_pairs(passes: Sequence[Pass], rules: Rules) -> Iterable[Connection]:
    for i, reference in enumerate(passes):
        later = [one for one in passes[i + 1 :] if _can_be_paired(reference, one)]
        dates = sorted({_count_days(reference, one) for one in later})[: rules.neighbours]
        for secondary in later:
            if _count_days(reference, secondary) not in dates:  # a missing slice splits a date into several passes
                continue
            if rules.max_days is not None and _count_days(reference, secondary) > rules.max_days:
                continue
            length = _compute_baseline(reference, secondary)
            if rules.max_baseline_m is None or (length is not None and abs(length) <= rules.max_baseline_m):
                yield Connection(reference=reference, secondary=secondary, baseline_m=length)


def _find_parts(passes: Sequence[Pass], is_joined: Callable[[Pass, Pass], bool]) -> list[tuple[Pass, ...]]:
    """Groups of passes that ``is_joined`` connects, each in the order given."""
    parts: list[list[Pass]] = []
    for one in passes:
        near = [part for part in parts if any(is_joined(other, one) for other in part)]
        merged = [*(other for part in near for other in part), one]
        parts = [part for part in parts if not any(part is other for other in near)] + [merged]
    place = {id(one): i for i, one in enumerate(passes)}
    ordered = [tuple(sorted(part, key=lambda p: place[id(p)])) for part in parts]
    return sorted(ordered, key=lambda part: place[id(part[0])])


def _has_orbit(one: Pass) -> bool:
    return any(part.arc is not None for part in one.slices)


def _compute_baseline(first: Pass, second: Pass) -> float | None:
    """Perpendicular baseline at mid swath, from the two slices nearest to each other; None without an orbit."""
    both = [(a, b) for a in first.slices for b in second.slices if a.arc is not None and b.arc is not None]
    if not both:
        return None
    one, other = min(both, key=lambda ab: abs(_compare_times_of_day(ab[0].start, ab[1].start)))
    if one is other or one.arc is None or other.arc is None:
        return 0.0
    middle = np.array([one.arc.seconds(one.start + (one.stop - one.start) / 2)])
    point = rdr2geo(middle, np.array([_MID_RANGE_M]), 0.0, one.arc)
    length = float(measure_baseline(point, one.arc, other.arc)[0])
    return length if np.isfinite(length) else None


def _compare_times_of_day(one: datetime, other: datetime) -> float:
    """Seconds from one time of day to the other, the short way round."""
    return ((other - one).total_seconds() + _DAY_S / 2) % _DAY_S - _DAY_S / 2


def _list_notes(passes: Sequence[Pass], stacks: Sequence[Stack], rules: Rules) -> Iterable[str]:
    stacked = {id(one) for stack in stacks for one in stack.passes}
    for one in passes:
        if id(one) not in stacked:
            yield f"{one} (track {one.slices[0].track}): no other date over the same ground"
    for stack in stacks:
        islands = [part for part in stack.parts if len(part) > 1]
        if len(islands) > 1:
            spans = "; ".join(f"{part[0]} to {part[-1]} ({count_text(len(part), 'date')})" for part in islands)
            yield f"{stack.title}: the network falls into {len(islands)} parts that no pair connects: {spans}"
        if alone := [str(part[0]) for part in stack.parts if len(part) == 1]:
            yield f"{stack.title}: no pair for {', '.join(alone)}"
        if unknown := [str(one) for one in stack.passes if not _has_orbit(one)]:
            left_out = ", which the rule on baselines leaves out" if rules.max_baseline_m is not None else ""
            yield f"{stack.title}: no orbit, so no baseline, for {', '.join(unknown)}{left_out}"
        if mixed := sum(one.is_mixed for one in stack.connections):
            yield f"{stack.title}: {count_text(mixed, 'pair')} of two different satellites"


def format_pairs(network: Network) -> str:
    """Write the network as a list of pairs, with dates and baselines in comments."""
    lines = [f"# {count_text(len(network.connections), 'pair')}: {network.rules}"]
    lines += [f"# {note}" for note in network.notes]
    for stack in network.stacks:
        lines += [
            "",
            f"# {stack.title}: {count_text(len(stack.passes), 'date')}, {stack.passes[0]} to {stack.passes[-1]}",
        ]
        for one in stack.connections:
            lines += [f"# {one}", f"{_format_side(one.reference)}, {_format_side(one.secondary)}"]
    return "\n".join(lines) + "\n"


def _format_side(one: Pass) -> str:
    return one.names[0] if len(one.names) == 1 else "[" + ", ".join(f'"{name}"' for name in one.names) + "]"


def write_pairs(path: Path, network: Network, *, force: bool = False) -> Path | None:
    """Write a network as a list of pairs.

    Parameters
    ----------
    path : Path
        ``pairs.txt``.
    network : Network
    force : bool
        Replace a file that is there; the old one is kept beside it as ``pairs.txt.bak``, ``.bak2`` ...

    Returns
    -------
    Path or None
        Where the old file is now, if there was one.
    """
    require_free(path, force=force)
    kept = None
    if path.exists():
        names = (path.with_name(f"{path.name}.bak{number}") for number in ("", *range(2, 1_000)))
        kept = next(name for name in names if not name.exists())
        shutil.copy2(path, kept)
    write_text(path, format_pairs(network))
    return kept
