"""What to simulate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, get_args

ChemistryName = Literal["LFP", "NMC"]
ProfileName = Literal["arbitrage", "pv", "frequency", "peak_shaving", "reserve"]

#: Battery faults that can be planted.
FAULTS = (
    "isc",
    "weak_cell",
    "cooling",
    "conn_res",
    "contactor_res",
    "current_drift",
    "temp_drift",
    "capacity_drop",
    "knee",
    "tr_precursor",
)


@dataclass(frozen=True)
class Plan:
    """A synthetic fleet, down to the last digit: the same plan gives the same fleet.

    Attributes:
        fleet_id: Name of the fleet; batteries are called ``<FLEET_ID>-R00`` and so on.
        batteries: How many batteries.
        days: How many UTC days.
        seed: Another seed, another fleet.
        interval_seconds: Time from sample to sample [s]; a divisor of an hour.
        chemistry: Chemistry of the cells.
        profile: What the batteries are used for.
        start: First UTC day.
        faults: Battery faults to plant, each on a battery of its own; nothing means a third of the batteries.
        data_faults: Whether telemetry is delivered with the faults that data have in life.
        data_fault_rates: Kinds of them that come more, or less, often than usual: kind → faults in 30 days, per
            battery or, of those of a site, per site.

    Raises:
        ValueError: If the plan cannot be carried out, with the field that is wrong.
    """

    fleet_id: str
    batteries: int = 8
    days: int = 60
    seed: int = 0
    interval_seconds: int = 60
    chemistry: ChemistryName = "LFP"
    profile: ProfileName = "arbitrage"
    start: date = date(2025, 1, 1)
    faults: tuple[str, ...] | None = None
    data_faults: bool = True
    data_fault_rates: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.batteries < 1 or self.days < 1:
            raise ValueError(f"batteries and days must be positive, got {self.batteries} and {self.days}")
        if self.interval_seconds < 1 or 3600 % self.interval_seconds:
            raise ValueError(f"interval_seconds must divide an hour, got {self.interval_seconds}")
        if self.chemistry not in get_args(ChemistryName):
            raise ValueError(f"chemistry must be one of {get_args(ChemistryName)}, got {self.chemistry}")
        if self.profile not in get_args(ProfileName):
            raise ValueError(f"profile must be one of {get_args(ProfileName)}, got {self.profile}")
        unknown = set(self.faults or ()) - set(FAULTS)
        if unknown:
            raise ValueError(f"faults must be of {FAULTS}, got {sorted(unknown)}")
        if len(self.faults or ()) > self.batteries:
            raise ValueError(f"{len(self.faults or ())} faults need as many batteries, got {self.batteries}")

    @property
    def steps_per_day(self) -> int:
        """Samples of a battery in a day."""
        return 86400 // self.interval_seconds

    @property
    def steps(self) -> int:
        """Samples of a battery in all days."""
        return self.steps_per_day * self.days

    @property
    def start_time(self) -> datetime:
        """Instant of the first sample [UTC]."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)

    def battery_id(self, number: int) -> str:
        """Name of a battery, unique over fleets."""
        return f"{self.fleet_id.upper()}-R{number:02d}"
