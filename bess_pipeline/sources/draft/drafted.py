"""From a sample to a draft: everything that was found, and every decision that is left to a person."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from bess_pipeline.sources.draft import nameplate
from bess_pipeline.sources.draft.long import widened
from bess_pipeline.sources.draft.match import Match, Matched, matched
from bess_pipeline.sources.draft.sample import Sample, Told, sample
from bess_pipeline.sources.draft.sign import implied_capacity, sign
from bess_pipeline.sources.numbers import texts
from bess_pipeline.sources.opening import UnreadableFile
from bess_pipeline.sources.source import Source

_US_PER_SECOND = 1_000_000
_SUFFIX = {"csv": ".csv", "parquet": ".parquet", "ndjson": ".ndjson"}
_FIRST_VALUES = 3
_FIRST_ROWS = 1000
_SHARED_TIMES = 0.01


@dataclass(frozen=True)
class Seen:
    """One column of the file, as it is shown to the person.

    Attributes:
        column: Its name.
        values: Its first values.
        house: The house column proposed, or nothing.
        keys: Unit, sign and so on of it.
        why: The evidence, or why it is not mapped.
        sure: How sure the proposal is.
    """

    column: str
    values: tuple[str, ...]
    house: str | None
    keys: str
    why: str
    sure: str


@dataclass(frozen=True)
class Draft:
    """A fleet file to be reviewed.

    Attributes:
        fleet_id: Name of the fleet.
        file: Name of the sample.
        rows: How many rows of it were looked at.
        is_whole: Whether those are all.
        battery: Keys of the nameplate.
        source: Keys of the source besides columns and cells.
        columns: House column → its keys; ``from`` among them.
        cells: The same for cells and probes.
        cell_keys: Keys that hold for all cells.
        seen: Every column of the file.
        remarks: What else the person should know.
    """

    fleet_id: str
    file: str
    rows: int
    is_whole: bool
    battery: dict[str, Told]
    source: dict[str, Told]
    columns: dict[str, dict[str, Told]]
    cells: dict[str, dict[str, Told]] = field(default_factory=dict)
    cell_keys: dict[str, Told] = field(default_factory=dict)
    seen: tuple[Seen, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def undecided(self) -> dict[str, str]:
        """What a person has to fill in or confirm: place in the fleet file → why."""
        told = {f"battery.{key}": told for key, told in self.battery.items()}
        told |= {f"source.{key}": told for key, told in self.source.items()}
        for part, columns in (("columns", self.columns), ("cells", self.cells)):
            told |= {
                f"source.{part}.{house}.{key}": each for house, keys in columns.items() for key, each in keys.items()
            }
        return {place: each.why for place, each in told.items() if each.sure == "TODO"}


def draft(path: Path, *, fleet_id: str | None = None) -> Draft:
    """Look at a sample of a fleet's files and propose how it is read.

    Args:
        path: The file.
        fleet_id: Name of the fleet; that of the file's folder or of the file where it is not given.

    Raises:
        UnreadableFile: If the file is none that a fleet may deliver.
    """
    looked_at = sample(path)
    found = matched(looked_at)
    if not _is_telemetry(found) and (wide := widened(looked_at)) is not None:
        looked_at, found = wide, matched(wide)
    if not _is_telemetry(found):
        reasons = "; ".join(f"{column} {why}" for column, why in list(found.left.items())[:3])
        raise UnreadableFile(
            f"{path.name}: is no telemetry: no column was recognized as a voltage, a current or a power"
            + (f" ({reasons})" if reasons else "")
        )
    fleet = fleet_id or _fleet_id(path)
    battery_keys, battery = _battery(looked_at, found, fleet)
    samples = _samples(found, battery)
    columns: dict[str, dict[str, Told]] = {}
    remarks = list(looked_at.remarks)
    if "timestamp" in found.columns:
        columns["timestamp"] = _keys(found.columns["timestamp"])
    else:
        columns["timestamp"] = {"from": Told("TODO", "no column was recognized as a full time", "TODO")}
        remarks += [f"{column}: {why}" for column, why in found.left.items() if "day" in why or "counts" in why]
    columns["battery_id"] = battery_keys
    signed = _signs(found, samples)
    for house, match in found.columns.items():
        if house not in columns:
            columns[house] = _keys(signed.get(house, match))
    needed = ("power_watt",) if "power_watt" in columns else ("voltage_volt", "current_ampere")
    for house in needed:
        if house not in columns:
            columns[house] = {"from": Told("TODO", f"no column was recognized as {house}", "TODO")}
    cells = nameplate.cells_in_series(found, samples["battery_id"])
    plate = {
        "chemistry": nameplate.chemistry(found, cells, samples["battery_id"]),
        "rated_capacity_ah": _capacity(found, samples),
        "cells_in_series": cells,
    }
    source = _source(path, looked_at, found, samples)
    shown = Matched({**found.columns, **signed}, found.cells, found.members, found.time, found.left, found.first_cell)
    return Draft(
        fleet_id=fleet,
        file=path.name,
        rows=looked_at.frame.height,
        is_whole=looked_at.is_whole,
        battery=plate,
        source=source,
        columns=columns,
        cells={house: _keys(match) for house, match in found.cells.items()},
        cell_keys={} if found.first_cell == 1 else {"first": Told(found.first_cell, "number of the first cell")},
        seen=_seen(looked_at, shown, battery_keys, signed),
        remarks=tuple(remarks),
    )


def _is_telemetry(found: Matched) -> bool:
    measured = {"voltage_volt", "current_ampere", "power_watt", "power_ac_watt"}
    return bool(found.columns.keys() & measured or found.cells)


def _fleet_id(path: Path) -> str:
    stem = path.name.split(".")[0]
    dated = re.fullmatch(r"[\d_-]+", stem)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.resolve().parent.name if dated else stem).strip("_") or "fleet"


def _keys(match: Match) -> dict[str, Told]:
    others = f"; or {', '.join(match.others[:4])}" if match.others else ""
    return {"from": Told(match.column, match.why + others, match.sure)} | match.keys


def _battery(looked_at: Sample, found: Matched, fleet: str) -> tuple[dict[str, Told], pl.Series]:
    """Where the battery's name comes from: columns that make the times of each battery run forward."""
    frame = looked_at.frame
    match = found.columns.get("battery_id")
    named = [] if match is None else [match.column]
    time = found.time
    extra = None
    if time is not None and time.rank > 0:
        extra = _splitting(looked_at, found, named, time.at, is_relative=time.rank == 1)
    if extra is not None:
        column, why = extra
        named.append(column)
        told = Told(named[0] if len(named) == 1 else named, why, "likely")
    elif match is not None:
        told = _keys(match)["from"]
    else:
        why = "no column names the battery: is each file of this one? then give its name"
        ids = pl.Series("battery_id", [fleet], dtype=pl.String).new_from_index(0, frame.height)
        return {"value": Told(fleet, why, "TODO")}, ids
    joined = frame.select(battery_id=pl.concat_str([pl.col(name).cast(pl.String) for name in named], separator="/"))
    return {"from": told}, joined["battery_id"]


