"""Which column rests on which: found by changing one column of what a step reads, and looking at what comes out.

    python -m bess_pipeline_tests.benchmarks.column_lineage HOME [--only TABLE ...] [--out FILE]

HOME is a deployment of one fleet on which everything was run. Each step is called with the
tables of its lake, once for each column that it reads: a third of the values of the column are others then, and a
third is unknown, where it may be. Columns that come out otherwise rest on it. So what is told was
seen; what was not seen on this fleet (an alarm that was not raised) is not told. Of a key column it is told
which key columns of the same name are read with it; rows that come or go count for the key columns of a table
that have no such.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bess_pipeline.analytics import arrivals, capacity_marks, cells, intervals, telemetry
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import Frames, Step, steps

#: Column → table → columns of it.
Lineage = dict[str, dict[str, list[str]]]

_UNSIGNED = set(catalog.Provenance.column_names())
#: Columns that say whose and of when a row is: they are joined on, and changing them says nothing.
_CARRIED = {"fleet_id", "battery_id", "date", "timestamp"}
#: Relative difference from which on a number is another.
_NOISE = 1e-9


def _clean(raw_telemetry: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return telemetry.clean(telemetry.accepted(raw_telemetry), batteries)


def _by_name(make: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    def made(clean_telemetry: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
        return make(clean_telemetry, batteries)

    return made


def _arrived(landing_days: pl.DataFrame, landing_files: pl.DataFrame, data_quality_daily: pl.DataFrame) -> pl.DataFrame:
    return arrivals.arrivals_daily(landing_days, landing_files, data_quality_daily)


def every_step() -> list[Step]:
    """The steps of the fleet level, and those of days that are functions of tables."""
    samples = frozenset({"clean_telemetry", "batteries"})
    days = {
        ("clean_telemetry",): (_clean, frozenset({"raw_telemetry", "batteries"})),
        ("intervals_5min",): (_by_name(intervals.intervals_5min), samples),
        ("day_evidence",): (_by_name(intervals.day_evidence), samples),
        ("cell_evidence",): (_by_name(cells.cell_evidence), samples),
        ("capacity_evidence",): (_by_name(capacity_marks.capacity_evidence), samples),
        ("arrivals_daily",): (_arrived, frozenset({"landing_days", "landing_files", "data_quality_daily"})),
    }
    own = [Step(makes, needs, frozenset(), None, function) for makes, (function, needs) in days.items()]
    return [*own, *steps()]


def changed(
    frame: pl.DataFrame, name: str, *, nullable: bool, kinds: tuple[str, ...] = ("others", "nothing")
) -> pl.DataFrame:
    """A frame with another value in a third of the rows of a column, and none in another third."""
    kind = frame.schema[name]
    column = pl.col(name)
    place = pl.int_range(pl.len()) * 7 % 3
    if kind.is_float():
        other = column * 1.07 + 1e-3
    elif kind.is_integer():
        other = column + 1
    elif kind == pl.Boolean:
        other = ~column
    elif kind == pl.String:
        values = frame[name].drop_nulls().unique().sort().to_list()
        following = dict(zip(values, [*values[1:], *values[:1]], strict=True))
        other = column.replace(following) if len(values) > 1 else column + "x"
    elif kind.is_temporal():
        other = column.dt.offset_by("1d") if kind == pl.Date else column.dt.offset_by("2m")
    elif kind.base_type() == pl.List:
        other = column.list.eval(_other_element(kind.inner))
    else:
        raise TypeError(f"{name} is {kind}: say how to change it")
    shown = column
    if "others" in kinds:
        shown = pl.when(place == 0).then(other.cast(kind)).otherwise(shown)
    if "nothing" in kinds and nullable:
        shown = pl.when(place == 1).then(None).otherwise(shown)
    return frame.with_columns(shown.alias(name))


def _other_element(kind: pl.DataType) -> pl.Expr:
    """Another number or day; of a structure, other numbers in it."""
    if kind == pl.Date:
        return pl.element().dt.offset_by("1d")
    if not isinstance(kind, pl.Struct):
        return pl.element() * 1.07
    numbers = [field.name for field in kind.fields if field.dtype.is_float()]
    return pl.element().struct.with_fields(*(pl.field(name) * 1.07 for name in numbers))


@dataclass(frozen=True)
class Tried:
    """What a step makes of its tables, and of others."""

    step: Step
    tables: Frames
    base: Frames

    def differing(self, table: str, name: str) -> set[tuple[str, str]]:
        """Columns that come out otherwise when a column that is read is changed: table and column."""
        column = catalog.TABLES[table].columns[name]
        found: set[tuple[str, str]] = set()
        for kinds in (("others", "nothing"), ("others",), ("nothing",)):
            frame = changed(self.tables[table], name, nullable=column.nullable, kinds=kinds)
            try:
                made = self.step.run({**self.tables, table: frame})
            except Exception as error:  # noqa: BLE001 - values that cannot be: another change may be possible
                print(f"  {table}.{name} {kinds}: {type(error).__name__}")  # noqa: T201
                continue
            for output in self.step.makes:
                found |= {(output, each) for each in different(self.base[output], made[output], keys_of(output))}
            if kinds == ("others", "nothing"):
                break
        return found


def keys_of(table: str) -> list[str]:
    """The columns that tell rows of a table apart."""
    return [*dict.fromkeys(("fleet_id", *catalog.TABLES[table].sort))]


def different(left: pl.DataFrame, right: pl.DataFrame, keys: list[str]) -> set[str]:
    """Columns that differ on rows that both have; the keys as well if only one has some."""
    names = [name for name in left.columns if name not in keys]
    both = left.join(right, on=keys, how="inner", suffix="_now", nulls_equal=True)
    found = {name for name in names if not same(both[name], both[f"{name}_now"])}
    if both.height < left.height or both.height < right.height:
        found |= set(keys) - _CARRIED
    return found


def same(left: pl.Series, right: pl.Series) -> bool:
    """Whether values are equal, numbers up to rounding."""
    if not left.dtype.is_float():
        return left.equals(right, check_names=False)
    apart = (left - right).abs() > _NOISE * (left.abs() + right.abs())
    return left.is_null().equals(right.is_null(), check_names=False) and not apart.fill_null(value=False).any()


def lineage_of(step: Step, tables: Frames) -> dict[str, Lineage]:
    """The columns on which those that a step makes rest, by table."""
    tried = Tried(step, tables, step.run(tables))
    found: dict[str, Lineage] = {output: {} for output in step.makes}
    for table in sorted(step.needs):
        own = catalog.TABLES[table].contract.columns()
        for name in own:
            if name in _CARRIED and name in keys_of(table):
                for output in step.makes:
                    if name in keys_of(output):
                        found[output].setdefault(name, {}).setdefault(table, []).append(name)
                continue
            for output, column in sorted(tried.differing(table, name)):
                found[output].setdefault(column, {}).setdefault(table, []).append(name)
    return found


def written(found: dict[str, Lineage]) -> str:
    """As JSON, a line for each column."""
    blocks = []
    for table, columns in sorted(found.items()):
        order = [name for name in catalog.TABLES[table].columns if name in columns and name not in _UNSIGNED]
        lines = [f"    {json.dumps(name)}: {json.dumps(columns[name])}" for name in order]
        blocks.append(f"  {json.dumps(table)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def read(home: Path) -> Frames:
    """The tables of the one fleet of a deployment, those at raw rate cut to a few days."""
    lake = Lake(str(home / "lake"))
    (fleet_id,) = lake.read(catalog.BATTERIES)["fleet_id"].unique()
    tables = {
        table.name: lake.read(table, Slice(fleet_id)).drop(_UNSIGNED, strict=False)
        for table in catalog.TABLES.values()
        if table not in catalog.NOTES
    }
    for name in ("raw_telemetry", "clean_telemetry"):
        tables[name] = tables[name].filter(pl.col("date") < pl.col("date").min() + pl.duration(days=12))
    return tables


def _wanted(only: Iterable[str]) -> Iterator[Step]:
    names = set(only)
    return (step for step in every_step() if not names or names & set(step.makes))


def main() -> None:
    """Write the lineage of every table that a step makes of tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("bess_pipeline/defs/lineage.json"))
    given = parser.parse_args()
    tables = read(given.home)
    told: dict[str, Lineage] = json.loads(given.out.read_text()) if given.out.exists() else {}
    found = {name: columns for name, columns in told.items() if name in catalog.TABLES}
    for step in _wanted(given.only):
        print(", ".join(step.makes), flush=True)  # noqa: T201
        found |= {name: told for name, told in lineage_of(step, tables).items() if not name.endswith("_memory")}
        given.out.write_text(written(found))


if __name__ == "__main__":
    main()
