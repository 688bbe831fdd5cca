"""What is wrong with a sample, as far as its own day proves it: every rule in one place.

Each rule looks at the samples of one battery and UTC day, so that days stay
independent; what takes longer to prove is found at the level of the fleet
(`repairs`). A rule that needs a witness, such as a voltage that stands still under
current, says nothing where there is none: a value that stands still while nothing
else moves is a battery at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, wraps

import numpy as np
import polars as pl

from bess_pipeline.analytics.neighbours import Run, offsets, overtaken, repeats, straying, stuck
from bess_pipeline.analytics.samples import LONGEST_USUAL_US, SampleArrays, or_zero, portions
from bess_pipeline.arrays import Bools, Floats
from bess_pipeline.tables.telemetry import CELL_VOLTAGES, MEASUREMENTS, TEMPERATURES
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: No cell has this voltage: such a number is in millivolts. [V]
LEAST_MILLIVOLT = 500.0
_TEN_MINUTES_US = 600_000_000
#: Samples this far apart are independent of each other but for what the battery does [µs].
_LEAST_APART_US = 30_000_000
#: A report beyond these may be held at its end, or be a fraction [%].
_LEAST_REPORT, _MOST_REPORT = 1.05, 99.0
#: Current below which a battery rests, whatever its sensor's offset [C].
_REST_RATE = 0.01
#: Samples of a run that stands still.
_FEWEST = 5

#: Least departure that is a spike: [share of the rated voltage], [V per cell], [share of 1 C], [K], [%].
_VOLTAGE_SPIKE, _CELL_SPIKE, _CURRENT_SPIKE, _TEMPERATURE_SPIKE, _SOC_SPIKE = 0.02, 0.05, 0.03, 3.0, 2.0
_MOST_DIGIT = 0.05  # of the rated voltage
#: How far the charge must move [%], the cells [V], and the reported charge beyond the counted [%].
_CHARGE_MOVES, _CELL_MOVES, _REPORT_STRAYS = 2.0, 0.005, 5.0
#: Share of the charge by which capacity, gain and the report itself may differ from what is counted with the nameplate.
_REPORT_SHARE = 0.3


@dataclass(frozen=True)
class Rule:
    """How one flag is found.

    Attributes:
        flag: Column of `CleanTelemetry`.
        finds: The samples that have it: shape (n,).
    """

    flag: str
    finds: Callable[[Samples], Bools]


def _once(finds: Callable[[Samples], Bools]) -> Callable[[Samples], Bools]:
    """A rule that others lean on is asked once."""

    @wraps(finds)
    def asked(samples: Samples) -> Bools:
        if finds.__name__ not in samples.found:
            samples.found[finds.__name__] = finds(samples)
        return samples.found[finds.__name__]

    return asked


class Samples(SampleArrays):
    """Samples, and what the rules know of them together."""

    @cached_property
    def found(self) -> dict[str, Bools]:
        """What rules that others lean on have found."""
        return {}

    @cached_property
    def quiet(self) -> dict[str, Floats]:
        """Each measurement that has a witness or is one, without impossible values and spikes."""
        spiky = {
            "voltage_volt": voltage_spike(self),
            "current_ampere": _current_hops(self),
            "temperature_celsius": _hops(self, "temperature_celsius"),
            "temperature_min_celsius": _hops(self, "temperature_min_celsius"),
            "temperature_max_celsius": _hops(self, "temperature_max_celsius"),
            **self.cell_hops,
            "soc_bms_percent": soc_spike(self),
        }
        return {name: np.where(found, np.nan, self.ranged[name]) for name, found in spiky.items()}

    @cached_property
    def cell_hops(self) -> dict[str, Bools]:
        """Samples at which the lowest, or the highest, cell voltage leaves its neighbours without a reason."""
        cells = self.of(self.plate("cells_in_series"))
        volt = np.where(voltage_spike(self), np.nan, self.ranged["voltage_volt"])
        average = np.abs(or_zero(offsets(self.series, self.time, volt, self.reach))) / cells
        own = 3 * self.of(self.plate("ohm")) / cells * self.current_bend
        least = _CELL_SPIKE + np.maximum(own, 10 * average)
        return {name: self.departures(name) > least for name in CELL_VOLTAGES}

    @cached_property
    def ten_minutes(self) -> Run:
        """What stands still for ten minutes or more."""
        return Run(np.maximum(self.reach, LONGEST_USUAL_US), _TEN_MINUTES_US, _FEWEST)

    @cached_property
    def at_rest(self) -> Bools:
        """Whether the current is less than a sensor may be off by, or a digit more."""
        most = _REST_RATE * self.plate("rated_capacity_ah")
        return np.abs(self.quiet["current_ampere"]) < self.of(most + np.minimum(self.shown("current_ampere"), most))

    @cached_property
    def charged(self) -> Floats:
        """Charge since the start of the day, as share of the rated capacity [%]; at rest, and unknown, it is none."""
        return self._charged(np.where(self.at_rest, 0.0, or_zero(self.quiet["current_ampere"])))

    @cached_property
    def charged_by_all(self) -> Floats:
        """The same [%], at rest as the sensor tells it."""
        return self._charged(or_zero(self.quiet["current_ampere"]))

    def _charged(self, current: Floats) -> Floats:
        mean = current.copy()
        mean[1:] = (current[1:] + current[:-1]) / 2
        # As far as a run reaches: in one that stands still, silence is no less of it than samples.
        hours = np.where(self.silence <= self.of(self.ten_minutes.reach), self.silence, 0.0) / US_PER_HOUR
        return self.running(100 * mean * hours / self.of(self.plate("rated_capacity_ah")))

    def stuck(self, value: str, witness: Floats, least: Floats, *, inner: int = 0) -> Bools:
        """Samples at which a measurement stands still while a witness moves by more than ``least``, by series."""
        return stuck(self.series, self.time, self.quiet[value], witness, least, run=self.ten_minutes, inner=inner)

    def hushed(self, value: str, siblings: Iterable[str], *, where: Bools | bool = True) -> Bools:
        """Samples at which a measurement repeats while a sibling changes, and for longer than chance allows.

        Samples seconds apart hardly differ and are no trials of chance: they tell nothing.
        """
        where = where & self.of(self.usual >= _LEAST_APART_US).astype(np.bool_)
        found = np.zeros(len(self.time), np.bool_)
        if not where.any():
            return found
        own = self.quiet[value]
        repeated = np.zeros(len(own), np.bool_)
        repeated[1:] = own[1:] == own[:-1]
        for name in siblings:
            changes = or_zero(np.diff(self.quiet[name], prepend=np.nan)) != 0
            found |= repeats(
                self.series,
                self.time,
                repeated & ~np.isnan(self.silence),
                np.where(changes & where, 0, -1),
                run=self.ten_minutes,
            )
        return found


def _any(found: Iterable[Bools]) -> Bools:
    either: Bools = np.logical_or.reduce(list(found))
    return either


def gap(samples: Samples) -> Bools:
    """Silence of more than 1.5 usual intervals before the sample, or between it and either end of the day."""
    longest = 1.5 * samples.of(samples.usual)
    first = np.isnan(samples.silence)
    last = np.roll(first, -1)
    begins = samples.of(samples.midnight)
    early = first & (samples.time - begins > longest)
    late = last & (begins + US_PER_DAY - samples.time > longest)
    return (samples.silence > longest) | early | late


def out_of_order(samples: Samples) -> Bools:
    """A sample of a later time arrived before."""
    return overtaken(samples.series, samples.rows["arrival"].to_numpy())


def missing_value(samples: Samples) -> Bools:
    """A channel is unknown that at least half of the battery's samples of the day have."""
    count = np.bincount(samples.series)
    found = np.zeros(len(samples.time), np.bool_)
    for name in MEASUREMENTS:
        if 0 < samples.rows[name].null_count() < len(samples.time):
            unknown = samples.rows[name].is_null().to_numpy()
            seldom = samples.summed(unknown.astype(np.float64)) <= 0.5 * count
            found |= unknown & seldom[samples.series]
    return found


