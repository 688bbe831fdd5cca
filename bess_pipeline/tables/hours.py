"""Hours: what each hour says of the coldest signs of danger."""

from bess_pipeline.tables.columns import count, day, instant, quantity
from bess_pipeline.tables.keys import OfBattery


class HourlyEvidence(OfBattery):
    """One row per battery and hour: how far its lowest cell and its hottest probe are from the average."""

    timestamp = instant("Start of the hour", primary_key=True)
    date = day("UTC day of the hour", primary_key=False)
    observed_until = instant("End of the hour's last 5-minute interval with data")
    intervals = count("Intervals of 5 minutes with data")
    cell_below_volt = quantity(
        "V", "How far the lowest cell lies below the mean one, off the steep ends; median of the intervals"
    )
    hot_spot_kelvin = quantity("K", "How far the hottest probe lies above the mean one; median of the intervals")
    cell_voltage_mean_volt = quantity("V", "Voltage of the mean cell")
    temperature_celsius = quantity("°C", "Mean temperature")
