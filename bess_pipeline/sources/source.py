"""How a fleet's files are read: format, time zone, and which column of theirs is which of ours."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from bess_pipeline.sources.cells import Cells
from bess_pipeline.sources.delimited import BLANKS
from bess_pipeline.sources.presets import Preset, with_preset
from bess_pipeline.sources.strict import Strict
from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.units import conversion

#: House columns that a source may bring.
HOUSE_COLUMNS = ("timestamp", "battery_id", *MEASUREMENTS, "status")

#: Scale factors are powers of ten from minus this to this, as in SunSpec's models.
MOST_POWER = 10

TimeUnit = Literal["s", "ms", "us", "ns", "min", "h", "d", "duration"]
Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "cp437", "gb18030", "shift_jis"]


def _long_form(value: object) -> object:
    """``voltage_volt: U`` stands for ``voltage_volt: {from: U}``."""
    return {"from": value} if isinstance(value, str) else value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, (str, int)) else value


def _first_of(value: object) -> object:
    """A list of ways to tell the time, the first that a file has counts, as one with the next in ``else``."""
    if not isinstance(value, list):
        return _long_form(value)
    if not value or not all(isinstance(one, dict) for one in value):
        raise ValueError(
            "a list holds ways to tell the time, each with its from; columns that go together: from: [a, b]"
        )
    first, *others = value
    return {**first, "else": others} if others else first


class TextColumn(Strict):
    """A text taken from one column of the file: the first of several names that the file has."""

    from_: str = Field(alias="from", min_length=1)
    or_: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(default=(), alias="or")

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the column may have in the file, the first that is there counts."""
        return (self.from_, *self.or_)

    @property
    def beside(self) -> tuple[str, ...]:
        """Other columns of the file that the value needs."""
        return ()


