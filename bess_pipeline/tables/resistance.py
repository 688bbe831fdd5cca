"""Resistance: what each day's current steps say of cells, connections and contactors."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, number, quantity
from bess_pipeline.tables.keys import OfBatteryDay

METHODS = ("steps", "means")


class ResistanceEvidence(OfBatteryDay):
    """One row per battery, UTC day, method, third of the charge and kind of temperature: a measured resistance."""

    method = choice(METHODS, "Whether it rests on current steps, or on 5-minute means.", primary_key=True)
    third = dy.Int64(primary_key=True, description="Third of the state of charge, from 0; 3 where it is unknown")
    unwarmed = dy.Float64(
        primary_key=True, description="0: cell temperature known; 1: none known; between: that of the air"
    )
    log_resistance = number("Logarithm of the resistance [Ω]", nullable=False)
    variance = number("Its variance", low=0, nullable=False)
    cold = number("10 kJ/mol over RT less that at 25 °C", nullable=False)
    charge = number("Share of the charge less a half; 0 where unknown", nullable=False)
    charge_square = number("Mean square of it", nullable=False)
    steps = number("Steps, or changes as large as one", low=0, nullable=False)
    celsius = number("Mean temperature [°C]")
    ohm = number("The resistance [Ω]", low=0, nullable=False)


class StepResistance(OfBatteryDay):
    """One row per battery and UTC day with telemetry: what its current steps say alone."""

    internal_resistance_ohm = quantity(
        "Ω", "Resistance of the day from steady current steps from 20 to 80 % of charge, as measured", low=0
    )
    cell_loop_resistance_ohm = quantity("Ω", "Highest minus lowest cell voltage per current, over the day's steps")
    cell_loop_resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval")
    cell_loop_resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval")
    outside_cell_resistance_ohm = quantity("Ω", "Voltage beyond that of the cells per current, over the day's steps")
    outside_cell_resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval")
    outside_cell_resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval")


class ResistanceDaily(OfBatteryDay):
    """One row per battery and UTC day with telemetry: its resistance, from data up to the end of that day only."""

    method = choice(
        METHODS, "Whether resistance rests on current steps, or on changes of 5-minute means.", nullable=True
    )
    step_count = count("Steady current steps of the day, or changes of the 5-minute mean as large as a step")
    internal_resistance_ohm = quantity(
        "Ω", "Resistance of the day from steady current steps from 20 to 80 % of charge, as measured", low=0
    )
    step_temperature_celsius = quantity("°C", "Mean temperature at the steps")
    day_resistance_ohm = quantity("Ω", "Resistance of the day alone, at 25 °C and 50 % state of charge", low=0)
    resistance_ohm = quantity("Ω", "Resistance at 25 °C and 50 % state of charge", low=0)
    resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval", low=0)
    resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval", low=0)
    resistance_increase_percent = quantity("%", "Increase over the battery's first 30 days, or those so far")
    resistance_increase_lower_percent = quantity("%", "Lower end of its 90 % interval")
    resistance_increase_upper_percent = quantity("%", "Upper end of its 90 % interval")
    activation_energy_joule_per_mole = quantity("J/mol", "Activation energy that fits the battery's steps so far")
    activation_energy_sigma_joule_per_mole = quantity("J/mol", "Standard error of it", low=0)
    cell_loop_resistance_ohm = quantity("Ω", "Highest minus lowest cell voltage per current, over the day's steps")
    cell_loop_resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval")
    cell_loop_resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval")
    outside_cell_resistance_ohm = quantity("Ω", "Voltage beyond that of the cells per current, over the day's steps")
    outside_cell_resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval")
    outside_cell_resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval")
