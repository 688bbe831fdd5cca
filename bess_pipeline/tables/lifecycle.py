"""Warranty, wear, money: what was agreed and assumed, and what follows for each battery."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, flag, instant, key, label, number, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

#: Terms of a warranty that tell how a battery may be used; what breaks them is the operator's to answer for.
OPERATING_TERMS = ("soc_low", "soc_high", "temperature_low", "temperature_high", "charging_rate", "discharging_rate")
#: All terms that events are raised for. The last two are what the supplier promises.
TERMS = (*OPERATING_TERMS, "rest", "efficiency", "capacity")
PARTIES = ("operator", "supplier")
STANDINGS = ("within", "doubtful", "breached", "unknown", "nothing agreed")


class Assumption(dy.Schema):
    """One row per fleet and number that its warranty or its economics rest on, or point of a curve."""

    fleet_id = key("Fleet")
    name = key("What it is")
    position = dy.Int64(primary_key=True, min=0, description="Which point of a curve, or which of several; else 0")
    curve_at = number("Where on the curve the point is: years, or equivalent full cycles")
    value = number("The number")
    unit = label("Unit of the number")
    first_day = day("First day that it is about", primary_key=False, nullable=True)
    last_day = day("Last day that it is about", primary_key=False, nullable=True)
    source = label("Who says so: contract, quotation, market report; of an exclusion, the reason", nullable=True)
    stated_on = day("Day on which it was said", primary_key=False, nullable=True)


class WarrantyPiece(OfBatteryDay):
    """One row per battery, UTC day, term and stretch of the day in which the term was not kept, or of work."""

    term = choice((*OPERATING_TERMS, "work"), "The term; work: there was a current.", primary_key=True)
    started_at = instant("Begin of the stretch", primary_key=True)
    ended_at = instant("End of the stretch")
    intervals = count("Intervals of 5 minutes in it that were seen")
    worst = number("Value that is farthest beyond the limit, in the unit of the term")
    agreed = number("The limit; null of work")


class WarrantyDaily(OfBatteryDay):
    """One row per battery and UTC day under warranty: what is guaranteed, what is there, and what has been used up."""

    age_years = number(
        "Anniversaries of the warranty's first day, and the part of the year since [a]", low=0, nullable=False
    )
    equivalent_full_cycles = number("Equivalent full cycles so far, those before the first data included", low=0)
    guaranteed_soh_percent = quantity("%", "State of health that is guaranteed at this age and after these cycles")
    soh_percent = quantity("%", "State of health")
    margin_percent = quantity("%", "State of health above the guaranteed one, in points; negative is a breach")
    margin_lower_percent = quantity("%", "Lower end of its 90 % interval")
    margin_upper_percent = quantity("%", "Upper end of its 90 % interval")
    standing = choice(
        STANDINGS,
        "How it stands; doubtful: below what is guaranteed, but within the error; breached: below it beyond error.",
    )
    cycles_used_percent = quantity("%", "Equivalent full cycles of those that the warranty allows in all", low=0)
    cycles_run_out_on = day("Day on which they are used up at the pace of 90 days", primary_key=False, nullable=True)
    cycles_of_year = number("Equivalent full cycles in this year of the warranty", low=0)
    cycles_of_year_percent = quantity("%", "Of those that the warranty allows in a year", low=0)
    energy_used_percent = quantity("%", "Energy discharged of what the warranty allows in all", low=0)
    energy_runs_out_on = day("Day on which it is used up at the pace of 90 days", primary_key=False, nullable=True)
    loss_90d_percent_per_year = quantity("%/a", "Loss of state of health over 90 days")
    guaranteed_loss_percent_per_year = quantity("%/a", "Loss over the same 90 days that the guarantee allows")
    is_early_notice = flag(
        "Loses more than twice what the guarantee allows over 90 days, and beyond error more than that", nullable=True
    )


class WarrantyEvent(OfBattery):
    """One row per battery, term and stretch of time in which a term of its warranty was not kept."""

    term = choice(TERMS, "The term.", primary_key=True)
    started_at = instant("Begin", primary_key=True)
    ended_at = instant("End; the end of the data where it goes on")
    party = choice(PARTIES, "Who has to answer for it.")
    duration_hours = number("From begin to end [h]", low=0, nullable=False)
    seen_hours = number("Of these, with telemetry that shows it [h]", low=0, nullable=False)
    worst = number("Value that is farthest beyond the limit, in the unit of the limit")
    agreed = number("What the warranty says")
    unit = label("Unit of the two")
    evidence = label("Table and column that show it")


class WarrantyForecast(OfBattery):
    """One row per battery and `as_of`: when its state of health will fall below what is guaranteed."""

    as_of = day("Last day that is known")
    warranty_ends_on = day("Day on which the warranty ends", primary_key=False)
    breach_probability = number("Probability of a breach before the warranty ends", low=0, high=1)
    breach_date_p10 = day("Day by which it has come with 10 % probability", primary_key=False, nullable=True)
    breach_date_p50 = day("With 50 %", primary_key=False, nullable=True)
    breach_date_p90 = day(
        "With 90 %; null where that is not before the warranty ends", primary_key=False, nullable=True
    )
    cycles_run_out_on = day("Day on which the cycles that are allowed are used up", primary_key=False, nullable=True)


#: What wear depends on.
WEAR_FACTORS = ("depth", "state of charge", "temperature", "c_rate")


class WearDaily(OfBatteryDay):
    """One row per battery and UTC day: what capacity the day cost, by resting and by cycling, and what it is worth."""

    calendar_loss_percent = quantity("%", "Capacity lost by the calendar, of rated", low=0)
    cycle_loss_percent = quantity("%", "Capacity lost by cycling, of rated", low=0)
    discharging_energy_wh = quantity("Wh", "Energy discharged", low=0)
    calendar_cost = number("What the calendar's loss is worth [money]", low=0)
    cycle_cost = number("What the loss by cycling is worth [money]", low=0)
    cycle_cost_per_mwh = number("The same for each MWh discharged [money/MWh]", low=0)


class WearByDepth(OfBattery):
    """One row per battery, month and depth of cycles: what of the month's loss by cycling they cost."""

    month = day("First day of the month in which the cycles ended")
    depth_lower_percent = dy.Float64(
        primary_key=True, min=0, max=100, description="Depth from here on", metadata={"unit": "%"}
    )
    depth_upper_percent = quantity("%", "Depth up to here", nullable=False)
    cycles = number("Cycles of that depth, halves as halves", low=0, nullable=False)
    equivalent_full_cycles = number("The same by their depth", low=0, nullable=False)
    cycle_loss_percent = quantity("%", "Capacity that they cost, of rated", low=0)
    cycle_cost = number("What that is worth [money]", low=0)


