"""Partitions: fleets come and go, days run from the first day of telemetry to today, today included."""

from datetime import date

import dagster as dg

from bess_pipeline.config import Settings
from bess_pipeline.lake.slices import Slice
from bess_pipeline.window import Window

FLEETS = dg.DynamicPartitionsDefinition(name="fleet")
DAYS = dg.DailyPartitionsDefinition(start_date=Settings().first_day.isoformat(), timezone="UTC", end_offset=1)
FLEET_DAYS = dg.MultiPartitionsDefinition({"fleet": FLEETS, "date": DAYS})

#: One run per fleet and contiguous range of days.
RANGES = dg.BackfillPolicy.multi_run(max_partitions_per_run=Settings().days_per_run)


def slice_of(keys: list[str]) -> Slice:
    """The slice of the lake that partition keys speak of.

    Raises:
        ValueError: If the keys are of several fleets: a run works on one.
    """
    multi = [key for key in keys if isinstance(key, dg.MultiPartitionKey)]
    if not multi:
        (fleet,) = keys
        return Slice(fleet)
    fleets = {key.keys_by_dimension["fleet"] for key in multi}
    if len(fleets) != 1:
        raise ValueError(f"one run works on one fleet, not on {', '.join(sorted(fleets))}")
    return Slice(fleets.pop(), Window.hull(day_of(key) for key in multi))


def day_of(key: str) -> date:
    """The UTC day that the partition key of a fleet's day speaks of.

    Raises:
        TypeError: If it is the key of a whole fleet.
    """
    if not isinstance(key, dg.MultiPartitionKey):
        raise TypeError(f"{key} is a fleet, not one of its days")
    return date.fromisoformat(key.keys_by_dimension["date"])


def day_key(fleet_id: str, day: object) -> dg.MultiPartitionKey:
    """The partition key of one fleet's day."""
    return dg.MultiPartitionKey({"fleet": fleet_id, "date": str(day)})
