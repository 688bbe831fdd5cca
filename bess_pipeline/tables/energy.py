"""Energy accounts and the other daily numbers of a battery."""

import dataframely as dy

from bess_pipeline.tables.columns import count, duration, instant, label, number, quantity
from bess_pipeline.tables.keys import OfBatteryDay


class BatteryDaily(OfBatteryDay):
    """One row per battery per UTC day: energy, charge, cycles, efficiency, temperature, and how much was seen."""

    charging_energy_wh = quantity(
        "Wh", "Energy into the battery, without the offset of the current sensor where known", low=0
    )
    discharging_energy_wh = quantity(
        "Wh", "Energy out of the battery, without the offset of the current sensor where known", low=0
    )
    charging_capacity_ah = quantity(
        "Ah", "Charge into the battery, without the offset of the current sensor where known", low=0
    )
    discharging_capacity_ah = quantity(
        "Ah", "Charge out of the battery, without the offset of the current sensor where known", low=0
    )
    equivalent_full_cycles = number("Energy throughput over twice the rated energy", low=0)
    equivalent_full_cycles_charge = number("Charge throughput over twice the rated capacity", low=0)
    charging_energy_ac_wh = quantity("Wh", "Energy into the converter from its AC side, where metered", low=0)
    discharging_energy_ac_wh = quantity("Wh", "Energy out of the converter on its AC side, where metered", low=0)
    auxiliary_energy_wh = quantity("Wh", "Energy drawn by cooling, heating and controls, where metered", low=0)
    round_trip_efficiency_percent = quantity(
        "%", "Energy out over energy in, where the day holds at least 0.1 equivalent full cycles both ways"
    )
    round_trip_efficiency_30d_percent = quantity(
        "%",
        "Energy out over energy in of the 30 days up to this one, corrected for the change of state of charge",
    )
    round_trip_efficiency_30d_lower_percent = quantity("%", "Lower end of its 90 % interval")
    round_trip_efficiency_30d_upper_percent = quantity("%", "Upper end of its 90 % interval")
    round_trip_efficiency_trips_percent = quantity(
        "%", "Energy out over energy in of those trips, from a state of charge down and back, weighted by their depth"
    )
    trips = count("Trips of at least 10 points of charge that ended in the 30 days up to this one", nullable=True)
    round_trip_efficiency_ac_30d_percent = quantity(
        "%", "The same as over 30 days, on the AC side of the converter, where it is metered"
    )
    round_trip_efficiency_ac_auxiliary_30d_percent = quantity(
        "%", "The same with what cooling, heating and controls draw on top of what goes in"
    )
    coulombic_efficiency_30d_percent = quantity(
        "%", "Charge out over charge in of the 30 days up to this one, corrected for the change of state of charge"
    )
    coulombic_efficiency_30d_lower_percent = quantity(
        "%", "Lower end of its 90 % interval, which the offset of the current sensor rules"
    )
    coulombic_efficiency_30d_upper_percent = quantity("%", "Upper end of its 90 % interval")
    efficiency_boundary = label("Where the efficiencies are measured that do not say so: DC or AC", nullable=True)
    soc_min_percent = quantity("%", "Lowest state of charge")
    soc_max_percent = quantity("%", "Highest state of charge")
    temperature_mean_celsius = quantity("°C", "Mean cell temperature, time-weighted")
    temperature_max_celsius = quantity("°C", "Hottest probe of the day")
    cell_voltage_spread_p95_volt = quantity("V", "Highest minus lowest cell voltage, 95th percentile of the samples")
    internal_resistance_ohm = quantity(
        "Ω", "Resistance from steady current steps from 20 to 80 % of charge, as measured", low=0
    )
    coverage_fraction = quantity("1", "Share of the day observed", low=0, high=1, nullable=False)


def _sum(description: str) -> dy.Float64:
    return number(f"Sum over the rows whose energy is known and whose charge frames them: {description}")


