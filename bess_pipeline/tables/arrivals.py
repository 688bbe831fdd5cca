"""When the days of a fleet came: by the clock of the machine that looks into the landing zone."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, flag, instant, key, number, quantity

#: What became of a day: nothing came, too little of it, or enough.
STATES = ("missing", "partial", "complete")


class ArrivalsDaily(dy.Schema):
    """One row per fleet and UTC day, from its first to its last: when the day came, how late, and whether all of it.

    Times are those of landing scans, so that a copied file is no later than the original; they are circumstances, not
    data: two deployments with the same files have other ones. What was there already when the fleet was first looked
    at, or was delivered later of days before that, came nobody knows when, and is never late.
    """

    fleet_id = key("Fleet")
    date = day("UTC day")
    first_seen_at = instant("When a landing scan first saw rows of the day; null if nobody knows", nullable=True)
    last_seen_at = instant("When a landing scan last saw more or fewer rows of the day, likewise", nullable=True)
    first_delay_hours = number("From the end of the day to its first rows; negative while the day went on [h]")
    last_delay_hours = number("From the end of the day to the last change of its rows [h]")
    usual_delay_hours = number("Median delay of the last rows of the 30 days before; null of fewer than 7 [h]")
    late_after_hours = number("Delay beyond which the day is late: a setting, or the usual with a margin [h]")
    is_late = flag("Whether the last rows came later than that; null where nobody knows", nullable=True)
    batteries_expected = count("Batteries known up to this day; null until the day is made", nullable=True)
    batteries_reporting = count("Batteries with a sample on this day; null until the day is made", nullable=True)
    coverage_fraction = quantity(
        "1", "Share of the day observed, mean over the batteries expected; null until the day is made", low=0, high=1
    )
    status = choice(STATES, "Partial is less than 95 % of the day; null until the day is made.", nullable=True)