class WearCurve(OfBattery):
    """One row per battery, factor of wear and level of it: what use at that level would cost, the rest as lately."""

    factor = choice(WEAR_FACTORS, "What is varied.", primary_key=True)
    level = dy.Float64(primary_key=True, description="Its level: % of charge, °C, or C")
    as_of = day("Last day that is known", primary_key=False)
    usual = number("Where the battery has been on this factor in the last 90 days")
    calendar_loss_percent_per_year = quantity("%/a", "Capacity that the calendar would cost in a year", low=0)
    cycle_loss_percent_per_year = quantity("%/a", "Capacity that cycling would cost in a year", low=0)
    cycle_loss_percent_per_mwh = number("Capacity that a discharged MWh would cost [% of rated/MWh]", low=0)
    cycle_cost_per_mwh = number("What that is worth [money/MWh]", low=0)
    calendar_cost_per_year = number("What the calendar's loss is worth [money/a]", low=0)


OPTIONS = (
    "run on",
    "replace at end of life",
    "replace now",
    "shallower cycles",
    "5 K cooler",
    "20 points emptier",
    "half the C-rate",
    "rebalance",
    "replace weakest module",
    "full charge",
)
PERCENTILES = ("p10", "p50", "p90")


class Decision(OfBattery):
    """One row per battery, choice and percentile of its future capacity: what the choice is worth."""

    option = choice(OPTIONS, "The choice.", primary_key=True)
    percentile = choice(PERCENTILES, "Of the capacity forecast; p10 is the worse.", primary_key=True)
    as_of = day("Last day that is known", primary_key=False)
    net_present_value = number("Value today of what it brings and costs [money]", nullable=False)
    place = count("Place among the choices whose costs are known, by value: 1 is the best", nullable=True)
    internal_rate_of_return_percent = quantity("%", "Return a year on what is spent, against running on")
    payback_years = number("Years until what is spent has come back, against running on [a]", low=0)
    levelized_cost_per_mwh = number("Costs over energy discharged, both discounted [money/MWh]")
    life_years = number("Years until the end of life, at most as far as forecasts are told [a]", low=0)


class DecisionSensitivity(OfBattery):
    """One row per battery, assumption and its variation: which choice would be the best at the median."""

    varied = choice(("replacement", "rate", "margin", "operating", "fade"), "What is varied.", primary_key=True)
    factor = dy.Float64(primary_key=True, description="By which it is multiplied")
    best_option = choice(OPTIONS, "The best choice then.")
    net_present_value = number("What it is worth then [money]", nullable=False)
    is_another = flag("Whether another is the best than without the variation")


#: What of the use of a battery can be limited.
LIMITS = ("soc_low", "soc_high", "soc_window", "c_rate", "temperature_high")