@_once
def frozen(samples: Samples) -> Bools:
    """All channels repeat themselves under current for ten minutes, longer than the rest of the day lets expect."""
    there = [name for name in MEASUREMENTS if samples.rows[name].null_count() < len(samples.time)]
    same = pl.all_horizontal(pl.lit(value=True), *(pl.col(name).eq_missing(pl.col(name).shift()) for name in there))
    known = pl.sum_horizontal(pl.lit(0), *(pl.col(name).is_not_null() for name in there)) >= 2
    repeated = samples.rows.select(same & known).to_series().to_numpy() & ~np.isnan(samples.silence)
    # Without a current nothing need move, and nothing is lost by what stands still.
    current = samples.column("current_ampere")
    flow = np.where(np.isnan(current), or_zero(samples.column("power_watt")), current)
    kind = np.where(flow == 0, -1, samples.at_rest)
    return repeats(samples.series, samples.time, repeated, kind, run=samples.ten_minutes)


def interpolated(samples: Samples) -> Bools:
    """Voltage and current, both changing, lie on straight lines for ten samples or more."""
    straight = np.ones(len(samples.time), np.bool_)
    for name in ("voltage_volt", "current_ampere"):
        value = samples.column(name)
        slope = np.diff(value, prepend=np.nan)
        bend = np.abs(offsets(samples.series, samples.time, value, samples.reach))
        straight &= (bend <= 2e-7 * np.abs(value) + 1e-6 * np.abs(slope)) & (slope != 0)
    runs = np.where(straight, 1.0, np.nan)
    every = np.arange(len(runs), dtype=np.float64)
    return stuck(
        samples.series, samples.time, runs, every, np.zeros(len(samples.midnight)),
        run=Run(samples.reach, 0, 10),
    )  # fmt: skip


