"""Take the TOPS ramp off burst images, or put it back, with the contract of GAMMA's SLC_deramp_S1_TOPS."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topsar.errors import SceneError
from topsar.files import write_text
from topsar.gamma.image import format_doppler
from topsar.gamma.samples import FCOMPLEX, SampleFormat, create_samples, iter_lines
from topsar.gamma.swath import GammaSwath, read_swath
from topsar.gamma.tab import TabRow, read_tab
from topsar.kernels.tops import DerampTerms, find_deramp_terms, find_steering_rate, turn
from topsar.model import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from numpy.typing import NDArray

    from topsar.kernels.geometry import OrbitArc
    from topsar.model import Burst

_TABLE_STEP = 5000  # samples
_PROBE_SAMPLES = 64
_LEAST_GAIN = 0.02  # of the share of energy in band


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstTerms:
    """What the ramp of a burst is made of, every 5000 samples: slant range (m), f_d (Hz), k_r and k_t (Hz/s).

    ``k_s_hz_s`` is the rate of the antenna's steering, k_r the azimuth FM rate (k_a of ESA's note), k_t the Doppler
    rate of the focused burst.
    """

    label: str
    k_s_hz_s: float
    rows: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathTerms:
    """The bursts of a swath that was written to ``slc``."""

    slc: Path
    bursts: tuple[BurstTerms, ...]


def deramp_tab(
    given: Path, made: Path, *, adds_ramp: bool = False, keeps_phase: bool = False
) -> tuple[SwathTerms, ...]:
    """Deramp the swaths of a tab file, or put the ramp back, into the files that another tab file names.

    What is written is FCOMPLEX, also of SCOMPLEX: whole numbers would not hold the turned samples. TOPS_par stays as it
    is (the ramp can be put back), the Doppler polynomial of SLC_par becomes zero, or that of the middle burst.

    Parameters
    ----------
    given, made : Path
        Tab files of the same number of lines. Files of ``made`` are replaced.
    adds_ramp : bool
        Put the ramp back.
    keeps_phase : bool
        Also write ``<SLC>.dph``: the phase that was taken off, or put back, rad, float32 big-endian, not wrapped.

    Raises
    ------
    SceneError
        For tabs, parameters and samples that do not fit each other, and where the spectrum says that the ramp is off
        (or on) already. All swaths are checked before anything is written.
    """
    sources, targets = read_tab(given), read_tab(made)
    _check_tabs(given, sources, made, targets)
    swaths = [read_swath(row) for row in sources]
    for swath in swaths:
        _check_spectrum(swath, adds_ramp=adds_ramp)
    return tuple(
        _write_swath(swath, target, adds_ramp=adds_ramp, keeps_phase=keeps_phase)
        for swath, target in zip(swaths, targets, strict=True)
    )


def describe_terms(burst: Burst, arc: OrbitArc, terms: DerampTerms) -> BurstTerms:
    """Draw up the table of a burst.

    Parameters
    ----------
    burst, arc, terms
        As of `find_deramp_terms`.
    """
    sample = np.arange(0, burst.grid.samples, _TABLE_STEP)
    range_m = np.asarray(burst.grid.near_range_m + sample * burst.grid.range_spacing_m, dtype=np.float64)
    k_r = burst.fm_rate(np.asarray(2 / SPEED_OF_LIGHT * range_m))
    columns = (range_m, terms.f_dc[sample], k_r, terms.k_t[sample])
    return BurstTerms(
        label=f"{burst.swath} burst {burst.index + 1}",
        k_s_hz_s=find_steering_rate(burst, arc),
        rows=tuple(zip(*(column.tolist() for column in columns), strict=True)),
    )


def find_ramp(eta_s: NDArray[np.float64], terms: DerampTerms) -> NDArray[np.float32]:
    """The ramp, rad, (lines, samples): what deramping takes off.

    Parameters
    ----------
    eta_s : (lines,) float64
        Seconds from mid burst.
    terms : DerampTerms
    """
    return (-terms.phase(eta_s)).astype(">f4")


def _check_tabs(given: Path, sources: tuple[TabRow, ...], made: Path, targets: tuple[TabRow, ...]) -> None:
    if len(sources) != len(targets):
        msg = f"{given} lists {len(sources)} swaths, {made} lists {len(targets)}"
        raise SceneError(msg, hint="both tab files need one line a swath, in the same order")
    read = {os.path.realpath(path) for row in sources for path in row.paths}
    written: set[str] = set()
    for path in (path for row in targets for path in row.paths):
        if (real := os.path.realpath(path)) in read or real in written:
            whose = "is also an input" if real in read else "is named twice"
            msg = f"{made}: {path} {whose}"
            raise SceneError(msg, hint="every output needs a file of its own")
        written.add(real)


def _check_spectrum(swath: GammaSwath, *, adds_ramp: bool) -> None:
    """Refuse samples that are deramped already, or, to put the ramp on, have it: their spectrum tells.

    A few columns of the middle burst decide; samples whose spectrum prefers neither (all zero, or noise) pass.
    """
    burst = swath.bursts[len(swath.bursts) // 2]
    lines, samples = burst.grid.shape
    image = np.memmap(swath.slc, swath.format.dtype, "r", shape=(swath.shape[0], samples, 2))
    first = max(0, (samples - _PROBE_SAMPLES) // 2)
    columns = slice(first, first + _PROBE_SAMPLES)
    parts = image[burst.first_line : burst.first_line + lines, columns].astype(np.float64)
    stored = parts[..., 0] + 1j * parts[..., 1]
    whole = find_deramp_terms(burst, swath.arc)
    terms = DerampTerms(k_t=whole.k_t[columns], f_dc=whole.f_dc[columns], eta_ref=whole.eta_ref[columns])
    deramped = stored * np.exp(1j * terms.phase(_find_eta(burst)))
    gain = _share_in_band(deramped, burst) - _share_in_band(stored, burst)
    if gain < -_LEAST_GAIN and not adds_ramp:
        msg = f"{swath.slc}: its samples are deramped already"
        raise SceneError(msg, hint="mode 1 puts the ramp back")
    if gain > _LEAST_GAIN and adds_ramp:
        msg = f"{swath.slc}: its samples have their ramp already"
        raise SceneError(msg, hint="mode 0 takes it off")


def _share_in_band(values: NDArray[np.complex128], burst: Burst) -> float:
    spectrum = np.abs(np.fft.fft(values, axis=0)) ** 2
    inside = np.abs(np.fft.fftfreq(len(values), burst.grid.line_interval_s)) <= burst.azimuth_bandwidth_hz / 2
    return float(spectrum[inside].sum() / max(float(spectrum.sum()), np.finfo(float).tiny))


def _find_eta(burst: Burst) -> NDArray[np.float64]:
    """Seconds of all lines from mid burst."""
    return np.asarray((np.arange(burst.grid.lines) - burst.grid.lines / 2) * burst.grid.line_interval_s)


def _write_swath(swath: GammaSwath, target: TabRow, *, adds_ramp: bool, keeps_phase: bool) -> SwathTerms:
    shown = []
    with ExitStack() as stack:
        source = stack.enter_context(swath.slc.open("rb"))
        slc, phase = create_samples(stack, target.slc, keeps_phase=keeps_phase)
        for burst in swath.bursts:
            terms = find_deramp_terms(burst, swath.arc)
            shown.append(describe_terms(burst, swath.arc, terms))
            blocks = iter_lines(source, burst.grid.lines, burst.grid.samples, swath.format)
            turn_burst(blocks, burst, terms, slc, phase=phase, direction=-1.0 if adds_ramp else 1.0)
    middle = swath.bursts[len(swath.bursts) // 2] if adds_ramp else None
    offsets = {
        f"burst_boffset_{burst.index + 1}": str(burst.first_line * burst.grid.samples * 8) for burst in swath.bursts
    }
    kind = SampleFormat.FCOMPLEX.value
    changed = {"image_format": kind, "doppler_polynomial": format_doppler(middle)}
    write_text(target.image, swath.image.replace(changed))
    write_text(target.tops, swath.tops.replace({"data_type": kind, **offsets}))
    return SwathTerms(slc=target.slc, bursts=tuple(shown))


def turn_burst(
    blocks: Iterable[NDArray[np.complex64]],
    burst: Burst,
    terms: DerampTerms,
    slc: IO[bytes],
    *,
    phase: IO[bytes] | None,
    direction: float,
) -> None:
    """Turn the lines of a burst and append them to a file, FCOMPLEX.

    Parameters
    ----------
    blocks : iterable of (lines, samples) complex64
        All lines of the burst in order; used up.
    burst, terms : Burst, DerampTerms
    slc, phase : binary files
        For the samples and, where wanted, for the ramp.
    direction : float
        1 deramps, -1 puts the ramp back.
    """
    eta, line = _find_eta(burst), 0
    for block in blocks:
        seconds = eta[line : line + len(block)]
        turn(block, seconds, terms.k_t, terms.f_dc, terms.eta_ref, direction, FCOMPLEX).tofile(slc)
        if phase is not None:
            find_ramp(seconds, terms).tofile(phase)
        line += len(block)
