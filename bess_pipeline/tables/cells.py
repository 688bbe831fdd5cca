"""Cells and probes: the evidence of each day on every single one of them."""

from bess_pipeline.tables.columns import choice, count, key, number, quantity
from bess_pipeline.tables.keys import OfBatteryDay

#: A cell against the median cell [V], a probe against the median probe [K], the terminals against the sum of cells [V].
KINDS = ("voltage", "temperature", "terminals")

#: Component of the rows that set the battery's voltage against that of its cells.
TERMINALS = "terminals"


class CellEvidence(OfBatteryDay):
    """One row per battery, UTC day and component: how a cell, a probe or the terminals deviate from the pack.

    The reference of a cell is the median of all cells at the same instant, that of a
    probe the median probe. The terminals deviate by their voltage minus the sum of the
    cells. All that is called a deviation, a value or a reference is in volts where the
    kind is voltage or terminals; where it is temperature, values and references are in
    degrees Celsius and deviations in kelvins.
    """

    kind = choice(KINDS, "What deviates.", primary_key=True)
    component = key("Cell or probe as the source names it, or terminals")
    position = count("Place in the list of the samples, from 1; 0 for the terminals")
    samples = count("Samples in which the deviation is known")
    unknown_samples = count("Samples with no value, one that stands for none, or nothing to hold it against")
    implausible_samples = count("Samples with a value that no such cell or probe can have; they are left out")
    value_min = number("Lowest value [V or °C]")
    value_max = number("Highest value [V or °C]")
    deviation_mean = number("Deviation, mean of the samples [V or K]")
    deviation_median = number("Deviation, median of the samples [V or K]")
    deviation_mad = number("Median distance of the deviation from its median [V or K]", low=0)
    deviation_rms = number("Root of the mean square of the deviation [V or K]", low=0)
    deviation_min = number("Lowest deviation [V or K]")
    deviation_max = number("Highest deviation [V or K]")
    deviation_p03 = number("Deviation that 3 % of the samples are below [V or K]")
    deviation_p97 = number("Deviation that 3 % of the samples are above [V or K]")
    lowest_samples = count("Samples in which none of the pack is lower; equals share")
    highest_samples = count("Samples in which none of the pack is higher; equals share")
    resting_samples = count("Samples at rest: current within 0.02 C for 10 minutes")
    resting_deviation = number("Deviation at rest, median [V or K]")
    resting_reference = number("Reference at rest, median [V or °C]")
    charging_samples = count("Samples in which the battery charges with more than 0.02 C")
    charging_deviation = number("Deviation while charging, median [V or K]")
    discharging_samples = count("Samples in which the battery discharges with more than 0.02 C")
    discharging_deviation = number("Deviation while discharging, median [V or K]")
    low_deviation = number("Deviation in the tenth of the samples with the lowest reference, median [V or K]")
    low_reference = number("Reference in these samples, median [V or °C]")
    high_deviation = number("Deviation in the tenth of the samples with the highest reference, median [V or K]")
    high_reference = number("Reference in these samples, median [V or °C]")
    step_count = count("Steps of the current with a known deviation on both sides; none for probes")
    resistance_deviation_ohm = quantity(
        "Ω", "Change of the deviation per change of the current: resistance above the median cell's, or outside cells"
    )
    resistance_deviation_error_ohm = quantity("Ω", "Standard error of it", low=0)
