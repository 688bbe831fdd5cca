"""Telemetry: raw as received, clean with flags, condensed to 5 minutes, and the evidence of each day."""

import dataframely as dy

from bess_pipeline.tables.columns import (
    choice,
    count,
    day,
    duration,
    flag,
    instant,
    key,
    label,
    quantities,
    quantity,
    shift,
)
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

#: Measured columns that a source may bring, in the order of the tables.
MEASUREMENTS = (
    "voltage_volt",
    "current_ampere",
    "power_watt",
    "temperature_celsius",
    "temperature_min_celsius",
    "temperature_max_celsius",
    "cell_voltage_min_volt",
    "cell_voltage_max_volt",
    "soc_bms_percent",
    "soh_bms_percent",
    "ambient_temperature_celsius",
    "power_ac_watt",
    "auxiliary_power_watt",
)

#: Cell temperatures, and cell voltages, among them.
TEMPERATURES = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
CELL_VOLTAGES = ("cell_voltage_min_volt", "cell_voltage_max_volt")

#: Lists with a value of each cell, and of each probe; null where the source brings none.
CELL_LISTS = ("cell_voltages_volt", "probe_temperatures_celsius")

#: Length of an interval of the condensed rows [µs].
INTERVAL_US = 300_000_000

#: What becomes of a received row that has a usable time and a battery.
VERDICTS = ("accepted", "duplicate", "conflict")


class Measured(dy.Schema):
    """One row per sample of a battery: the measurements, in house units, as the source gave them."""

    voltage_volt = quantity("V", "Voltage at the battery's terminals")
    current_ampere = quantity("A", "Current; positive charges the battery")
    power_watt = quantity("W", "Power at the battery's terminals; positive charges the battery")
    temperature_celsius = quantity("°C", "Mean temperature of the cells")
    temperature_min_celsius = quantity("°C", "Temperature of the coldest probe")
    temperature_max_celsius = quantity("°C", "Temperature of the hottest probe")
    cell_voltage_min_volt = quantity("V", "Voltage of the lowest cell")
    cell_voltage_max_volt = quantity("V", "Voltage of the highest cell")
    soc_bms_percent = quantity("%", "State of charge as the battery management system reports it")
    soh_bms_percent = quantity("%", "State of health as the battery management system reports it")
    ambient_temperature_celsius = quantity("°C", "Temperature around the battery")
    power_ac_watt = quantity("W", "Power on the AC side of the converter; positive charges the battery")
    auxiliary_power_watt = quantity("W", "Power drawn by cooling, heating and controls")
    status = label("State of the battery in the maker's words", nullable=True)
    cell_voltages_volt = quantities("V", "Voltage of each cell, in the order of their numbers; unknown is null")
    probe_temperatures_celsius = quantities("°C", "Temperature at each probe, in the order of their numbers")


class RawTelemetry(Measured):
    """One row per received row with a usable time and a battery, mapped to house names and units, unaltered."""

    fleet_id = key("Fleet the battery belongs to")
    date = day("UTC day of the timestamp", primary_key=False)
    path = key("File that brought the row, below the fleet's landing folder")
    row_number = dy.Int64(primary_key=True, min=0, description="Number of the row in the file, from 0")
    battery_id = label("Battery within the fleet")
    timestamp = instant("Instant of the sample")
    clock_shift_us = shift("What was subtracted from the time that the source gives, for its clock was astray")
    first_seen = count("Number of the landing scan that first saw the file")
    verdict = choice(VERDICTS, "What becomes of the row.")


class BatterySample(dy.Schema):
    """One row per battery and instant."""

    fleet_id = key("Fleet the battery belongs to")
    date = day("UTC day of the timestamp", primary_key=False)
    battery_id = key("Battery within the fleet")
    timestamp = instant("Instant of the sample", primary_key=True)


class BatteryDay(OfBatteryDay):
    """One row per battery and UTC day."""


