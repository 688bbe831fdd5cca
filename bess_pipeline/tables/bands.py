"""How long a battery was how full, how warm and under how much load."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, label, number
from bess_pipeline.tables.keys import OfBatteryDay

#: What is told in bands.
QUANTITIES = ("soc", "temperature", "c_rate")


class TimeInBand(OfBatteryDay):
    """One row per battery, UTC day, quantity and band that it was in: for how long."""

    quantity = choice(QUANTITIES, "State of charge [%], cell temperature [°C] or C-rate [C].", primary_key=True)
    position = dy.Int64(primary_key=True, min=0, description="Place of the band among those of its quantity, from 0")
    band = label("The band in words")
    band_lower = number("Where the band begins, in the unit of the quantity; null where it has no lower end")
    band_upper = number("Where the next begins; null where it has no upper end")
    observed_hours = number("Time that the battery was seen in the band [h]", low=0, nullable=False)
