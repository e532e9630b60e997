"""What to simulate: every choice in one frozen record, with presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from topsar.model import Direction
from topsar.simulate.mode import SWATHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """The ionosphere of a pass as slant group delay at the carrier, metres one way: the phase is early by as much.

    ``north_m`` and ``east_m`` are what it grows across the terrain, ``bump_m`` the height of a Gaussian hill of the
    radius ``bump_radius_m`` over its middle, ``turbulence_m`` the standard deviation of waves of 5 to 60 km. Its slopes
    shift the image along azimuth, as the satellite looks through it while it moves: the more the higher it lies,
    ``shell_m`` above the ground; 0 shifts nothing.
    """

    north_m: float = 0.0
    east_m: float = 0.0
    bump_m: float = 0.0
    bump_radius_m: float = 15_000.0
    turbulence_m: float = 0.0
    shell_m: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One pass of the track.

    Attributes
    ----------
    day : date
        UTC day; the time of day follows from the track.
    perpendicular_baseline_m : float
        From the first pass's track, at mid swath, positive where (ground - first) × (this - first) points along the
        flight direction.
    azimuth_shift_px, range_shift_px : float
        Timing biases: the image content lies this many lines and samples later than the annotation says.
    sync_s : float
        How much later the burst cycle runs than on the nominal burst grid.
    mission : str
    ionosphere : Screen
    swath_delays_m : tuple of (str, float)
        By how much one-way range the image content of some swaths lies later still; phases stay what they are.
    burst_phases_rad : tuple of (str, tuple of float)
        What the phases of the bursts of some swaths, in order, have too much.
    """

    day: date
    perpendicular_baseline_m: float = 0.0
    azimuth_shift_px: float = 0.0
    range_shift_px: float = 0.0
    sync_s: float = 0.0
    mission: str = "S1A"
    ionosphere: Screen = Screen()
    swath_delays_m: tuple[tuple[str, float], ...] = ()
    burst_phases_rad: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def find_delay_m(self, swath: str, spacing_m: float) -> float:
        """How much range the image content of a swath lies too late, m; samples are ``spacing_m`` apart."""
        return self.range_shift_px * spacing_m + dict(self.swath_delays_m).get(swath, 0.0)

    def find_phase_rad(self, swath: str, burst: int) -> float:
        """What the phase of a burst has too much, by its number in the swath from 0."""
        phases = dict(self.burst_phases_rad).get(swath, ())
        return phases[burst] if burst < len(phases) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathCut:
    """The part of a swath that is simulated: ``samples`` from ``first_sample`` of the full swath."""

    swath: str
    first_sample: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a simulated data set.

    Amplitudes: ``relief_m`` is the standard deviation of the heights; ``mogi_volume_m3`` and ``fault_slip_m`` are
    what happens between the first and the last day, linearly in time; ``turbulence_m`` is the standard deviation of
    the slant delay of each day; ``stratified_m_per_km`` that of the delay per kilometre of height.
    ``stable`` bounds the map of the share of scatterers that never change; the others are renewed at random with the
    time constant ``decorrelation_days``. ``scatterers`` are per DEM cell, north by east.
    ``doppler_hz`` is the standard deviation of the Doppler centroids of bursts.
    ``slices`` cuts every pass into so many products along the track; ``polarisations`` share the letter that is sent.
    """

    name: str
    acquisitions: tuple[Acquisition, ...]
    cuts: tuple[SwathCut, ...]
    bursts: int
    centre: tuple[float, float] = (37.2, 28.4)
    direction: Direction = Direction.ASCENDING
    track: int = 131
    slices: int = 1
    polarisations: tuple[str, ...] = ("VV",)
    ipf: str = "003.71"
    with_burst_id: bool = True
    zipped: bool = False
    seed: int = 20260107
    dem_posting_arcsec: int = 1
    dem_margin_deg: float = 0.05
    scatterers: tuple[int, int] = (3, 5)
    relief_m: float = 160.0
    water_share: float = 0.04
    mogi_volume_m3: float = 7e6
    mogi_depth_m: float = 4000.0
    fault_slip_m: float = 0.06
    fault_depth_m: float = 1500.0
    turbulence_m: float = 0.003
    stratified_m_per_km: float = 0.004
    stable: tuple[float, float] = (0.35, 0.98)
    decorrelation_days: float = 24.0
    nesz_db: float = -25.0
    doppler_hz: float = 6.0
    truth_step: int = 3


_TINY = Recipe(
    name="tiny",
    acquisitions=(
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(
            day=date(2025, 3, 15),
            perpendicular_baseline_m=60.0,
            azimuth_shift_px=0.004,
            range_shift_px=0.01,
            sync_s=1e-3,
        ),
    ),
    cuts=(SwathCut(swath="IW2", first_sample=12000, samples=1200),),
    bursts=2,
    relief_m=120.0,
    water_share=0.0,
    mogi_volume_m3=1e6,
    mogi_depth_m=2500.0,
)

_DEMO = Recipe(
    name="demo",
    acquisitions=(
        Acquisition(day=date(2025, 3, 3)),
        Acquisition(day=date(2025, 3, 15), perpendicular_baseline_m=74.0, azimuth_shift_px=0.003, sync_s=1.7e-3),
        Acquisition(day=date(2025, 3, 27), perpendicular_baseline_m=-41.0, azimuth_shift_px=-0.002, sync_s=-1.1e-3),
    ),
    cuts=(
        SwathCut(swath="IW1", first_sample=16640, samples=4000),
        SwathCut(swath="IW2", first_sample=0, samples=4500),
    ),
    bursts=3,
)


def _widen_demo(name: str, swaths: list[str], *, volume_m3: float, depth_m: float) -> Recipe:
    """Make a recipe of whole swaths, as many bursts as a product has, and coarser ground."""
    return replace(
        _DEMO,
        name=name,
        acquisitions=_DEMO.acquisitions[:2],
        cuts=tuple(SwathCut(swath=swath, first_sample=0, samples=SWATHS[swath].samples) for swath in swaths),
        bursts=9,
        dem_posting_arcsec=3,
        scatterers=(10, 15),
        mogi_volume_m3=volume_m3,
        mogi_depth_m=depth_m,
    )


_PRESETS = {
    "tiny": _TINY,
    "demo": _DEMO,
    "swath": _widen_demo("swath", ["IW2"], volume_m3=1e7, depth_m=8000.0),
    "frame": _widen_demo("frame", ["IW1", "IW2", "IW3"], volume_m3=2e7, depth_m=10000.0),
}


def recipe(name: str) -> Recipe:
    """A preset: ``tiny`` (seconds), ``demo`` (a minute), ``swath`` or ``frame`` (full width, for benchmarks)."""
    if name not in _PRESETS:
        msg = f"no recipe {name!r}; there are {', '.join(_PRESETS)}"
        raise ValueError(msg)
    return _PRESETS[name]