class Flagged(dy.Schema):
    """One row per sample: what is wrong with it; the rules are in `bess_pipeline.analytics.flags`."""

    gap = flag("A sample or more is missing right before this one, or between it and the end of the day")
    out_of_order = flag("A later sample of the battery arrived before this one")
    missing_value = flag("A channel that the battery measured on this day is unknown")
    frozen = flag("Every channel repeats its value, for longer than chance allows")
    interpolated = flag("Voltage and current lie on straight lines: somebody filled a gap")
    voltage_out_of_range = flag("The voltage is none that this battery can have")
    voltage_spike = flag("The voltage leaves its neighbours and comes back, and no current explains it")
    voltage_stuck = flag("The voltage stands still while current or cells say that it must move")
    current_out_of_range = flag("The current is none that this battery can carry")
    current_spike = flag("The current leaves its neighbours and comes back, and the voltage knows nothing of it")
    current_stuck = flag("The current stands still while voltage or reported charge say that it changed")
    power_out_of_range = flag("The power is none that this battery can carry")
    temperature_out_of_range = flag("A cell temperature is outside −60 to 200 °C")
    temperature_spike = flag("A temperature leaves its neighbours and comes back faster than cells can")
    temperature_stuck = flag("The mean temperature stands still while other probes move")
    ambient_temperature_out_of_range = flag("The ambient temperature is outside −60 to 200 °C")
    cell_voltage_out_of_range = flag("A cell voltage is none that this chemistry can have")
    cell_voltage_in_millivolt = flag("The cell voltages came in millivolts and are divided by 1000 here")
    cell_voltage_spike = flag("A cell voltage leaves its neighbours and comes back, and no current explains it")
    cell_voltage_stuck = flag("A cell voltage stands still while the battery's voltage moves")
    soc_out_of_range = flag("The reported state of charge is outside −5 to 105 %")
    soc_spike = flag("The reported state of charge leaves its neighbours and comes back")
    soc_stuck = flag("The reported state of charge stands still while charge flows")
    soc_jump = flag("The reported state of charge moves faster than any current could")


#: What may be flagged about a sample; each is counted per battery and day.
FLAGS = tuple(Flagged.column_names())

#: Flag → channels of the sample that are then unknown to every estimate.
VOIDS: dict[str, tuple[str, ...]] = {
    "frozen": MEASUREMENTS,
    "voltage_out_of_range": ("voltage_volt",),
    "voltage_spike": ("voltage_volt",),
    "voltage_stuck": ("voltage_volt",),
    "current_out_of_range": ("current_ampere",),
    "current_spike": ("current_ampere",),
    "current_stuck": ("current_ampere",),
    "power_out_of_range": ("power_watt",),
    "temperature_out_of_range": TEMPERATURES,
    "temperature_spike": TEMPERATURES,
    "temperature_stuck": ("temperature_celsius",),
    "ambient_temperature_out_of_range": ("ambient_temperature_celsius",),
    "cell_voltage_out_of_range": CELL_VOLTAGES,
    "cell_voltage_spike": CELL_VOLTAGES,
    "cell_voltage_stuck": CELL_VOLTAGES,
    "soc_out_of_range": ("soc_bms_percent",),
    "soc_spike": ("soc_bms_percent",),
    "soc_stuck": ("soc_bms_percent",),
}


def voiding(channel: str) -> list[str]:
    """The flags by which a channel is void."""
    return [flag for flag, channels in VOIDS.items() if channel in channels]


class FlagCounts(dy.Schema):
    """One row per battery and UTC day: how many samples have each flag."""

    gap = count("Samples before which, or after which at the end of the day, samples are missing")
    out_of_order = count("Samples that arrived after a later one")
    missing_value = count("Samples that lack a channel measured on this day")
    frozen = count("Samples in which every channel repeats its value")
    interpolated = count("Samples on straight lines between others")
    voltage_out_of_range = count("Samples with an impossible voltage")
    voltage_spike = count("Samples whose voltage is a spike")
    voltage_stuck = count("Samples whose voltage stands still")
    current_out_of_range = count("Samples with an impossible current")
    current_spike = count("Samples whose current is a spike")
    current_stuck = count("Samples whose current stands still")
    power_out_of_range = count("Samples with an impossible power")
    temperature_out_of_range = count("Samples with an impossible cell temperature")
    temperature_spike = count("Samples with a spike of a cell temperature")
    temperature_stuck = count("Samples whose mean temperature stands still")
    ambient_temperature_out_of_range = count("Samples with an impossible ambient temperature")
    cell_voltage_out_of_range = count("Samples with an impossible cell voltage")
    cell_voltage_in_millivolt = count("Samples whose cell voltages were brought from millivolts to volts")
    cell_voltage_spike = count("Samples with a spike of a cell voltage")
    cell_voltage_stuck = count("Samples in which a cell voltage stands still")
    soc_out_of_range = count("Samples with an impossible reported state of charge")
    soc_spike = count("Samples whose reported state of charge is a spike")
    soc_stuck = count("Samples whose reported state of charge stands still")
    soc_jump = count("Samples at which the reported state of charge jumps")


#: Channels whose completeness is told.
CHANNELS = ("voltage", "current", "power", "temperature", "cell_voltage", "soc_bms")


class KnownCounts(dy.Schema):
    """One row per battery and UTC day: in how many samples each channel is known, and usable."""

    voltage_known = count("Samples with a voltage")
    voltage_usable = count("Samples with a voltage that no flag voids")
    current_known = count("Samples with a current")
    current_usable = count("Samples with a current that no flag voids")
    power_known = count("Samples with a power, or a voltage and a current")
    power_usable = count("Samples with a power, or a voltage and a current, that no flag voids")
    temperature_known = count("Samples with a cell temperature")
    temperature_usable = count("Samples with a cell temperature that no flag voids")
    cell_voltage_known = count("Samples with a cell voltage")
    cell_voltage_usable = count("Samples with a cell voltage that no flag voids")
    soc_bms_known = count("Samples with a reported state of charge")
    soc_bms_usable = count("Samples with a reported state of charge that no flag voids")


