"""What 1,000 to 1,000,000 batteries take: arithmetic on measured figures, as docs/a_million_batteries.md tells.

python -m bess_pipeline_tests.benchmarks.plan_of_size
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from rich.console import Console
from rich.table import Table

#: Batteries that the plan is made for.
SIZES = (1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Measured:
    """Figures that the plan rests on, and where they are from.

    Attributes:
        interval_seconds: From sample to sample [s]: an assumption.
        batteries_per_fleet: Chosen, for the memory of a fleet that is made whole.
        partitions_per_lake: Fleets × days of one lake and code location: Dagster's advice, and where a Delta log
            begins to cost more than the work it is for (`delta_log nights`).
        bytes_per_row: Of all tables, a raw row [B]: `growth`, 1,000 × 30.
        processor_seconds_per_million_rows: To make everything again [s]: `growth`.
        processor_seconds_per_fleet_day: The same, whatever is in it [s]: `growth`.
        night_fixed_seconds: Of processors, a night of a fleet of two batteries, a process for each job [s]:
            `delta_log nights`.
        night_seconds_per_battery: Of processors beyond that [s]: `growth --night`, 100 × 30.
        gigabytes_per_thousand_battery_days: Memory of a fleet that is made whole [GB]: `growth`, 1,000 × 30.
        puts_per_night: Requests that write, list or copy, a night of a fleet: `fleet_night`.
        gets_per_night: Requests that read: 2,315 and 2,887 after 10 and 40 days, 3,600 after 100 (`fleet_night`); to
            1,000 days by the last slope.
        puts_per_look: Requests that write or list, a look of the daemon at a fleet: `fleet_night`.
        gets_per_look: Requests that read, however many days there are: a process remembers what it read of the ledger.
        answer_seconds: Of a store [s], one request after the other: an assumption.
        dollars_per_gigabyte_month: Of storage, the first 50 TB: Amazon S3 Standard, US East, as of 2026.
        dollars_per_thousand_puts: The same.
        dollars_per_thousand_gets: The same.
    """

    interval_seconds: int = 60
    batteries_per_fleet: int = 50
    partitions_per_lake: int = 100_000
    bytes_per_row: float = 31.2
    processor_seconds_per_million_rows: float = 15.8
    processor_seconds_per_fleet_day: float = 0.124
    night_fixed_seconds: float = 19.8
    night_seconds_per_battery: float = 0.18
    gigabytes_per_thousand_battery_days: float = 0.51
    puts_per_night: int = 1_666
    gets_per_night: int = 14_700
    puts_per_look: int = 8
    gets_per_look: int = 13
    answer_seconds: float = 0.03
    dollars_per_gigabyte_month: float = 0.023
    dollars_per_thousand_puts: float = 0.005
    dollars_per_thousand_gets: float = 0.0004


MEASURED = Measured()
#: Days that are kept, hours in which a night has to be over, days in which three years are to be made.
KEPT_DAYS, NIGHT_HOURS, BACKFILL_DAYS = 1_000, 4, 7
_DAY_SECONDS = 86_400


def sized(batteries: int, given: Measured = MEASURED) -> dict[str, float]:
    """What so many batteries take.

    Args:
        batteries: How many.
        given: What was measured.

    Returns:
        What is told → figure, with its unit in the name.
    """
    fleets = ceil(batteries / given.batteries_per_fleet)
    lakes = ceil(fleets * KEPT_DAYS / given.partitions_per_lake)
    rows = batteries * _DAY_SECONDS / given.interval_seconds
    night = fleets * given.night_fixed_seconds + batteries * given.night_seconds_per_battery
    everything = KEPT_DAYS * (
        rows / 1e6 * given.processor_seconds_per_million_rows + fleets * given.processor_seconds_per_fleet_day
    )
    stored = rows * KEPT_DAYS * given.bytes_per_row / 1e12
    night_dollars = _dollars(given.puts_per_night, given.gets_per_night, given)
    look_dollars = _dollars(given.puts_per_look, given.gets_per_look, given)
    return {
        "fleets": fleets,
        "lakes, each with its code location": lakes,
        "million raw rows a day": rows / 1e6,
        "TB after 1,000 days": stored,
        "dollars a month for them": stored * 1000 * given.dollars_per_gigabyte_month,
        "dollars a month for requests of nights": fleets * 30 * night_dollars,
        "dollars a month for looks each 30 s": _looks(fleets, lakes, 30, given) * look_dollars,
        "dollars a month for looks each hour": _looks(fleets, lakes, 3600, given) * look_dollars,
        "processor hours a night": night / 3600,
        "processors, for nights of 4 hours": ceil(night / 3600 / NIGHT_HOURS),
        "processor hours to make 1,000 days": everything / 3600,
        "processors, to make them in a week": ceil(everything / (BACKFILL_DAYS * _DAY_SECONDS)),
    }


def _dollars(puts: int, gets: int, given: Measured) -> float:
    """What requests cost."""
    return (puts * given.dollars_per_thousand_puts + gets * given.dollars_per_thousand_gets) / 1000


def _looks(fleets: int, lakes: int, every: float, given: Measured) -> float:
    """Looks in a month: as often as is asked for, or as often as one fleet after another of a lake can be looked at."""
    month = 30 * _DAY_SECONDS
    one = (given.puts_per_look + given.gets_per_look) * given.answer_seconds
    return min(fleets * month / every, lakes * month / one)


def rows_of_table() -> list[list[str]]:
    """The table of the plan: a row for each figure, a column for each number of batteries."""
    found = [sized(size) for size in SIZES]
    return [[name, *(_short(each[name]) for each in found)] for name in found[0]]


def _short(value: float) -> str:
    return f"{value:,.2f}" if value < 10 and value != round(value) else f"{value:,.0f}"


def memory(given: Measured = MEASURED) -> float:
    """Gigabytes that a fleet needs to be made whole, after all days that are kept."""
    return given.batteries_per_fleet * KEPT_DAYS / 1000 * given.gigabytes_per_thousand_battery_days


def main() -> None:
    """Print the table."""
    grid = Table("batteries", *(f"{size:,}" for size in SIZES))
    for row in rows_of_table():
        grid.add_row(*row)
    console = Console()
    console.print(grid)
    console.print(f"a fleet made whole: {memory():.1f} GB")


if __name__ == "__main__":
    main()