def voltage_out_of_range(samples: Samples) -> Bools:
    """Outside what the chemistry's cells in series can have."""
    return samples.outside("voltage_volt")


@_once
def voltage_spike(samples: Samples) -> Bools:
    """There and back by 2 % of the rated voltage, a digit, and three times what the current's own departure makes."""
    rated = samples.plate("rated_volt")
    least = samples.of(_VOLTAGE_SPIKE * rated + np.minimum(samples.digit("voltage_volt"), _MOST_DIGIT * rated))
    by_current = 3 * samples.of(samples.plate("ohm")) * samples.current_bend
    return samples.departures("voltage_volt") > least + by_current


@_once
def voltage_stuck(samples: Samples) -> Bools:
    """Still while the current spans 2 % of 1 C and more than one digit hides, the cells move, or chance forbids it."""
    least = np.maximum(
        0.02 * samples.plate("rated_capacity_ah"), 2 * samples.shown("voltage_volt") / samples.response[0]
    )
    by_current = samples.stuck("voltage_volt", samples.quiet["current_ampere"], least)
    cells = (samples.quiet[CELL_VOLTAGES[0]] + samples.quiet[CELL_VOLTAGES[1]]) / 2
    by_cells = samples.stuck("voltage_volt", cells, _CELL_MOVES + 2 * samples.cell_digit)
    return by_current | by_cells | samples.hushed("voltage_volt", CELL_VOLTAGES, where=samples.at_rest)


def current_out_of_range(samples: Samples) -> Bools:
    """More than 20 C."""
    return samples.outside("current_ampere")


def current_spike(samples: Samples) -> Bools:
    """There and back by more than 3 % of 1 C, and a voltage that is not stuck itself does not follow."""
    return _current_hops(samples) & ~voltage_stuck(samples) & ~frozen(samples)


@_once
def _current_hops(samples: Samples) -> Bools:
    lone = samples.departures("current_ampere")
    moved = np.abs(samples.offsets("voltage_volt"))
    ohm, noise = (samples.of(one) for one in samples.response)
    drop = ohm * lone
    large = lone > samples.of(_CURRENT_SPIKE * samples.plate("rated_capacity_ah"))
    hidden = np.maximum(6 * noise, 2 * samples.of(samples.shown("voltage_volt")))
    return large & (drop > hidden) & (moved < 0.35 * drop)


