"""Early failure: which batteries to look at first, and why."""

from bess_pipeline.tables.anomalies import FAMILIES
from bess_pipeline.tables.columns import choice, count, label, number, quantity
from bess_pipeline.tables.keys import OfBatteryDay

#: From nothing seen where somebody looked, to what may end within days. `unwatched` is no statement at all.
LEVELS = ("unwatched", "no evidence", "watch", "raised", "urgent")


class FailureRisk(OfBatteryDay):
    """One row per battery and UTC day: how much speaks for an early failure, and what that rests on."""

    level = choice(LEVELS, "How much speaks for it; no evidence is not health, and unwatched is no statement.")
    rank = count("Place in the fleet that day, from 1; null where there is no evidence", nullable=True)
    surprise = number(
        "Sum over the families of −log10 of the share of healthy battery-days that show as much", low=0, nullable=False
    )
    family = choice(FAMILIES, "Family with the largest share of it.", nullable=True)
    kind = label("What that looks like", nullable=True)
    rests_on = label("What was raised in the three weeks before, by family and lane, as JSON", nullable=True)
    lead_days = quantity("d", "Time that is left at least, as far as anything is known of it", low=0)
    lead_rests_on = label("What that time rests on, or why there is none", nullable=True)
