"""What a fleet file says of warranty and money: terms, numbers with their source and date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import PurePath
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator

from bess_pipeline.sources.strict import Strict
from bess_pipeline.tables.lifecycle import Assumption

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(gt=0, le=100)]

#: Number of a fleet file → its unit.
UNITS: dict[str, str] = {
    "starts_on": "",
    "years": "a",
    "soh_by_years": "%",
    "soh_by_equivalent_full_cycles": "%",
    "equivalent_full_cycles": "1",
    "equivalent_full_cycles_per_year": "1/a",
    "discharged_energy_mwh": "MWh",
    "soc_low": "%",
    "soc_high": "%",
    "temperature_low": "°C",
    "temperature_high": "°C",
    "charging_rate": "C",
    "discharging_rate": "C",
    "grace_minutes": "min",
    "rest_minutes": "min",
    "rest_days": "d",
    "round_trip_efficiency_percent": "%",
    "availability_percent": "%",
    "availability_points_per_point": "1",
    "availability_exclusion": "",
    "replacement_cost_per_kwh": "{currency}/kWh",
    "discount_rate_percent": "%/a",
    "operating_cost_per_kwh_year": "{currency}/(kWh·a)",
    "energy_margin_per_mwh": "{currency}/MWh",
    "contracted_energy_mwh": "MWh",
    "contract_floor_percent": "%",
    "contract_years": "a",
    "augmentation_cost_per_kwh": "{currency}/kWh",
    "augmentation_fade_percent_per_year": "%/a",
    "residual_value_percent": "%",
    "power_kw": "kW",
    "module_cost_percent": "%",
    "cooling_cost_per_kelvin_kwh_year": "{currency}/(K·kWh·a)",
    "prices": "",
}


#: What is taken for a number of the economics that is needed and not stated.
ASSUMED: dict[str, float] = {
    "operating_cost_per_kwh_year": 0.0,
    "augmentation_fade_percent_per_year": 2.0,
    "residual_value_percent": 0.0,
    "contract_floor_percent": 100.0,
    "contract_years": 10.0,
}


def _as_stated(said: object) -> object:
    return {"value": said} if isinstance(said, int | float) and not isinstance(said, bool) else said


class StatedNumber(Strict):
    """A number with who says so, and when; a number alone is one that nobody stands for."""

    value: Finite
    source: str | None = None
    stated_on: date | None = None


Stated = Annotated[StatedNumber, BeforeValidator(_as_stated)]


class Span(Strict):
    """A lowest and a highest value, either of which may be open."""

    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _min_below_max(self) -> Span:
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be below max ({self.max})")
        return self


class Rest(Strict):
    """An uninterrupted rest of so many minutes at least once in so many days."""

    minutes: Positive
    days: Annotated[int, Field(ge=1, le=366)] = 1


class Exclusion(Strict):
    """Days that availability does not count, and why."""

    first: date
    last: date
    reason: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _forwards(self) -> Exclusion:
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) must not be before first ({self.first})")
        return self


class AvailabilityTerm(Strict):
    """What the supplier guarantees of availability, and how many points each missing one costs."""

    percent: Percent
    points_per_point: NotNegative = 1.0
    exclusions: list[Exclusion] = Field(default_factory=list)


class Warranty(Strict):
    """The warranty of each battery of a fleet."""

    starts_on: date | None = None
    years: Positive | None = None
    soh_by_years: list[tuple[NotNegative, Percent]] | None = None
    soh_by_equivalent_full_cycles: list[tuple[NotNegative, Percent]] | None = None
    equivalent_full_cycles: Positive | None = None
    equivalent_full_cycles_per_year: Positive | None = None
    discharged_energy_mwh: Positive | None = None
    soc_percent: Span | None = None
    temperature_celsius: Span | None = None
    charging_c_rate: Positive | None = None
    discharging_c_rate: Positive | None = None
    grace_minutes: NotNegative = 0.0
    rest: Rest | None = None
    round_trip_efficiency_percent: Percent | None = None
    availability: AvailabilityTerm | None = None
    source: str | None = None
    stated_on: date | None = None

    @field_validator("soh_by_years", "soh_by_equivalent_full_cycles")
    @classmethod
    def _falls(cls, points: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        if points is None:
            return None
        if len(points) < 2:
            raise ValueError("needs two points at least, such as [[0, 100], [10, 70]]")
        for (at, soh), (next_at, next_soh) in pairwise(points):
            if next_at <= at or next_soh > soh:
                raise ValueError("its points must come in order, and what is guaranteed must not rise")
        return points

    @model_validator(mode="after")
    def _ends(self) -> Warranty:
        if not self.is_empty and self.years is None and self.soh_by_years is None:
            raise ValueError("says nothing of how long it lasts: give years")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether nothing was agreed."""
        return not self.model_dump(exclude_defaults=True)

    def numbers(self) -> Iterator[dict[str, Any]]:
        """Each number as a row, without its fleet."""
        span = {"soc": self.soc_percent, "temperature": self.temperature_celsius}
        single: dict[str, float | None] = {
            "years": self.years,
            "equivalent_full_cycles": self.equivalent_full_cycles,
            "equivalent_full_cycles_per_year": self.equivalent_full_cycles_per_year,
            "discharged_energy_mwh": self.discharged_energy_mwh,
            **{f"{name}_low": of.min for name, of in span.items() if of is not None},
            **{f"{name}_high": of.max for name, of in span.items() if of is not None},
            "charging_rate": self.charging_c_rate,
            "discharging_rate": self.discharging_c_rate,
            "grace_minutes": self.grace_minutes,
            "round_trip_efficiency_percent": self.round_trip_efficiency_percent,
        }
        if self.rest is not None:
            single |= {"rest_minutes": self.rest.minutes, "rest_days": float(self.rest.days)}
        if self.availability is not None:
            single["availability_percent"] = self.availability.percent
            single["availability_points_per_point"] = self.availability.points_per_point
        said = {"source": self.source, "stated_on": self.stated_on}
        yield from ({"name": name, "value": value, **said} for name, value in single.items() if value is not None)
        curves = {
            "soh_by_years": self.soh_by_years,
            "soh_by_equivalent_full_cycles": self.soh_by_equivalent_full_cycles,
        }
        for name, points in curves.items():
            for position, (at, value) in enumerate(points or ()):
                yield {"name": name, "position": position, "curve_at": at, "value": value, **said}
        if self.starts_on is not None:
            yield {"name": "starts_on", "first_day": self.starts_on, **said}
        for position, one in enumerate(self.availability.exclusions if self.availability else ()):
            yield {
                "name": "availability_exclusion",
                "position": position,
                "first_day": one.first,
                "last_day": one.last,
                "source": one.reason,
                "stated_on": self.stated_on,
            }


