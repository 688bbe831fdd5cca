"""The fleet: what is installed, how each battery stands now, and the sums over a fleet's day."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, instant, key, label, number, quantity
from bess_pipeline.tables.keys import OfBattery

CHEMISTRIES = ("LFP", "NMC", "NCA", "LCO", "LTO", "lead_acid")

HEALTH_STATUSES = ("good", "watch", "warning", "critical", "unknown")


class Battery(OfBattery):
    """One row per battery: its nameplate, from the fleet register."""

    chemistry = choice(CHEMISTRIES, "Chemistry of the cells.")
    rated_capacity_ah = quantity("Ah", "Rated capacity", low=0, nullable=False)
    rated_energy_wh = quantity("Wh", "Rated energy", low=0, nullable=False)
    cells_in_series = count("Cells in series")
    resistance_ohm = quantity("Ω", "Resistance at 25 °C when new: a prior only", low=0)
    initial_equivalent_full_cycles = number("Equivalent full cycles before the first data", low=0, nullable=False)
    end_of_life_percent = quantity("%", "Capacity, of rated, at which its life ends", low=1, high=100, nullable=False)
    cell_voltage_low_volt = quantity("V", "Lowest cell voltage in operation", nullable=False)
    cell_voltage_high_volt = quantity("V", "Highest cell voltage in operation", nullable=False)
    temperature_low_celsius = quantity("°C", "Lowest cell temperature in operation", nullable=False)
    temperature_high_celsius = quantity("°C", "Highest cell temperature in operation", nullable=False)
    sampling = choice(["instant", "mean"], "Whether a value is that of its instant or the mean of its interval.")
    cell_component = label("Name of a cell in the source, with * for its number", nullable=True)
    probe_component = label("Name of a temperature probe in the source, with * for its number", nullable=True)
    first_component = count("Number of the first cell and of the first probe in their names", nullable=True)


class OcvPoint(OfBattery):
    """One row per battery and point of its open-circuit voltage curve, per cell, when new."""

    soc_percent = dy.Float64(primary_key=True, min=0, max=100, description="State of charge", metadata={"unit": "%"})
    ocv_volt = quantity("V", "Open-circuit voltage of one cell", nullable=False)


class BatteryLatest(OfBattery):
    """One row per battery: how it stands at its last sample."""

    timestamp = instant("Instant of the last sample known")
    soh_percent = quantity("%", "State of health, of rated capacity")
    soc_percent = quantity("%", "State of charge, of today's capacity")
    voltage_volt = quantity("V", "Voltage")
    current_ampere = quantity("A", "Current; positive charges")
    temperature_celsius = quantity("°C", "Mean cell temperature")
    equivalent_full_cycles = number("Equivalent full cycles since new, as far as known", low=0)
    degradation_percent_per_year = quantity("%/a", "Loss of state of health per year")
    open_events = count("Anomaly events that are open")
    health_status = choice(HEALTH_STATUSES, "How the battery is doing.")


class FleetDaily(dy.Schema):
    """One row per fleet and UTC day: sums and weighted means over its batteries."""

    fleet_id = key("Fleet")
    date = day("UTC day")
    batteries = count("Batteries with data that day")
    charging_energy_wh = quantity("Wh", "Energy into the batteries", low=0)
    discharging_energy_wh = quantity("Wh", "Energy out of the batteries", low=0)
    charging_capacity_ah = quantity("Ah", "Charge into the batteries", low=0)
    discharging_capacity_ah = quantity("Ah", "Charge out of the batteries", low=0)
    equivalent_full_cycles = number("Equivalent full cycles, mean weighted by rated energy", low=0)
    round_trip_efficiency_percent = quantity("%", "Energy out over energy in, of the batteries that cycled that day")
    temperature_mean_celsius = quantity("°C", "Cell temperature, mean over the batteries")
    temperature_max_celsius = quantity("°C", "Hottest probe of the fleet")
    coverage_fraction = quantity(
        "1", "Share of the day observed, mean over the batteries", low=0, high=1, nullable=False
    )
