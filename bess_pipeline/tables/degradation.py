"""Degradation: how fast capacity is lost, how long it will do, and what it is expected to be."""

from bess_pipeline.tables.columns import count, day, label, number, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay


class DailyStress(OfBatteryDay):
    """One row per battery and UTC day with data: what the day adds to the clocks of ageing."""

    cycles = number("Equivalent full cycles by charge", low=0, nullable=False)
    calendar = number("What it adds to the clock of the calendar", low=0, nullable=False)
    cycle = number("What it adds to the clock of cycling", nullable=False)


class Degradation(OfBattery):
    """One row per battery and `as_of`, every month end and the last day, from data up to it."""

    as_of = day("Last day that is known")
    degradation_percent_per_year = quantity("%/a", "Capacity lost in a year, of rated, over the year up to as_of")
    degradation_lower_percent_per_year = quantity("%/a", "Lower end of its 90 % interval")
    degradation_upper_percent_per_year = quantity("%/a", "Upper end of its 90 % interval")
    calendar_unit_percent = quantity("%", "Capacity that one more unit of the calendar's clock costs now", low=0)
    cycle_unit_percent = quantity("%", "The same of the clock of cycling: units are those of daily_stress", low=0)
    calendar_share_percent = quantity("%", "Share of the loss so far that is of the calendar; null where inseparable")
    end_of_life_percent = quantity("%", "Capacity of rated at which life ends", nullable=False)
    remaining_life_days_p05 = number("Days to the end of life, 5th percentile [d]", low=0)
    remaining_life_days_p10 = number("Days to the end of life, 10th percentile [d]", low=0)
    remaining_life_days_p50 = number("Days to the end of life, median [d]", low=0)
    remaining_life_days_p90 = number("Days to the end of life, 90th percentile [d]", low=0)
    remaining_life_days_p95 = number("Days to the end of life, 95th percentile [d]", low=0)
    remaining_life_at_least_days = quantity(
        "d", "Days of life that remain with 90 % probability, where no loss is significant yet", low=0
    )
    knee_hazard_per_year = number("Knees to be expected per battery and year, where none was seen yet", low=0)
    knee_date = day("When the loss became faster than expected", primary_key=False, nullable=True)
    knee_detected_on = day("Day at which data proved it", primary_key=False, nullable=True)
    days_known = count("Days with an estimate of capacity that this rests on")
    method = label("How the loss was found")


class CapacityForecast(OfBattery):
    """One row per battery, `as_of` and future month: the capacity to be expected if use goes on as in the last year."""

    as_of = day("Last day that is known")
    date = day("Future day")
    soh_p10_percent = quantity("%", "State of health, 10th percentile")
    soh_p50_percent = quantity("%", "State of health, median", nullable=False)
    soh_p90_percent = quantity("%", "State of health, 90th percentile")