class Prices(Strict):
    """A file of prices beside the fleet file: what a MWh costs in each delivery period."""

    file: str
    timezone: str = "UTC"
    source: str | None = None
    stated_on: date | None = None

    @field_validator("file")
    @classmethod
    def _beside_the_file(cls, value: str) -> str:
        if PurePath(value).name != value or not value.endswith((".csv", ".parquet")):
            raise ValueError(f"{value!r} must be the name of a .csv or .parquet file beside the fleet file")
        return value

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (LookupError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone such as Europe/Berlin") from None
        return value


class Economics(Strict):
    """What money a fleet earns and costs: each number may come with its source and date."""

    currency: Annotated[str, Field(min_length=1, max_length=12)] = "money"
    replacement_cost_per_kwh: Stated | None = None
    discount_rate_percent: Stated | None = None
    operating_cost_per_kwh_year: Stated | None = None
    energy_margin_per_mwh: Stated | None = None
    contracted_energy_mwh: Stated | None = None
    contract_floor_percent: Stated | None = None
    contract_years: Stated | None = None
    augmentation_cost_per_kwh: Stated | None = None
    augmentation_fade_percent_per_year: Stated | None = None
    residual_value_percent: Stated | None = None
    power_kw: Stated | None = None
    module_cost_percent: Stated | None = None
    cooling_cost_per_kelvin_kwh_year: Stated | None = None
    prices: Prices | None = None

    @model_validator(mode="after")
    def _possible(self) -> Economics:
        above = ("replacement_cost_per_kwh", "contracted_energy_mwh", "contract_years", "power_kw")
        shares = (
            "contract_floor_percent",
            "residual_value_percent",
            "augmentation_fade_percent_per_year",
            "module_cost_percent",
        )
        for name, number in self._stated():
            if name in above and number.value <= 0:
                raise ValueError(f"{name} ({number.value:g}) must be above 0")
            if name in shares and not 0 <= number.value <= 100:
                raise ValueError(f"{name} ({number.value:g}) must lie between 0 and 100")
            if name == "discount_rate_percent" and number.value <= -100:
                raise ValueError(f"discount_rate_percent ({number.value:g}) must be above -100")
        return self

    def _stated(self) -> Iterator[tuple[str, StatedNumber]]:
        for name in type(self).model_fields:
            number = getattr(self, name)
            if isinstance(number, StatedNumber):
                yield name, number

    def numbers(self) -> Iterator[dict[str, Any]]:
        """Each number as a row, without its fleet; where any is stated, those that are assumed as well."""
        stated = dict(self._stated())
        assumed = {name: value for name, value in ASSUMED.items() if stated and name not in stated}
        for name, value in assumed.items():
            yield {
                "name": name,
                "value": value,
                "unit": self._unit(name),
                "source": "assumed: the fleet file does not say",
            }
        for name, number in stated.items():
            said = {"source": number.source, "stated_on": number.stated_on}
            yield {"name": name, "value": number.value, "unit": self._unit(name), **said}
        if self.prices is not None:
            source = self.prices.source or f"{self.prices.file}, {self.prices.timezone}"
            yield {"name": "prices", "source": source, "stated_on": self.prices.stated_on}

    def _unit(self, name: str) -> str:
        return UNITS[name].format(currency=self.currency)


def assumptions(
    fleet_id: str, warranty: Warranty, commissioned: date | None, economics: Economics | None = None
) -> pl.DataFrame:
    """All numbers that a fleet's warranty and its economics rest on.

    Args:
        fleet_id: The fleet.
        warranty: Its warranty; one that says nothing has no rows.
        commissioned: The day on which the fleet was commissioned, on which a warranty begins that does not say when.
        economics: What it earns and costs.

    Returns:
        `Assumption` rows, sorted.
    """
    rows = [] if warranty.is_empty else list(warranty.numbers())
    if rows and warranty.starts_on is None and commissioned is not None:
        rows.append({"name": "starts_on", "first_day": commissioned, "source": "commissioned"})
    rows += economics.numbers() if economics else ()
    whole = [{"fleet_id": fleet_id, "position": 0, "unit": UNITS[row["name"]], **row} for row in rows]
    return (
        pl.DataFrame(whole, schema=Assumption.create_empty().schema).sort("name", "position").pipe(Assumption.validate)
    )
