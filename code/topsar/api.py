"""What ``import topsar`` offers besides settings and datasets: find pairs, plan a run, run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from topsar import workflow
from topsar.batch import Batch
from topsar.environment import drop_foreign_data
from topsar.errors import NotFetchedError, ProductError, ProvisionError
from topsar.pairs.listing import Names, PairLine, check_pairs, read_pairs
from topsar.pairs.network import Pass, Rules, build_network, group_passes
from topsar.provision import Services, find_local_slices
from topsar.report.terminal_plan import sum_up_plan
from topsar.schedule.jobs import Status
from topsar.settings import GIGABYTE, Settings
from topsar.wording import bytes_text, plain, seconds_text

if TYPE_CHECKING:
    import xarray as xr

    from topsar.engines import Outlook
    from topsar.engines.radar_stack import RadarStack
    from topsar.schedule.jobs import Event, Outcome
    from topsar.schedule.record import PlannedJob
    from topsar.schedule.rehearsal import Preview

Pairs: TypeAlias = "Path | str | Iterable[tuple[Names, Names]]"


def find_pairs(
    data: Path | str = "data",
    *,
    neighbours: int | None = 2,
    max_days: int | None = None,
    max_baseline_m: float | None = None,
) -> list[tuple[Names, Names]]:
    """List pairs of the products that lie in ``raw`` of a data folder.

    Parameters
    ----------
    data : Path or str
        The data folder; orbits in its ``orbit_data`` give baselines.
    neighbours : int, optional
        Each date is paired with the next N dates; None allows all.
    max_days : int, optional
        Longest time between the dates of a pair.
    max_baseline_m : float, optional
        Longest perpendicular baseline; pairs of unknown baseline are then left out.

    Returns
    -------
    list of (reference, secondary)
        Product names; a date of several slices is a tuple of names.

    Raises
    ------
    TopsarError
        If there is nothing to pair, or the rules allow no pair.
    """
    folder = Path(data).expanduser()
    rules = Rules(neighbours=neighbours, max_days=max_days, max_baseline_m=max_baseline_m)
    network = build_network(group_passes(find_local_slices(folder / "raw", folder / "orbit_data")), rules)
    return [(_name_pass(one.reference), _name_pass(one.secondary)) for one in network.connections]


def plan(
    pairs: Pairs, settings: Settings | None = None, *, cores: int | None = None, memory_gb: float | None = None
) -> PlannedRun:
    """Say what `run` would do, and what it would take; nothing is fetched or written.

    Parameters
    ----------
    pairs : Path, str or iterable of (reference, secondary)
        A list of pairs in a file, or product names; a date of several slices is a sequence of names.
    settings : Settings, optional
        The defaults where absent.
    cores : int, optional
        Of another machine of this kind; those of this one where absent.
    memory_gb : float, optional
        What steps may use of its memory; what they may here where absent.

    Raises
    ------
    TopsarError
        If nothing can be processed.
    """
    drop_foreign_data()
    memory_bytes = None if memory_gb is None else int(memory_gb * GIGABYTE)
    batch = Batch(settings=settings or Settings(), pairs=_load_lines(pairs))
    missing = batch.missing
    try:
        preview = workflow.preview(batch, cores=cores, memory_bytes=memory_bytes)
    except ProvisionError as exc:
        if batch.settings.offline or not (missing or isinstance(exc, NotFetchedError)):
            raise
        return PlannedRun(missing=missing)
    titles = {job.id: job.title for job in batch.jobs}
    return PlannedRun(
        missing=missing,
        refused=tuple((one.title, str(one.problem)) for one in batch.refused),
        preview=preview,
        outlooks={titles.get(pair, pair): outlook for pair, outlook in batch.plan.outlooks.items()},
    )


def run(pairs: Pairs, settings: Settings | None = None, *, on_event: Callable[[Event], None] | None = None) -> Results:
    """Fetch what is missing, and process pairs; what is done already is not done again.

    Parameters
    ----------
    pairs, settings
        As `plan` takes them.
    on_event : callable, optional
        Is given every event of every step: started, done, failed.

    Returns
    -------
    Results
        One `PairResult` per pair, in no case an exception for a pair that failed; with ``grid="radar"`` a `StackResult`
        per stack and a `PairResult` for each line that could not be taken.

    Raises
    ------
    TopsarError
        If nothing can start: settings, pairs, the DEM or the runs folder cannot be used.
    """
    drop_foreign_data()
    settings = settings or Settings()
    outcomes = workflow.run(settings, Services(), pairs=_load_lines(pairs), observe=on_event)
    runs = settings.data.resolve() / "runs"
    results = [PairResult(outcome=one, folder=runs / one.job) for one in outcomes if one.is_pair]
    return Results([*_find_stacks(outcomes, runs), *results], runs / "report.html")


def _find_stacks(outcomes: Sequence[Outcome], runs: Path) -> list[StackResult]:
    """The stacks in radar geometry of a run; their jobs are named after that of the ground."""
    from topsar.engines.radar_stack import STACKS, place_stack

    own = [one for one in outcomes if one.job.startswith(f"{STACKS}_")]
    roots = [one for one in own if not any(one.job.startswith(f"{other.job}_") for other in own)]
    return [
        StackResult(
            outcomes=tuple(one for one in own if one == root or one.job.startswith(f"{root.job}_")),
            folder=place_stack(runs, root.job),
        )
        for root in roots
    ]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PairResult:
    """What became of a pair; ``folder`` is that of the pair in ``data/runs``."""

    outcome: Outcome
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether its products are there, made now or before."""
        return self.outcome.is_done

    def open(self) -> xr.Dataset:
        """Open its products, see `topsar.open_pair`; a ProductError says why a pair is not done."""
        from topsar.datasets import open_pair

        if not self.is_done:
            msg = f"{self.outcome.title} has no products: {self.outcome.status.value}. {self.outcome.message}"
            raise ProductError(msg.strip(), hint=f"{self.folder.parent / 'report.html'} holds the end of its log")
        return open_pair(self.folder)

    def list_cells(self) -> list[str]:
        """Name, status, and what is wrong or where it lies."""
        return [self.outcome.title, self.outcome.status.value, self.outcome.message or str(self.folder)]

    def __repr__(self) -> str:
        return "{}: {}. {}".format(*self.list_cells())

    def _repr_html_(self) -> str:
        return _tabulate_results([self])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StackResult:
    """What became of a stack in radar geometry: its ground first, then its dates and interferograms."""

    outcomes: tuple[Outcome, ...]
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether all of it is there, made now or before."""
        return all(one.is_done for one in self.outcomes)

    def open(self) -> RadarStack:
        """Open it for reading, with the dates that are there; a ProductError says why it has no ground."""
        from topsar.engines.radar_stack import open_radar_stack

        if not self.outcomes[0].is_done:
            raise ProductError(repr(self), hint=f"{self.folder.parent.parent / 'report.html'} holds the end of its log")
        return open_radar_stack(self.folder)

    def list_cells(self) -> list[str]:
        """Name, status, and what is wrong or where it lies."""
        bad = next((one for one in self.outcomes if not one.is_done), None)
        if bad is None:
            return [self.folder.name, Status.DONE.value, str(self.folder)]
        return [self.folder.name, bad.status.value, f"{bad.title}: {bad.message}"]

    def __repr__(self) -> str:
        return "{}: {}. {}".format(*self.list_cells())

    def _repr_html_(self) -> str:
        return _tabulate_results([self])


class Results(tuple["PairResult | StackResult", ...]):
    """What became of the pairs or stacks of a run, in the order of their list; ``report`` is the page on it."""

    report: Path

    def __new__(cls, pairs: Iterable[PairResult | StackResult], report: Path) -> Results:
        """A tuple with a report."""
        made = super().__new__(cls, pairs)
        made.report = report
        return made

    def __repr__(self) -> str:
        done = sum(one.is_done for one in self)
        unit = "stacks" if any(isinstance(one, StackResult) for one in self) else "pairs"
        return "\n".join([f"{done} of {len(self)} {unit} done; see {self.report}", *map(repr, self)])

    def _repr_html_(self) -> str:
        return f"{_tabulate_results(self)}<p>{escape(str(self.report))}</p>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PlannedRun:
    """What a run would do.

    Attributes
    ----------
    missing : tuple of str
        What it would fetch first.
    refused : tuple of (str, str)
        Pairs that cannot be processed, and why.
    preview : Preview, optional
        Jobs with their steps, and what they will take; None as long as inputs are missing that decide it.
    outlooks : mapping
        What each pair will be made from, by its title.
    """

    missing: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    preview: Preview | None = None
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, str]:
        """Pairs, steps, time, memory and disk, as text."""
        return sum_up_plan(self.preview, refused=len(self.refused)) if self.preview else {}

    def __repr__(self) -> str:
        lines = [f"to be fetched: {text}" for text in self.missing]
        lines += [f"{title} cannot be processed: {problem}" for title, problem in self.refused]
        return "\n".join([*lines, *(f"{key}: {value}" for key, value in self.totals.items())])

    def _repr_html_(self) -> str:
        rows = [_plan_cells(job) for job in (self.preview.jobs if self.preview else ())]
        rows += [[title, f"cannot be processed: {problem}", "", ""] for title, problem in self.refused]
        rows += [[text, "to be fetched", "", ""] for text in self.missing]
        table = _html_table(["pair or shared work", "steps to run", "memory", "time"], rows)
        return table + _html_table(["", "in all"], [list(one) for one in self.totals.items()])


def _plan_cells(job: PlannedJob) -> list[str]:
    steps = [step for step in job.steps if step.status is Status.WAITING]
    if not steps:
        return [job.title, "none", "", ""]
    seconds = [step.seconds for step in steps]
    time = None if None in seconds else sum(filter(None, seconds))
    memory = max(step.memory_bytes for step in steps)
    return [job.title, ", ".join(step.name for step in steps), bytes_text(memory), seconds_text(time)]


def _tabulate_results(results: Sequence[PairResult | StackResult]) -> str:
    return _html_table(["pair or stack", "status", ""], [one.list_cells() for one in results])


def _html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(plain(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>{lines}</table>"


def _load_lines(pairs: Pairs) -> tuple[PairLine, ...]:
    return read_pairs(Path(pairs).expanduser()) if isinstance(pairs, Path | str) else check_pairs(pairs)


def _name_pass(one: Pass) -> Names:
    return one.names[0] if len(one.names) == 1 else one.names
