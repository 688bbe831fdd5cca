"""How a fleet's files are read: format, time zone, and which column of theirs is which of ours."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.units import conversion

#: House columns that a source may bring.
HOUSE_COLUMNS = ("timestamp", "battery_id", *MEASUREMENTS, "status")

TimeUnit = Literal["s", "ms", "us", "ns"]


class Strict(BaseModel):
    """What a fleet file may say; anything else in it is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def _long_form(value: object) -> object:
    """``voltage_volt: U`` stands for ``voltage_volt: {from: U}``."""
    return {"from": value} if isinstance(value, str) else value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, (str, int)) else value


class TextColumn(Strict):
    """A text taken from one column of the file."""

    from_: str = Field(alias="from", min_length=1)


class QuantityColumn(TextColumn):
    """A measurement taken from one column of the file, in a unit."""

    unit: str | None = None


class SignedColumn(QuantityColumn):
    """A measurement whose sign tells charging from discharging."""

    positive: Literal["charge", "discharge"] = "charge"


class BatteryColumn(Strict):
    """The battery's name: from one column, from several joined by ``/``, or one value for all rows."""

    from_: Annotated[tuple[str, ...] | None, BeforeValidator(_as_list)] = Field(default=None, alias="from")
    value: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> BatteryColumn:
        if bool(self.from_) == (self.value is not None):
            raise ValueError("give either from (a column or a list of columns) or value")
        return self


class TimeColumn(TextColumn):
    """The time: text in a format, ISO 8601 when none is given, or a count of units since an origin."""

    format: str | None = None
    unit: TimeUnit | None = None
    origin: datetime | None = None

    @field_validator("origin", mode="before")
    @classmethod
    def _day_as_instant(cls, value: object) -> object:
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive means in the source's zone
        return value

    @field_validator("format")
    @classmethod
    def _reads_times(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "%s" in value:
            raise ValueError("use unit: s for seconds since 1970")
        pattern = chrono_format(value)
        if re.search(r"(?<!\.)%f", value.replace(",%f", ".%f")):
            raise ValueError("%f stands after a dot or a comma")
        if value.find(",") < value.find(",%f"):
            raise ValueError("the comma before %f must be the first")
        probe = datetime(2024, 2, 3, 16, 5, tzinfo=UTC)
        written = pl.Series([probe]).dt.strftime(pattern)
        read = written.str.to_datetime(pattern, time_unit="us", strict=False).dt.replace_time_zone("UTC").item()
        if read != probe:
            raise ValueError(f"{value!r} does not hold a full time (year, month, day, hour, minute)")
        return value

    @model_validator(mode="after")
    def _text_or_count(self) -> TimeColumn:
        if self.format is not None and self.unit is not None:
            raise ValueError("give either format (a text) or unit (a count), not both")
        if self.origin is not None and self.unit is None:
            raise ValueError("origin needs the unit of the count: s, ms, us or ns")
        return self


def chrono_format(python_format: str) -> str:
    """A strftime format as Polars reads it: fractions of a second are ``%.f`` there.

    Examples:
        >>> chrono_format("%d.%m.%Y %H:%M:%S.%f")
        '%d.%m.%Y %H:%M:%S%.f'
    """
    return python_format.replace(",%f", "%.f").replace(".%f", "%.f")


_Text = Annotated[TextColumn | None, BeforeValidator(_long_form)]
_Quantity = Annotated[QuantityColumn | None, BeforeValidator(_long_form)]
_Signed = Annotated[SignedColumn | None, BeforeValidator(_long_form)]


class Columns(Strict):
    """House name: where it comes from."""

    timestamp: Annotated[TimeColumn | None, BeforeValidator(_long_form)] = None
    battery_id: Annotated[BatteryColumn | None, BeforeValidator(_long_form)] = None
    voltage_volt: _Quantity = None
    current_ampere: _Signed = None
    power_watt: _Signed = None
    temperature_celsius: _Quantity = None
    temperature_min_celsius: _Quantity = None
    temperature_max_celsius: _Quantity = None
    cell_voltage_min_volt: _Quantity = None
    cell_voltage_max_volt: _Quantity = None
    soc_bms_percent: _Quantity = None
    soh_bms_percent: _Quantity = None
    ambient_temperature_celsius: _Quantity = None
    power_ac_watt: _Signed = None
    auxiliary_power_watt: _Quantity = None
    status: _Text = None

    @field_validator(*MEASUREMENTS)
    @classmethod
    def _unit_is_known(cls, value: QuantityColumn | None, info: ValidationInfo) -> QuantityColumn | None:
        if value is not None:
            conversion(str(info.field_name), value.unit)
        return value

    @model_validator(mode="after")
    def _enough(self) -> Columns:
        if self.under_house_names:
            return self
        missing = [name for name in ("timestamp", "battery_id") if getattr(self, name) is None]
        if self.power_watt is None and (self.voltage_volt is None or self.current_ampere is None):
            missing.append("voltage_volt with current_ampere, or power_watt,")
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be mapped too")
        return self

    @property
    def under_house_names(self) -> bool:
        """Whether the file's columns already have house names: nothing but the battery is mapped."""
        return not self.model_fields_set - {"battery_id"}


class Source(Strict):
    """Where a fleet's telemetry comes from and how it is read."""

    files: str = Field(default="**/*", min_length=1)
    format: Literal["csv", "parquet", "ndjson"]
    separator: str = Field(default=",", min_length=1, max_length=1)
    decimal_comma: bool = False
    layout: Literal["wide"] = "wide"
    sampling: Literal["instant", "mean"] | None = None
    timezone: str = "UTC"
    columns: Columns = Columns()

    @field_validator("files")
    @classmethod
    def _below_the_folder(cls, value: str) -> str:
        if "://" in value:
            raise ValueError("addresses on the network are not supported yet; deliver the files to the landing folder")
        if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
            raise ValueError("must be a pattern below the fleet's landing folder")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone; use a name such as Europe/Berlin") from None
        return value

    @field_validator("separator")
    @classmethod
    def _separates(cls, value: str) -> str:
        if value in '"\n\r' or value.isalnum():
            raise ValueError("must be a character that stands between fields, such as ';' or a tab")
        return value

    @field_validator("layout", mode="before")
    @classmethod
    def _wide(cls, value: object) -> object:
        if value == "long":
            raise ValueError("long is not supported yet; deliver one column per measurement (wide)")
        return value

    @model_validator(mode="after")
    def _csv_only(self) -> Source:
        if self.format != "csv" and self.model_fields_set & {"separator", "decimal_comma"}:
            raise ValueError("separator and decimal_comma are for csv only")
        return self

    @cached_property
    def mapping(self) -> dict[str, TextColumn | BatteryColumn]:
        """House column → where it comes from, in house order; house names where the file uses them."""
        given = self.columns
        if not given.under_house_names:
            return {name: spec for name in HOUSE_COLUMNS if (spec := getattr(given, name)) is not None}
        kinds: dict[str, Any] = {"timestamp": TimeColumn, "status": TextColumn}
        own: dict[str, TextColumn | BatteryColumn] = {
            name: kinds.get(name, SignedColumn)(**{"from": name}) for name in HOUSE_COLUMNS if name != "battery_id"
        }
        return own | {"battery_id": given.battery_id or BatteryColumn.model_validate({"from": "battery_id"})}
