"""Energy accounts and the other daily numbers of a battery."""

import dataframely as dy

from bess_pipeline.tables.columns import day, key, label, number, quantity


class BatteryDaily(dy.Schema):
    """One row per battery per UTC day: energy, charge, cycles, efficiency, temperature, and how much was seen."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    date = day("UTC day")
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
    round_trip_efficiency_percent = quantity(
        "%", "Energy out over energy in, where the day holds at least 0.1 equivalent full cycles both ways"
    )
    round_trip_efficiency_30d_percent = quantity(
        "%",
        "Energy out over energy in of the 30 days up to this one, corrected for the change of state of charge",
    )
    efficiency_boundary = label("Where energy is measured: DC or AC", nullable=True)
    soc_min_percent = quantity("%", "Lowest state of charge")
    soc_max_percent = quantity("%", "Highest state of charge")
    temperature_mean_celsius = quantity("°C", "Mean cell temperature, time-weighted")
    temperature_max_celsius = quantity("°C", "Hottest probe of the day")
    cell_voltage_spread_p95_volt = quantity("V", "Highest minus lowest cell voltage, 95th percentile of the samples")
    internal_resistance_ohm = quantity("Ω", "Resistance from steady current steps, as measured", low=0)
    coverage_fraction = quantity("1", "Share of the day observed", low=0, high=1, nullable=False)
