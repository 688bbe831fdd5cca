"""The fleet register: one YAML file per fleet, its mistakes in one line each, and what follows for each battery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Annotated, Literal

import polars as pl
import xxhash
import yaml
from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from bess_pipeline.sources.source import Source
from bess_pipeline.sources.strict import Strict
from bess_pipeline.sources.terms import Economics, Warranty
from bess_pipeline.tables import catalog
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import Battery as BatteryRow
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.tables.telemetry import CELL_LISTS

ChemistryName = Literal["LFP", "NMC", "NCA", "LCO", "LTO", "lead_acid"]
Curve = tuple[tuple[float, float], ...]

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_POINTS_AT_LEAST = 3
_VOLTAGE_MAY_FALL_VOLT = 0.001

#: Capacity, of rated, at which life ends where the fleet states none [%].
_END_OF_LIFE_PERCENT = 80.0
#: Cell temperatures in operation where the fleet states none [°C]: the charging range of usual data sheets.
_TEMPERATURES: dict[str, tuple[float, float]] = {
    "LFP": (0.0, 45.0),
    "NMC": (0.0, 45.0),
    "NCA": (0.0, 45.0),
    "LCO": (0.0, 45.0),
    "LTO": (-30.0, 55.0),
    "lead_acid": (-20.0, 50.0),
}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Limits(Strict):
    """What a cell may be exposed to in operation: voltages [V], temperatures [°C]."""

    cell_voltage_min_volt: NotNegative | None = None
    cell_voltage_max_volt: Positive | None = None
    temperature_min_celsius: Finite | None = None
    temperature_max_celsius: Finite | None = None

    @model_validator(mode="after")
    def _min_below_max(self) -> Limits:
        for quantity, unit in (("cell_voltage", "volt"), ("temperature", "celsius")):
            low, high = (getattr(self, f"{quantity}_{end}_{unit}") for end in ("min", "max"))
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{quantity}_min_{unit} ({low}) must be below {quantity}_max_{unit} ({high})")
        return self


class BatteryPart(Strict):
    """What one battery has different from the others of its fleet: any part of the nameplate."""

    chemistry: ChemistryName | None = None
    rated_capacity_ah: Positive | None = None
    rated_energy_wh: Positive | None = None
    cells_in_series: Annotated[int, Field(ge=1)] | None = None
    resistance_ohm: Positive | None = None
    initial_equivalent_full_cycles: NotNegative | None = None
    end_of_life_percent: Annotated[float, Field(ge=1, le=100)] | None = None
    ocv_curve: str | None = None
    limits: Limits | None = None

    @field_validator("ocv_curve")
    @classmethod
    def _beside_the_file(cls, value: str | None) -> str | None:
        if value is not None and (PurePath(value).name != value or not value.endswith(".csv")):
            raise ValueError(f"{value!r} must be the name of a .csv file beside the fleet file")
        return value


class Battery(BatteryPart):
    """The nameplate that the batteries of a fleet share."""

    chemistry: ChemistryName
    rated_capacity_ah: Positive
    cells_in_series: Annotated[int, Field(ge=1)]

    def with_part(self, part: BatteryPart | None) -> Battery:
        """The nameplate of a battery that differs in a part.

        A rated energy that only the fleet states scales with capacity and cells, and is
        left to be derived where the chemistry is another.
        """
        if part is None:
            return self
        stated = part.model_dump(exclude_none=True, exclude={"limits"})
        limits = (self.limits or Limits()).model_copy(
            update=part.limits.model_dump(exclude_none=True) if part.limits else {}
        )
        battery = self.model_copy(update={**stated, "limits": limits})
        if part.rated_energy_wh is not None or self.rated_energy_wh is None:
            return battery
        if battery.chemistry != self.chemistry:
            return battery.model_copy(update={"rated_energy_wh": None})
        grown = battery.rated_capacity_ah * battery.cells_in_series / (self.rated_capacity_ah * self.cells_in_series)
        return battery.model_copy(update={"rated_energy_wh": self.rated_energy_wh * grown})


class Fleet(Strict):
    """One fleet as its YAML file describes it."""

    fleet_id: str
    name: str | None = None
    commissioned: date | None = None
    battery: Battery
    batteries: dict[str, BatteryPart] = Field(default_factory=dict)
    source: Source
    warranty: Warranty = Field(default_factory=Warranty)
    economics: Economics = Field(default_factory=Economics)

    _curves: dict[str, Curve] = PrivateAttr(default_factory=dict)
    _prices: str = PrivateAttr(default="")

    @field_validator("fleet_id")
    @classmethod
    def _safe(cls, value: str) -> str:
        if not _SAFE_NAME.fullmatch(value):
            raise ValueError(f"{value!r} may hold only letters, digits, '_' and '-'")
        return value

    @field_validator("batteries", "warranty", "economics", mode="before")
    @classmethod
    def _nothing_said(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _warranty_begins(self) -> Fleet:
        if not self.warranty.is_empty and self.warranty.starts_on is None and self.commissioned is None:
            raise ValueError("the warranty says nothing of its begin: give warranty.starts_on, or commissioned")
        return self

    @cached_property
    def source_version(self) -> str:
        """Fingerprint of how the files are read, and of what is kept of them."""
        return _digest([self.source.model_dump(mode="json", by_alias=True), catalog.shape("landing", per="fleet")])

    @cached_property
    def telemetry_version(self) -> str:
        """Fingerprint of everything telemetry rests on: nameplates, voltage curves, and how the files are read."""
        said = self.model_dump(mode="json", by_alias=True, include={"battery", "batteries", "source"})
        return _digest([said, self._curves, catalog.shape("bronze", "silver", "evidence", per="fleet_day")])

    @cached_property
    def terms_version(self) -> str:
        """Fingerprint of what was agreed and assumed, on which tables of the fleet rest, and none of its days."""
        said = self.model_dump(mode="json", include={"commissioned", "warranty", "economics"})
        return _digest([said, self._prices] if self._prices else said)

    @cached_property
    def register_version(self) -> str:
        """Fingerprint of the whole entry."""
        return _digest([self.model_dump(mode="json", by_alias=True), self._curves])

    @property
    def curve_files(self) -> list[str]:
        """The files with open-circuit voltage curves that the fleet names, in order."""
        named = {part.ocv_curve for part in (self.battery, *self.batteries.values())}
        return sorted(name for name in named if name is not None)

    def with_curves(self, curves: Mapping[str, Curve]) -> Fleet:
        """The same fleet, knowing the content of the curve files it names."""
        fleet = self.model_copy()
        fleet._curves = {name: tuple(points) for name, points in sorted(curves.items())}  # noqa: SLF001 - a copy of self
        return fleet

    def with_prices(self, file: Path) -> Fleet:
        """The same fleet, knowing which content its file of prices has.

        One that cannot be read stops none of the fleet's telemetry: the step that reads prices says why.
        """
        try:
            version = xxhash.xxh3_64_hexdigest(file.read_bytes())
        except OSError as broken:
            version = f"{type(broken).__name__} {broken.errno}"
        fleet = self.model_copy()
        fleet._prices = version  # noqa: SLF001 - a copy of self
        return fleet

    def nameplate(self, battery_id: str) -> Battery:
        """The nameplate of one battery."""
        return self.battery.with_part(self.batteries.get(battery_id))

    def curve(self, battery_id: str) -> Curve:
        """Points (state of charge [%], open-circuit voltage per cell [V]) of one battery.

        Raises:
            LookupError: If the fleet names a curve file that has not been read.
        """
        nameplate = self.nameplate(battery_id)
        if nameplate.ocv_curve is None:
            return CHEMISTRY[nameplate.chemistry].ocv
        if nameplate.ocv_curve not in self._curves:
            raise LookupError(f"{self.fleet_id}: the curve file {nameplate.ocv_curve} has not been read")
        return self._curves[nameplate.ocv_curve]


@dataclass(frozen=True)
class Register:
    """All fleets, and what is wrong with the files that describe none.

    Attributes:
        fleets: Fleet id → fleet, in order.
        mistakes: File name → what is wrong with it, a line each.
    """

    fleets: dict[str, Fleet] = field(default_factory=dict)
    mistakes: dict[str, list[str]] = field(default_factory=dict)


class _MistakenError(Exception):
    """A file of the register that cannot be used, with a line per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read_register(folder: Path, only: str | None = None) -> Register:
    """Read all fleet files of a folder; a file with mistakes stops no other.

    Args:
        folder: The folder of ``<fleet_id>.yaml`` files; one that is not there is an empty register.
        only: The fleet whose files alone are read, if not all are wanted.
    """
    register = Register()
    for path in sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.yml")):
        if path.name.startswith(".") or only not in {None, path.stem}:
            continue
        try:
            fleet = _fleet(path)
        except _MistakenError as mistaken:
            register.mistakes[path.name] = mistaken.lines
        else:
            register.fleets[fleet.fleet_id] = fleet
    return Register(dict(sorted(register.fleets.items())), dict(sorted(register.mistakes.items())))