class EnergyEvidence(OfBatteryDay):
    """One row per battery per UTC day: what its 5-minute rows add up to, for the day and for windows of days."""

    charging_energy_wh = quantity("Wh", "Energy into the battery", low=0)
    discharging_energy_wh = quantity("Wh", "Energy out of the battery", low=0)
    charging_capacity_ah = quantity("Ah", "Charge into the battery", low=0)
    discharging_capacity_ah = quantity("Ah", "Charge out of the battery", low=0)
    charging_energy_ac_wh = quantity("Wh", "Energy into the converter from its AC side, where metered", low=0)
    discharging_energy_ac_wh = quantity("Wh", "Energy out of the converter on its AC side, where metered", low=0)
    auxiliary_energy_wh = quantity("Wh", "Energy drawn by cooling, heating and controls, where metered", low=0)
    soc_min_percent = quantity("%", "Lowest state of charge")
    soc_max_percent = quantity("%", "Highest state of charge")
    temperature_mean_celsius = quantity("°C", "Mean cell temperature, time-weighted")
    temperature_max_celsius = quantity("°C", "Hottest probe of the day")
    cell_voltage_spread_p95_volt = quantity("V", "Highest minus lowest cell voltage, 95th percentile of the samples")
    internal_resistance_ohm = quantity(
        "Ω", "Resistance from steady current steps from 20 to 80 % of charge, as measured", low=0
    )
    coverage_fraction = quantity("1", "Share of the day observed", low=0, high=1, nullable=False)
    into = _sum("energy in [Wh]")
    out = _sum("energy out [Wh]")
    charged = _sum("charge in [Ah]")
    discharged = _sum("charge out [Ah]")
    stored_ah = quantity("Ah", "Sum of the change of charge by the state of charge")
    stored_wh = quantity("Wh", "Sum of the change of energy by the state of charge")
    active_hours = _sum("time with a current [h]")
    active_in_hours = _sum("time with a current into the battery [h]")
    active_volt = quantity("V", "Sum of voltage over the time with a current [Vh]")
    doubt_ah = quantity("Ah", "Sum of what the sensor's offset may add")
    doubt_wh = quantity("Wh", "Sum of what the sensor's offset may add")
    hours = _sum("time [h]")
    ac_into = _sum("energy in on the AC side [Wh]")
    ac_out = _sum("energy out on the AC side [Wh]")
    ac_stored_wh = quantity("Wh", "As stored_wh, over rows with a meter on the AC side")
    ac_dc_into = _sum("as into, over rows with a meter on the AC side [Wh]")
    ac_hours = _sum("time with a meter on the AC side [h]")
    aux = _sum("auxiliary energy [Wh]")
    aux_hours = _sum("time with a meter of the auxiliaries [h]")
    first_edge_volt = quantity("V", "Open-circuit voltage where the first such row begins")
    first_edge_sigma = number("Standard error of its charge [Ah]")
    last_edge_volt = quantity("V", "Open-circuit voltage where the last such row begins")
    last_edge_sigma = number("Standard error of its charge [Ah]")
    begins = instant("Start of the first row", nullable=True)
    ends = instant("End of the last row", nullable=True)
    observed_us = duration("Time over which current or power is known", nullable=True)
    trips = count("Trips of at least 10 points of charge that ended", nullable=True)
    trip_depth = number("Sum of their depths [%]")
    trip_weighted = number("Sum of their efficiencies, weighted by the depth [%]")
    last_at = instant("Start of the day's last interval", nullable=True)
    last_soc_percent = quantity("%", "Last known state of charge of the day")
    last_soc_at = instant("When it was so", nullable=True)
    last_voltage_volt = quantity("V", "Last known voltage of the day")
    last_voltage_at = instant("When it was so", nullable=True)
    last_current_ampere = quantity("A", "Last known current of the day")
    last_current_at = instant("When it was so", nullable=True)
    last_temperature_celsius = quantity("°C", "Last known temperature of the day")
    last_temperature_at = instant("When it was so", nullable=True)
