"""What tells batteries apart, and their days."""

import dataframely as dy

from bess_pipeline.tables.columns import day, key

BATTERY = ("fleet_id", "battery_id")
BATTERY_DAY = (*BATTERY, "date")


class OfBattery(dy.Schema):
    """Rows of batteries."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")


class OfBatteryDay(OfBattery):
    """One row per battery and UTC day."""

    date = day("UTC day")