class QuantityColumn(TextColumn):
    """A measurement taken from one column of the file, in a unit.

    ``scale_factor`` is a power of ten that the number is multiplied by: a whole number, or a column that holds
    it. ``sentinels`` are numbers, as the file has them, that stand for an unknown value.
    """

    unit: str | None = None
    scale_factor: int | str | None = None
    sentinels: tuple[float, ...] = ()

    @property
    def beside(self) -> tuple[str, ...]:
        """The column that holds the power of ten."""
        return (self.scale_factor,) if isinstance(self.scale_factor, str) else ()

    @field_validator("scale_factor")
    @classmethod
    def _is_a_power(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and abs(value) > MOST_POWER:
            raise ValueError(f"must be a whole number from -{MOST_POWER} to {MOST_POWER}, or the name of a column")
        return value


class Discharging(Strict):
    """A column that says when a battery is discharged, where numbers have no sign."""

    from_: str = Field(alias="from", min_length=1)
    values: tuple[str, ...] = Field(min_length=1)


class SignedColumn(QuantityColumn):
    """A measurement whose sign tells charging from discharging, or another column does."""

    positive: Literal["charge", "discharge"] = "charge"
    discharge: Discharging | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns that hold the power of ten and the direction."""
        return (*super().beside, *(() if self.discharge is None else (self.discharge.from_,)))

    @model_validator(mode="after")
    def _one_sign(self) -> SignedColumn:
        if self.discharge is not None and self.positive == "discharge":
            raise ValueError("give either positive: discharge or the column that says when, not both")
        return self


class BatteryColumn(Strict):
    """The battery's name: from columns, joined by ``/``, from the name of the file, or one value for all rows."""

    from_: Annotated[tuple[str, ...] | None, BeforeValidator(_as_list)] = Field(default=None, alias="from")
    value: str | None = Field(default=None, min_length=1)
    path: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_three(self) -> BatteryColumn:
        if bool(self.from_) + (self.value is not None) + (self.path is not None) != 1:
            raise ValueError("give one of from (a column or a list of columns), path (a pattern of file names), value")
        return self

    @field_validator("path")
    @classmethod
    def _names_a_battery(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                named = "battery_id" in re.compile(value).groupindex
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
            if not named:
                raise ValueError("must have a group named battery_id, such as (?P<battery_id>[^/]+)\\.csv")
        return value

    def named_by(self, path: str) -> BatteryColumn:
        """The column for one file: where its name tells the battery, that is a value for all of its rows.

        Raises:
            ValueError: If the file's name does not fit the pattern.
        """
        if self.path is None:
            return self
        found = re.search(self.path, path)
        if found is None or not found["battery_id"]:
            raise ValueError(f"its name does not fit source.columns.battery_id.path, {self.path}")
        return BatteryColumn(value=found["battery_id"])


class TimeColumn(TextColumn):
    """The time: text in a format, ISO 8601 when none is given, or a count of units since an origin.

    ``with`` are further columns whose texts follow after a blank, as where day and time of day stand apart;
    ``from: [day, time]`` says the same. The unit ``duration`` is for texts such as ``1d 02:03:04.5`` or
    ``26:03:04``. ``else`` is how files tell the time that do not have these columns. ``counts_per_unit`` is for
    counters of other steps: 0.1 per second for one that counts intervals of ten seconds.
    """

    with_: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(default=(), alias="with")
    format: str | None = None
    unit: TimeUnit | None = None
    counts_per_unit: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    origin: datetime | None = None
    else_: Annotated[TimeColumn | None, BeforeValidator(_first_of)] = Field(default=None, alias="else")

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns whose texts follow."""
        return self.with_

    @property
    def ways(self) -> tuple[TimeColumn, ...]:
        """This and the other ways to tell the time, the first that a file has counts."""
        return (self,) if self.else_ is None else (self, *self.else_.ways)

    @model_validator(mode="before")
    @classmethod
    def _several_columns(cls, given: object) -> object:
        if isinstance(given, dict) and isinstance(given.get("from"), list) and given["from"]:
            if "with" in given:
                raise ValueError("give further columns either in from or in with, not in both")
            first, *others = given["from"]
            return {**given, "from": first, "with": others}
        return given

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
            raise ValueError("origin needs the unit of the count: s, ms, us, ns, min, h, d or duration")
        if self.counts_per_unit != 1 and self.unit in (None, "duration"):
            raise ValueError("counts_per_unit needs the unit of the count: s, ms, us, ns, min, h or d")
        if self.unit is not None and self.with_:
            raise ValueError("a count stands in one column")
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

    timestamp: Annotated[TimeColumn | None, BeforeValidator(_first_of)] = None
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


_CSV_ONLY = {
    "separator", "quote", "decimal_comma", "thousands", "header", "skip_lines", "skip_after_header", "comment",
}  # fmt: skip


class Source(Strict):
    """Where a fleet's telemetry comes from and how it is read.

    Attributes:
        preset: A built-in map, which ``columns`` and the other keys override.
        separator: What stands between fields; ``blanks`` for any number of blanks and tabs.
        quote: What stands around fields that may hold the separator.
        header: What the line with the names of the columns begins with, where lines stand before it.
        skip_lines: Lines before the one with the names.
        skip_after_header: Lines between the one with the names and the first row, such as one with units.
        comment: What lines begin with that are no rows.
        thousands: What stands between thousands in numbers.
        encoding: How the text is encoded; absent: UTF-8, UTF-16 where the first bytes say so, else Latin-1.
        layout: wide: a column per measurement; long: a line per measurement.
        tag: Column that names the measurement, in the long layout.
        tag_pattern: Regular expression with groups ``battery_id`` and ``channel``, where tags hold both.
        value: Column that holds the number, in the long layout.
    """

    preset: Preset | None = None
    files: str = Field(default="**/*", min_length=1)
    format: Literal["csv", "parquet", "ndjson"]
    separator: str = ","
    quote: str = Field(default='"', min_length=1, max_length=1)
    decimal_comma: bool = False
    thousands: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: Encoding | None = None
    header: str | None = Field(default=None, min_length=1)
    skip_lines: int = Field(default=0, ge=0)
    skip_after_header: int = Field(default=0, ge=0)
    comment: str | None = Field(default=None, min_length=1)
    layout: Literal["wide", "long"] = "wide"
    tag: str | None = None
    tag_pattern: str | None = None
    value: str | None = None
    sampling: Literal["instant", "mean"] | None = None
    timezone: str = "UTC"
    columns: Columns = Columns()
    cells: Cells | None = None

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
        if value != BLANKS and (len(value) != 1 or value in '"\n\r' or value.isalnum()):
            raise ValueError(f"must be a character that stands between fields, such as ';' or a tab, or {BLANKS}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _built_in(cls, given: object) -> object:
        return with_preset(given) if isinstance(given, dict) else given

    @field_validator("tag_pattern")
    @classmethod
    def _names_channels(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = set(re.compile(value).groupindex)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
            if groups != {"battery_id", "channel"}:
                raise ValueError("must have two groups, named battery_id and channel")
            try:
                pl.Series([""]).str.contains(value)
            except pl.exceptions.ComputeError:
                raise ValueError("may not look around itself or refer to its own groups") from None
        return value

    @model_validator(mode="after")
    def _told_apart(self) -> Source:
        if self.quote == self.separator:
            raise ValueError("quote must be another character than separator")
        return self

    @model_validator(mode="after")
    def _csv_only(self) -> Source:
        if self.format != "csv" and (given := self.model_fields_set & _CSV_ONLY):
            raise ValueError(f"{' and '.join(sorted(given))} {'is' if len(given) == 1 else 'are'} for csv only")
        if self.format == "parquet" and self.encoding is not None:
            raise ValueError("encoding is for text only")
        if self.thousands is not None and self.thousands == ("," if self.decimal_comma else "."):
            raise ValueError("thousands must be another character than the decimal one")
        return self

    @model_validator(mode="after")
    def _long_has_tags(self) -> Source:
        if self.layout == "long":
            missing = [name for name in ("tag", "value") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"layout: long needs {' and '.join(missing)}, the columns of that content")
            if self.columns.under_house_names and self.columns.timestamp is None:
                raise ValueError("layout: long needs columns: which tag is which measurement")
        elif self.tag or self.value or self.tag_pattern:
            raise ValueError("tag, tag_pattern and value are for layout: long")
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