class OperatingLimit(OfBattery):
    """One row per battery, limit to its use, level of it and percentile of its future: what keeping to it is worth."""

    limited = choice(
        LIMITS,
        "What is limited: soc_low and soc_high at either end, soc_window at both; else the highest value.",
        primary_key=True,
    )
    lower = dy.Float64(primary_key=True, description="Lowest value that is allowed [%]; 0 where it is not limited")
    upper = dy.Float64(
        primary_key=True,
        description="Highest value that is allowed: % of charge, C, or °C; 100 where it is not limited",
    )
    percentile = choice(PERCENTILES, "Of the capacity forecast; p10 is the worse.", primary_key=True)
    as_of = day("Last day that is known", primary_key=False)
    usual_lower = number("Where use began in the last 90 days [%]; null of other limits")
    usual_upper = number("Where it ended; of other limits, the mean")
    energy_fraction = quantity("1", "Energy discharged over that without the limit", low=0, nullable=False)
    margin_fraction = quantity("1", "What a MWh earns over what it does without it; null where no price tells", low=0)
    loss_fraction = quantity("1", "Capacity lost in a year over that without the limit", low=0, nullable=False)
    life_years = number("Years until the end of life, at most as far as forecasts are told [a]", low=0)
    life_gained_years = number("Of these, more than without the limit [a]")
    net_present_value_gain = number("What keeping to it is worth [money]; null where what it costs is not known")
    worth_of_life = number("The same, if what it costs was nothing: the most that may be paid for it [money]")
    is_recommended = flag("Worth the most among the levels of this limit, at the median; none where nothing gains")


#: What was done; what would have brought the most revenue; what would have left the most after wear.
SCHEDULES = ("done", "revenue", "wear")


class MarketPrice(dy.Schema):
    """One row per fleet and delivery period: what a MWh costs in it."""

    fleet_id = key("Fleet")
    timestamp = instant("Begin of the period", primary_key=True)
    hours = number("Length of the period [h]", low=0, nullable=False)
    price_per_mwh = number("What a MWh is bought and sold for [money/MWh]", nullable=False)


class DispatchDaily(OfBatteryDay):
    """One row per battery, UTC day and schedule: what it earned at the fleet's prices, and what wear took of it."""

    schedule = choice(
        SCHEDULES,
        "done: what it did; revenue, wear: the best of the week for the most revenue, or for the most after wear.",
        primary_key=True,
    )
    seen_fraction = quantity("1", "Share of the day's periods in which power is known", low=0, high=1, nullable=False)
    revenue = number("Energy sold less energy bought [money]", nullable=False)
    charged_mwh = number("Energy in [MWh]", low=0, nullable=False)
    discharged_mwh = number("Energy out [MWh]", low=0, nullable=False)
    equivalent_full_cycles = number("Energy in and out over twice what the battery holds", low=0, nullable=False)
    calendar_loss_percent = quantity("%", "Capacity that resting cost, of rated", low=0, nullable=False)
    cycle_loss_percent = quantity("%", "Capacity that cycling cost, of rated", low=0, nullable=False)
    wear_cost = number("What that is worth [money]", low=0, nullable=False)
    profit = number("Revenue less wear [money]", nullable=False)
    spread_revenue = number("What the day's dearest and cheapest hours would bring, one cycle; null of days cut short")


class AugmentationYear(dy.Schema):
    """One row per fleet, percentile and year ahead: energy that is there, and what has to be added to it."""

    fleet_id = key("Fleet")
    percentile = choice(PERCENTILES, "Of the capacity forecast; p10 is the worse.", primary_key=True)
    year = dy.Int64(primary_key=True, min=0, description="Years from now")
    as_of = day("Last day that is known", primary_key=False)
    energy_before_mwh = number("Energy that is there [MWh]", low=0, nullable=False)
    added_mwh = number("Energy of new modules [MWh]", low=0, nullable=False)
    energy_after_mwh = number("Energy afterwards [MWh]", low=0, nullable=False)
    cost = number("Their price [money]", low=0)
    present_cost = number("The same, discounted to today [money]", low=0)


class WarrantyYear(OfBattery):
    """One row per battery and year of its warranty: what was used, and what availability is settled at."""

    year = dy.Int64(primary_key=True, min=1, description="Year of the warranty, from 1")
    first_day = day("First day of the year", primary_key=False)
    last_day = day("Last day of it, or of the data", primary_key=False)
    equivalent_full_cycles = number("Equivalent full cycles in it", low=0)
    cycles_allowed = number("Equivalent full cycles that the warranty allows in a year", low=0)
    discharging_energy_wh = quantity("Wh", "Energy discharged in it", low=0)
    hours = number("Hours of it that availability counts: neither excluded nor without any knowledge [h]", low=0)
    unavailable_hours = number("Of these, outage and standstill [h]", low=0)
    availability_percent = quantity("%", "Share of the hours in which the battery could be used")
    guaranteed_availability_percent = quantity("%", "What the supplier guarantees")
    settled_percent = quantity("%", "Share of the payment that is due after the clause on availability")
