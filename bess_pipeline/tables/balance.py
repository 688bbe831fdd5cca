"""Balance: how far the cells of a battery are apart at rest, in voltage, charge and warmth."""

from bess_pipeline.tables.columns import count, label, quantity
from bess_pipeline.tables.keys import OfBatteryDay

#: Bins of the state of charge, between the edges of the plateau of LFP [%].
SOC_BINS: dict[str, tuple[float, float]] = {
    "low": (-100.0, 20.0),
    "middle": (20.0, 85.0),
    "high": (85.0, 200.0),
}


class CellBalance(OfBatteryDay):
    """One row per battery and UTC day with telemetry: spread of its cells at rest, and of its temperatures.

    Rest is a current within 0.02 C for 30 minutes. Bins of the state of charge are told
    by the open-circuit voltage of the mean cell: low to 20 %, middle, high from 85 %. A
    deviation is told in a bin where its standard error stays below 5 points.
    """

    rest_intervals = count("Intervals of 5 minutes at rest with both cell extremes")
    rest_spread_low_volt = quantity("V", "Highest minus lowest cell voltage at rest up to 20 %, median")
    rest_spread_middle_volt = quantity("V", "Highest minus lowest cell voltage at rest, 20 to 85 %, median")
    rest_spread_high_volt = quantity("V", "Highest minus lowest cell voltage at rest from 85 %, median")
    imbalance_percent = quantity("%", "State of charge of the highest minus that of the lowest cell")
    imbalance_sigma_percent = quantity("%", "Standard error of the imbalance", low=0)
    imbalance_soc_percent = quantity("%", "State of charge of the mean cell at which the imbalance was read")
    deficit_low_percent = quantity("%", "Mean minus lowest cell's state of charge, up to 20 %")
    deficit_low_sigma_percent = quantity("%", "Standard error of it", low=0)
    deficit_low_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    deficit_middle_percent = quantity("%", "Mean minus lowest cell's state of charge, 20 to 85 %")
    deficit_middle_sigma_percent = quantity("%", "Standard error of it", low=0)
    deficit_middle_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    deficit_high_percent = quantity("%", "Mean minus lowest cell's state of charge, from 85 %")
    deficit_high_sigma_percent = quantity("%", "Standard error of it", low=0)
    deficit_high_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    excess_low_percent = quantity("%", "Highest minus mean cell's state of charge, up to 20 %")
    excess_low_sigma_percent = quantity("%", "Standard error of it", low=0)
    excess_low_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    excess_middle_percent = quantity("%", "Highest minus mean cell's state of charge, 20 to 85 %")
    excess_middle_sigma_percent = quantity("%", "Standard error of it", low=0)
    excess_middle_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    excess_high_percent = quantity("%", "Highest minus mean cell's state of charge, from 85 %")
    excess_high_sigma_percent = quantity("%", "Standard error of it", low=0)
    excess_high_soc_percent = quantity("%", "State of charge of the mean cell at which it was read")
    temperature_range_p95_kelvin = quantity("K", "Hottest minus coldest probe, 95th percentile of the samples", low=0)
    hot_spot_p95_kelvin = quantity("K", "Hottest probe minus mean temperature, 95th percentile of the samples")
    heating_kelvin_per_hour = quantity("K/h", "Fastest rise of the mean temperature over half an hour", low=0)
    cooling_kelvin_per_hour = quantity("K/h", "Fastest fall of the mean temperature over half an hour", low=0)
    weakest_cell = label("Cell that is lowest where the others are low, or at rest", nullable=True)
    weakest_cell_deviation_volt = quantity("V", "Its voltage there less that of the median cell")