class CleanTelemetry(BatterySample, Measured, Flagged):
    """One row per battery and instant: one of the accepted rows, values untouched, flaws flagged beside them."""

    clock_shift_us = shift("What was subtracted from the time that the source gives, for its clock was astray")


class Interval5min(OfBattery):
    """One row per battery and 5 minutes in which anything was measured, from the samples of that day alone.

    What happens between the day's last sample and the next day's first is not in
    here: the fleet level adds it from the edges that `DayEvidence` keeps.
    """

    date = day("UTC day of the interval", primary_key=False)
    timestamp = instant("Start of the interval", primary_key=True)
    samples = count("Accepted samples in the interval")
    charging_capacity_ah = quantity("Ah", "Charge into the battery", low=0)
    discharging_capacity_ah = quantity("Ah", "Charge out of the battery", low=0)
    charging_energy_wh = quantity("Wh", "Energy into the battery", low=0)
    discharging_energy_wh = quantity("Wh", "Energy out of the battery", low=0)
    charging_energy_ac_wh = quantity("Wh", "Energy into the converter from its AC side", low=0)
    discharging_energy_ac_wh = quantity("Wh", "Energy out of the converter on its AC side", low=0)
    auxiliary_energy_wh = quantity("Wh", "Energy drawn by cooling, heating and controls", low=0)
    auxiliary_energy_returned_wh = quantity("Wh", "The same where the meter runs backwards", low=0)
    voltage_volt = quantity("V", "Voltage, time-weighted mean")
    current_ampere = quantity("A", "Current, time-weighted mean; positive charges")
    power_watt = quantity("W", "Power, time-weighted mean; positive charges")
    temperature_celsius = quantity("°C", "Mean cell temperature, time-weighted")
    ambient_temperature_celsius = quantity("°C", "Ambient temperature, time-weighted mean")
    power_ac_watt = quantity("W", "Power on the AC side of the converter, time-weighted mean; positive charges")
    auxiliary_power_watt = quantity("W", "Power drawn by cooling, heating and controls, time-weighted mean")
    voltage_observed_us = duration("Time over which the voltage is known")
    current_observed_us = duration("Time over which the current is known")
    power_observed_us = duration("Time over which the power is known")
    temperature_observed_us = duration("Time over which the temperature is known")
    ambient_temperature_observed_us = duration("Time over which the ambient temperature is known")
    power_ac_observed_us = duration("Time over which the power on the AC side is known")
    auxiliary_power_observed_us = duration("Time over which the power of the auxiliaries is known")
    current_abs_max_ampere = quantity("A", "Largest magnitude of the current among the samples", low=0)
    voltage_min_volt = quantity("V", "Lowest battery voltage among the samples")
    voltage_max_volt = quantity("V", "Highest battery voltage among the samples")
    cell_voltage_min_volt = quantity("V", "Lowest cell voltage among the samples")
    cell_voltage_max_volt = quantity("V", "Highest cell voltage among the samples")
    cell_voltage_spread_volt = quantity("V", "Highest minus lowest cell voltage, mean of the samples")
    temperature_min_celsius = quantity("°C", "Coldest probe among the samples")
    temperature_max_celsius = quantity("°C", "Hottest probe among the samples")
    step_count = count("Current steps of at least 0.05 C between neighbouring samples at most 60 s apart")
    step_current_voltage_sum = dy.Float64(nullable=False, description="Sum of ΔI·ΔV over those steps [AV]")
    step_current_square_sum = dy.Float64(nullable=False, min=0, description="Sum of ΔI² over those steps [A²]")
    step_voltage_square_sum = dy.Float64(nullable=False, min=0, description="Sum of ΔV² over those steps [V²]")
    step_steady_count = count("Those steps before which the current stood still and the voltage drifted little")
    step_steady_current_voltage_sum = dy.Float64(
        nullable=False, description="Sum of ΔI·ΔV over those [AV], ΔV without the drift before the step"
    )
    step_steady_current_square_sum = dy.Float64(nullable=False, min=0, description="Sum of ΔI² over those [A²]")
    step_steady_voltage_square_sum = dy.Float64(nullable=False, min=0, description="Sum of that ΔV² over those [V²]")
    step_cell_count = count("Steps on both sides of which lowest and highest cell voltage are known")
    step_cell_current_square_sum = dy.Float64(nullable=False, min=0, description="Sum of ΔI² over those [A²]")
    step_outside_current_sum = dy.Float64(
        nullable=False,
        description="Sum of ΔI·Δo over those [AV]; o is the voltage less cells in series times the middle of the cells",
    )
    step_outside_square_sum = dy.Float64(nullable=False, min=0, description="Sum of Δo² over those [V²]")
    step_magnitude_square_sum = dy.Float64(nullable=False, min=0, description="Sum of (Δ|I|)² over those [A²]")
    step_spread_magnitude_sum = dy.Float64(
        nullable=False, description="Sum of Δ|I|·Δs over those [AV]; s is the highest less the lowest cell voltage"
    )
    step_spread_square_sum = dy.Float64(nullable=False, min=0, description="Sum of Δs² over those [V²]")
    soc_bms_percent = quantity("%", "Reported state of charge, first sample of the interval")
    soh_bms_percent = quantity("%", "Reported state of health, first sample of the interval")