def nameplates(fleet: Fleet, battery_ids: Iterable[str], *, sampling: Literal["instant", "mean"]) -> pl.DataFrame:
    """The nameplates of batteries, with what their chemistry implies where the fleet states nothing.

    Args:
        fleet: The fleet.
        battery_ids: Its batteries.
        sampling: Whether values are those of their instant or means of their interval.

    Returns:
        `Battery` rows, in order of the batteries.
    """
    rows = []
    for battery_id in sorted(set(battery_ids)):
        plate = fleet.nameplate(battery_id)
        chemistry = CHEMISTRY[plate.chemistry]
        limits = plate.limits or Limits()
        coldest, hottest = _TEMPERATURES[plate.chemistry]
        derived_wh = plate.rated_capacity_ah * plate.cells_in_series * chemistry.nominal_cell_volt
        rows.append(
            {
                "fleet_id": fleet.fleet_id,
                "battery_id": battery_id,
                "chemistry": plate.chemistry,
                "rated_capacity_ah": plate.rated_capacity_ah,
                "rated_energy_wh": _stated(plate.rated_energy_wh, derived_wh),
                "cells_in_series": plate.cells_in_series,
                "resistance_ohm": plate.resistance_ohm,
                "initial_equivalent_full_cycles": _stated(plate.initial_equivalent_full_cycles, 0.0),
                "end_of_life_percent": _stated(plate.end_of_life_percent, _END_OF_LIFE_PERCENT),
                "cell_voltage_low_volt": _stated(limits.cell_voltage_min_volt, chemistry.cell_voltage_low_volt),
                "cell_voltage_high_volt": _stated(limits.cell_voltage_max_volt, chemistry.cell_voltage_high_volt),
                "temperature_low_celsius": _stated(limits.temperature_min_celsius, coldest),
                "temperature_high_celsius": _stated(limits.temperature_max_celsius, hottest),
                "sampling": sampling,
                **_components(fleet),
            }
        )
    return BatteryRow.validate(pl.DataFrame(rows, schema=BatteryRow.create_empty().schema))