def current_stuck(samples: Samples) -> Bools:
    """Still while the voltage steps as only a current makes it, the reported charge strays, or chance forbids it."""
    volt = np.where(voltage_stuck(samples), np.nan, samples.quiet["voltage_volt"])
    prior = samples.plate("ohm") * samples.plate("rated_capacity_ah")
    noise, hidden = samples.response[1], 2 * samples.digit("voltage_volt")
    kink = _kinks(samples, volt)
    steps = samples.running(kink > samples.of(np.maximum(hidden, np.maximum(8 * noise, 0.05 * prior))))
    leaps = samples.running(kink > samples.of(np.maximum(hidden, np.maximum(10 * noise, 0.15 * prior))))
    flowing = samples.quiet["current_ampere"] != 0
    found = samples.hushed("current_ampere", ["voltage_volt"], where=samples.at_rest & flowing)
    for witness, least in ((steps, 2.5), (leaps, 0.5)):
        found |= samples.stuck("current_ampere", witness, np.full(len(samples.midnight), least), inner=2)
    # What seems to flow at rest may do so, or be an offset. Of either sign: a wrong one is repaired, not left out.
    return found | (_strays(samples, samples.charged) & _strays(samples, samples.charged_by_all))


def _strays(samples: Samples, charged: Floats) -> Bools:
    """Still while the reported charge strays from the counted."""
    return straying(
        samples.series, samples.time, samples.quiet["current_ampere"], _continued(samples), charged,
        run=samples.ten_minutes, inner=2, most=np.array([_REPORT_STRAYS, _REPORT_SHARE]),
    )  # fmt: skip


def _kinks(samples: Samples, volt: Floats) -> Floats:
    """The step between two samples at which the voltage bends one way and back: a relaxation bends but one way."""
    bend = or_zero(offsets(samples.series, samples.time, volt, samples.reach))
    before = np.concatenate([[0.0], bend[:-1]])
    return np.where(bend * before < 0, np.minimum(np.abs(bend), np.abs(before)), 0.0)


def power_out_of_range(samples: Samples) -> Bools:
    """More than 20 C at the highest voltage."""
    return samples.outside("power_watt")


def temperature_out_of_range(samples: Samples) -> Bools:
    """A cell temperature outside −60 to 200 °C."""
    return _any(samples.outside(name) for name in TEMPERATURES)


def temperature_spike(samples: Samples) -> Bools:
    """There and back by more than 3 K: cells have too much mass for that."""
    return _any(_hops(samples, name) for name in TEMPERATURES)


def _hops(samples: Samples, name: str) -> Bools:
    return samples.departures(name) > _TEMPERATURE_SPIKE


def temperature_stuck(samples: Samples) -> Bools:
    """The mean stands still while the coldest or hottest probe moves, for longer than chance allows."""
    return samples.hushed("temperature_celsius", TEMPERATURES[1:])


def ambient_temperature_out_of_range(samples: Samples) -> Bools:
    """Outside −60 to 200 °C."""
    return samples.outside("ambient_temperature_celsius")


def cell_voltage_out_of_range(samples: Samples) -> Bools:
    """A cell voltage outside what the chemistry can have."""
    return _any(samples.outside(name) for name in CELL_VOLTAGES)


def cell_voltage_spike(samples: Samples) -> Bools:
    """There and back by more than 50 mV, three times what the current and ten times what the other cells do."""
    return _any(samples.cell_hops.values())


def cell_voltage_stuck(samples: Samples) -> Bools:
    """Still while the battery's voltage moves by 5 mV per cell, or chance forbids it."""
    cells = samples.plate("cells_in_series")
    volt = samples.quiet["voltage_volt"] / samples.of(cells)
    least = _CELL_MOVES + 2 * samples.cell_digit + 6 * samples.response[1] / cells
    low, high = CELL_VOLTAGES
    return _any(
        samples.stuck(name, volt, least) | samples.hushed(name, ["voltage_volt", other], where=samples.at_rest)
        for name, other in ((low, high), (high, low))
    )