#: What is counted, and what is added up, of the steps of the current in an interval.
STEP_COUNTS = ("step_count", "step_steady_count", "step_cell_count")
STEP_SUMS = tuple(name for name in Interval5min.column_names() if name.startswith("step_") and name.endswith("_sum"))


class ClosedInterval5min(Interval5min):
    """One row per battery and 5 minutes in which anything was measured, with every midnight closed and repairs made."""

    repairs = label(
        "Kinds of repairs made to the row, separated by commas; its original is in intervals_5min", nullable=True
    )


class DayEvidence(BatteryDay, FlagCounts, KnownCounts):
    """One row per battery and UTC day: what the fleet level needs of the day beyond its 5-minute rows."""

    samples = count("Accepted samples")
    clock_shifted = count("Samples whose time was repaired, because the clock was astray")
    usual_interval_us = duration("Usual time from one sample to the next: the median, at most 15 minutes")
    max_gap_us = duration("Longest silence that is bridged")
    longest_gap_us = duration("Longest silence between two samples of the day")
    edges = dy.List(
        dy.Struct(
            {
                "channel": dy.String(nullable=False),
                "first_timestamp": dy.Datetime(time_unit="us", time_zone="UTC", nullable=False),
                "first_value": dy.Float64(nullable=False),
                "last_timestamp": dy.Datetime(time_unit="us", time_zone="UTC", nullable=False),
                "last_value": dy.Float64(nullable=False),
            },
        ),
        description="First and last known value of each integrated channel, to close the interval across midnight",
    )
    cell_voltage_spread_p95_volt = quantity("V", "Highest minus lowest cell voltage, 95th percentile of the samples")
    temperature_spread_p95_kelvin = quantity(
        "K", "Hottest probe minus mean temperature, 95th percentile of the samples"
    )
    temperature_range_p95_kelvin = quantity("K", "Hottest minus coldest probe, 95th percentile of the samples", low=0)


class Telemetry5min(OfBattery):
    """One row per battery and 5 minutes in which anything was measured, midnights closed, with our state of charge."""

    date = day("UTC day of the interval", primary_key=False)
    timestamp = instant("Start of the interval", primary_key=True)
    voltage_volt = quantity("V", "Voltage, time-weighted mean")
    current_ampere = quantity("A", "Current, time-weighted mean; positive charges")
    power_watt = quantity("W", "Power, time-weighted mean; positive charges")
    temperature_celsius = quantity("°C", "Mean cell temperature, time-weighted")
    ambient_temperature_celsius = quantity("°C", "Ambient temperature, time-weighted mean")
    cell_voltage_min_volt = quantity("V", "Lowest cell voltage among the samples")
    cell_voltage_max_volt = quantity("V", "Highest cell voltage among the samples")
    temperature_min_celsius = quantity("°C", "Coldest probe among the samples")
    temperature_max_celsius = quantity("°C", "Hottest probe among the samples")
    charging_capacity_ah = quantity("Ah", "Charge into the battery, without the sensor's offset where known", low=0)
    discharging_capacity_ah = quantity(
        "Ah", "Charge out of the battery, without the sensor's offset where known", low=0
    )
    charging_energy_wh = quantity("Wh", "Energy into the battery, without the sensor's offset where known", low=0)
    discharging_energy_wh = quantity("Wh", "Energy out of the battery, without the sensor's offset where known", low=0)
    soc_percent = quantity("%", "State of charge at the start of the interval, relative to today's capacity")
    soc_lower_percent = quantity("%", "Lower end of its 90 % interval")
    soc_upper_percent = quantity("%", "Upper end of its 90 % interval")
    soc_method = label("How the state of charge was found", nullable=True)
    soc_bms_percent = quantity("%", "State of charge as the battery management system reports it")
    coverage_fraction = quantity("1", "Share of the interval observed", low=0, high=1, nullable=False)
    repairs = label("Kinds of repairs made to the row, separated by commas; see the table repairs", nullable=True)