def ocv_curves(fleet: Fleet, battery_ids: Iterable[str]) -> pl.DataFrame:
    """The open-circuit voltage curves of batteries, per cell: the fleet's own, or the built-in one of the chemistry.

    Returns:
        `OcvPoint` rows, in order of battery and state of charge.
    """
    rows = [
        (fleet.fleet_id, battery_id, soc, volt)
        for battery_id in sorted(set(battery_ids))
        for soc, volt in fleet.curve(battery_id)
    ]
    return OcvPoint.validate(pl.DataFrame(rows, schema=OcvPoint.create_empty().schema, orient="row"))


def _components(fleet: Fleet) -> dict[str, str | int]:
    """What cells and probes are called in the fleet's files; nothing for a fleet without any."""
    cells = fleet.source.cells
    if cells is None:
        return {}
    patterns = cells.patterns()
    named = zip(("cell_component", "probe_component"), CELL_LISTS, strict=True)
    return {column: patterns[house].from_ for column, house in named if house in patterns} | {
        "first_component": cells.first
    }


def _stated(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _digest(said: object) -> str:
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(canonical.encode())


@cache
def _said(text: str) -> object:
    """What a file says; to be read only, for the same text is asked for hundreds of times in a run."""
    return yaml.safe_load(text)


def _fleet(path: Path) -> Fleet:
    try:
        said = _said(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as broken:
        reason = " ".join(str(broken).split())
        raise _MistakenError([f"{path.name}: is not readable as YAML: {reason}"]) from None
    if not isinstance(said, dict):
        raise _MistakenError([f"{path.name}: must hold fields such as fleet_id, battery and source"])
    try:
        fleet = Fleet.model_validate(said)
    except ValidationError as invalid:
        raise _MistakenError([_line(path.name, error) for error in invalid.errors()]) from None
    if fleet.fleet_id != path.stem or path.suffix != ".yaml":
        raise _MistakenError(
            [f"{path.name}: fleet_id: a fleet {fleet.fleet_id!r} is described by {fleet.fleet_id}.yaml"]
        )
    curves: dict[str, Curve] = {}
    lines: list[str] = []
    for name in fleet.curve_files:
        try:
            curves[name] = _curve(path.parent / name)
        except ValueError as wrong:
            lines.append(f"{path.name}: {_field_of_curve(fleet, name)}: {name}: {wrong}")
    if lines:
        raise _MistakenError(lines)
    if (prices := fleet.economics.prices) is not None:
        fleet = fleet.with_prices(path.parent / prices.file)
    return _with_sound_limits(path.name, fleet.with_curves(curves))


def _with_sound_limits(file: str, fleet: Fleet) -> Fleet:
    """The fleet, once each nameplate with its parts and defaults put together makes sense."""
    lines = []
    for battery_id in (None, *sorted(fleet.batteries)):
        plate = fleet.battery if battery_id is None else fleet.nameplate(battery_id)
        chemistry, limits = CHEMISTRY[plate.chemistry], plate.limits or Limits()
        coldest, hottest = _TEMPERATURES[plate.chemistry]
        where = "battery.limits" if battery_id is None else f"batteries.{battery_id}.limits"
        for name, low, high in (
            (
                "cell voltage",
                _stated(limits.cell_voltage_min_volt, chemistry.cell_voltage_low_volt),
                _stated(limits.cell_voltage_max_volt, chemistry.cell_voltage_high_volt),
            ),
            (
                "temperature",
                _stated(limits.temperature_min_celsius, coldest),
                _stated(limits.temperature_max_celsius, hottest),
            ),
        ):
            if low >= high:
                lines.append(f"{file}: {where}: the lowest {name} ({low}) must be below the highest ({high})")
    if lines:
        raise _MistakenError(lines)
    return fleet


def _field_of_curve(fleet: Fleet, name: str) -> str:
    if fleet.battery.ocv_curve == name:
        return "battery.ocv_curve"
    owner = min(battery_id for battery_id, part in fleet.batteries.items() if part.ocv_curve == name)
    return f"batteries.{owner}.ocv_curve"


def _curve(path: Path) -> Curve:
    try:
        return _points(path.read_bytes())
    except (pl.exceptions.PolarsError, OSError) as broken:
        reason = str(broken).splitlines()[0] if path.exists() else "there is no such file beside the fleet file"
        raise ValueError(reason) from None


@cache
def _points(content: bytes) -> Curve:
    """The points that a curve file of this content has: it, too, is asked for hundreds of times in a run."""
    table = pl.read_csv(content, schema_overrides={"soc_percent": pl.Float64, "ocv_volt": pl.Float64})
    if {"soc_percent", "ocv_volt"} - set(table.columns):
        raise ValueError("needs the columns soc_percent and ocv_volt")
    points = table.select("soc_percent", "ocv_volt")
    finite = points.select(pl.all_horizontal(pl.all().is_finite().fill_null(value=False)).all()).item()
    if points.height < _POINTS_AT_LEAST or not finite:
        raise ValueError(f"needs at least {_POINTS_AT_LEAST} points, and a number in every field")
    if not points["soc_percent"].is_between(0, 100).all():
        raise ValueError("soc_percent must lie between 0 and 100")
    if not (points["soc_percent"].diff().drop_nulls() > 0).all():
        raise ValueError("soc_percent must rise from row to row")
    if not (points["ocv_volt"].diff().drop_nulls() >= -_VOLTAGE_MAY_FALL_VOLT).all():
        raise ValueError("ocv_volt must not fall by more than 1 mV from row to row")
    return tuple(points.iter_rows())


def _line(file: str, error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"])
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        message = "is not a field that is known here"
    elif kind == "missing":
        message = "is missing"
    elif kind == "value_error":
        message = message.removeprefix("Value error, ")
    else:
        message = f"{message[0].lower()}{message[1:]}, got {error['input']!r}"
    return f"{file}: {where}: {message}"