def _splitting(
    looked_at: Sample, found: Matched, named: list[str], at: pl.Series, *, is_relative: bool
) -> tuple[str, str] | None:
    """The coarsest column that, with those named, tells rows of the same time apart."""
    frame = looked_at.frame
    clock, known = at.alias("raw:clock"), at.is_not_null()

    def repeated(columns: list[str]) -> float:
        keyed = pl.DataFrame([clock, *frame.select(columns)]).filter(known)
        return 1 - keyed.n_unique() / max(1, keyed.height)

    twice = repeated(named)
    if twice < _SHARED_TIMES:
        return None
    taken = {match.column for match in found.columns.values()} | {
        name for group in found.members.values() for name in group
    }
    options = []
    for column in frame.columns:
        series = frame[column]
        if column in taken or series.dtype.is_float() or series.dtype.is_nested() or series.dtype.is_temporal():
            continue
        runs = (series != series.shift()).sum() + 1
        kinds = series.n_unique()
        if not 1 < kinds <= min(5000, frame.height // 10) or runs > frame.height / 4:
            continue
        if repeated([*named, column]) < min(_SHARED_TIMES, twice / 10):
            options.append((kinds, column))
    if not options:
        return None
    kinds, column = min(options)
    anew = "the relative clock starts anew" if is_relative else "rows share their times"
    return column, f"without {column} ({kinds} values) {anew}: {twice:.0%} of the rows have the time of another"


def _samples(found: Matched, battery: pl.Series) -> pl.DataFrame:
    """``battery_id``, ``at`` and measurements of the sample."""
    rows = len(battery)
    time = found.time
    at = pl.int_range(rows, eager=True) * _US_PER_SECOND if time is None or time.rank == 0 else time.at
    table = pl.DataFrame({"battery_id": battery, "at": at})
    volts = found.columns.get("voltage_volt")
    source = volts.values if volts is not None else None
    if source is None and "voltage_volt" in found.cells:
        source = found.cells["voltage_volt"].values
    if source is not None:
        table = table.with_columns(source.alias("voltage_volt"))
    soc = found.columns.get("soc_bms_percent")
    if soc is not None and soc.values is not None:
        table = table.with_columns(soc.values.alias("soc_bms_percent"))
    return table


def _signs(found: Matched, samples: pl.DataFrame) -> dict[str, Match]:
    """Current and powers with the sign that the data show."""
    signed: dict[str, Match] = {}
    for house in ("current_ampere", "power_watt", "power_ac_watt"):
        match = found.columns.get(house)
        if match is None or match.values is None:
            continue
        told = sign(match.values, samples)
        current = signed.get("current_ampere")
        if house != "current_ampere" and current is not None and current.keys["positive"].value != "TODO":
            told = _beside(match, current, told)
        signed[house] = replace(match, keys={**match.keys, "positive": told})
    return signed


def _beside(match: Match, current: Match, told: Told) -> Told:
    """The sign of a power, held against the current's, which tells more."""
    if match.values is None or current.values is None:
        return told
    value = pl.DataFrame({"p": match.values, "i": current.values}).select(pl.corr("p", "i")).item()
    if value is None or not abs(value) > 0.5:
        return told
    way = str(current.keys["positive"].value)
    same = way if value > 0 else {"charge": "discharge", "discharge": "charge"}[way]
    return Told(same, f"goes with {current.column}: correlation {value:+.2f}", current.keys["positive"].sure)


def _capacity(found: Matched, samples: pl.DataFrame) -> Told:
    current = found.columns.get("current_ampere")
    value = None if current is None or current.values is None else implied_capacity(current.values, samples)
    why = "from the data sheet"
    if value is not None:
        why += f"; current and state of charge of the sample imply about {value:.3g} Ah, which is not the rated one"
    return Told("TODO", why, "TODO")


def _source(path: Path, looked_at: Sample, found: Matched, samples: pl.DataFrame) -> dict[str, Told]:
    packed = path.suffix if path.suffix in {".gz", ".zst"} else ""
    inner = Path(path.name.removesuffix(packed)).suffix or _SUFFIX[looked_at.format]
    source = {
        "files": Told(f"**/*{inner}{packed}", f"named as {path.name} is", "likely"),
        "format": Told(looked_at.format, "by its content"),
    }
    source |= looked_at.reading
    if looked_at.format == "csv" and source["separator"].value == ",":
        del source["separator"]
    steps = samples.sort("battery_id", "at").select(pl.col("at").diff().over("battery_id"))["at"].drop_nulls()
    usual = steps.filter(steps > 0).median()
    if isinstance(usual, float) and found.time is not None:
        why = f"a sample each {usual / _US_PER_SECOND:g} s; or mean, if each value is the mean of its interval"
        source["sampling"] = Told(None, why, "guess")
    if found.time is not None and found.time.needs_zone:
        source["timezone"] = Told("TODO", "the times name no zone: such as Europe/Berlin, or UTC", "TODO")
    unknown = [key for key in source if key not in Source.model_fields]
    for key in unknown:
        source[key] = Told(None, f"{source[key].why}: not known to this version, {source[key].value!r}", "TODO")
    return source


def _seen(
    looked_at: Sample, found: Matched, battery_keys: dict[str, Told], signed: dict[str, Match]
) -> tuple[Seen, ...]:
    proposals: dict[str, tuple[str, Match]] = {
        match.column: (house, signed.get(house, match)) for house, match in found.columns.items()
    }
    of_cells = {column: house for house, match in found.cells.items() for column in found.members[match.column]}
    battery = battery_keys.get("from")
    batteries = [] if battery is None else battery.value if isinstance(battery.value, list) else [battery.value]
    rows = []
    folded: set[str] = set()
    for column in looked_at.frame.columns:
        first = _first(looked_at.frame[column])
        if column in of_cells:
            match = found.cells[of_cells[column]]
            if match.column not in folded:
                folded.add(match.column)
                why = "; ".join([match.why, *(told.why for told in match.keys.values())])
                rows.append(Seen(match.column, first, f"cells.{of_cells[column]}", _brief(match.keys), why, match.sure))
        elif column in batteries and battery is not None:
            rows.append(Seen(column, first, "battery_id", "", battery.why, battery.sure))
        elif column in proposals:
            house, match = proposals[column]
            why = "; ".join(filter(None, [match.why, *(told.why for told in match.keys.values() if told.why)]))
            least = "TODO" if any(told.sure == "TODO" for told in match.keys.values()) else match.sure
            rows.append(Seen(column, first, house, _brief(match.keys), why, least))
        else:
            rows.append(Seen(column, first, None, "", found.left.get(column, ""), ""))
    return tuple(rows)


def _brief(keys: dict[str, Told]) -> str:
    said = []
    for key, told in keys.items():
        value = ", ".join(map(str, told.value)) if isinstance(told.value, list) else str(told.value)
        said.append(value if key in {"unit", "format"} and value != "TODO" else f"{key}: {value}")
    return ", ".join(said)


def _first(series: pl.Series) -> tuple[str, ...]:
    known = texts(series.head(_FIRST_ROWS)) if series.dtype == pl.String else series.head(_FIRST_ROWS)
    kinds = known if known.dtype.is_nested() else known.unique(maintain_order=True)
    return tuple(_shown(value) for value in kinds.drop_nulls().head(_FIRST_VALUES))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