def soc_out_of_range(samples: Samples) -> Bools:
    """Outside −5 to 105 %."""
    return samples.outside("soc_bms_percent")


@_once
def soc_spike(samples: Samples) -> Bools:
    """There and back by more than 2 % and twice what the current makes in an interval."""
    return samples.departures("soc_bms_percent") > _SOC_SPIKE + 2 * _moves(samples)


def soc_stuck(samples: Samples) -> Bools:
    """Still, and neither full nor empty, while 2 % of the rated capacity flow, and more than one digit hides."""
    soc = samples.quiet["soc_bms_percent"]
    between = (soc > _LEAST_REPORT) & (soc < _MOST_REPORT)
    least = np.maximum(_CHARGE_MOVES, 1.0 + 2 * np.minimum(samples.shown("soc_bms_percent"), 1.0))
    return samples.stuck("soc_bms_percent", samples.charged, least, inner=1) & between


@_once
def soc_jump(samples: Samples) -> Bools:
    """A change from one sample to the next of more than two digits, half a percent, and twice what flowed."""
    soc = samples.quiet["soc_bms_percent"]
    change = np.abs(np.diff(soc, prepend=np.nan))
    least = np.maximum(0.5, 2.5 * np.minimum(samples.shown("soc_bms_percent"), 1.0))
    near = samples.silence <= samples.of(samples.reach)
    return near & (change > samples.of(least) + 2 * _moves(samples))


def _moves(samples: Samples) -> Floats:
    """What the larger of the currents before and at a sample moves in its interval, at most [%]; else 1 C."""
    rate = np.abs(samples.ranged["current_ampere"]) / samples.of(samples.plate("rated_capacity_ah"))
    rate = np.where(np.isnan(rate), 1.0, rate)
    larger = np.maximum(rate, np.concatenate([rate[:1], rate[:-1]]))
    larger = np.where(samples.silence > 1.5 * samples.of(samples.usual), np.maximum(larger, 1.0), larger)
    moved: Floats = 100 * larger * or_zero(samples.silence) / US_PER_HOUR
    return moved


def _continued(samples: Samples) -> Floats:
    """The reported state of charge [%] without its jumps; unknown at its ends, and where it may be a fraction."""
    soc = samples.quiet["soc_bms_percent"]
    soc = np.where((soc > _LEAST_REPORT) & (soc < _MOST_REPORT), soc, np.nan)
    change = np.diff(soc, prepend=np.nan)
    change = np.where(np.isnan(change) | soc_jump(samples), 0.0, change)
    return np.where(np.isnan(soc), np.nan, samples.running(change))


#: Every rule, in the order of the columns.
RULES: tuple[Rule, ...] = tuple(
    Rule(finds.__name__, finds)
    for finds in (
        gap,
        out_of_order,
        missing_value,
        frozen,
        interpolated,
        voltage_out_of_range,
        voltage_spike,
        voltage_stuck,
        current_out_of_range,
        current_spike,
        current_stuck,
        power_out_of_range,
        temperature_out_of_range,
        temperature_spike,
        temperature_stuck,
        ambient_temperature_out_of_range,
        cell_voltage_out_of_range,
        cell_voltage_spike,
        cell_voltage_stuck,
        soc_out_of_range,
        soc_spike,
        soc_stuck,
        soc_jump,
    )
)


def flagged(rows: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Apply every rule.

    Args:
        rows: Samples sorted by battery and instant: measurements, and ``arrival``, their place in the order of arrival.
        batteries: `Battery` rows of their batteries.

    Returns:
        The rows with a column for each rule.

    Raises:
        ValueError: If a battery has no nameplate.
    """
    if rows.is_empty():
        return rows.with_columns(pl.lit(value=False).alias(rule.flag) for rule in RULES)
    found = pl.concat([_found(Samples(some, batteries)) for some in portions(rows)], rechunk=True)
    return rows.with_columns(found.get_columns())


def _found(samples: Samples) -> pl.DataFrame:
    return pl.DataFrame({rule.flag: pl.Series(rule.finds(samples), dtype=pl.Boolean) for rule in RULES})
