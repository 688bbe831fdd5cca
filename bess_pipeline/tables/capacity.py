"""Direct capacity: the evidence of each day, capacity tests, and the methods beside each other."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, duration, instant, label, number, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

#: What a capacity test is: from full, or at constant current from where a charge met its limit; and the way back.
TESTS = ("full discharge", "constant-current discharge", "full charge", "constant-current charge")

#: Instants of a day that begin or end a capacity test, in the order of the kernel's numbers.
MARKS = ("charge ends at limit", "discharge begins", "discharge crosses limit", "discharge ends at limit",
         "charge begins")  # fmt: skip


class CapacityEvidence(OfBatteryDay):
    """One row per battery and UTC day with a known current: the instants that may begin or end a capacity test.

    Charge is counted from the day's first known current, from the samples of that day
    alone. What flows between the last sample of a day and the first of the next, and
    whether a limit is met in between, follows at the fleet level from the two samples.
    """

    first_timestamp = instant("Instant of the first known current")
    first_current_ampere = quantity("A", "Current there; positive charges", nullable=False)
    last_timestamp = instant("Instant of the last known current")
    last_current_ampere = quantity("A", "Current there; positive charges", nullable=False)
    last_cell_voltage_min_volt = quantity("V", "Lowest cell voltage there")
    last_cell_voltage_max_volt = quantity("V", "Highest cell voltage there")
    usual_interval_us = duration("Usual time from one sample to the next: the median, at most 15 minutes")
    max_gap_us = duration("Longest silence that is bridged")
    charging_capacity_ah = quantity("Ah", "Charge into the battery over the day", low=0, nullable=False)
    discharging_capacity_ah = quantity("Ah", "Charge out of the battery over the day", low=0, nullable=False)
    current_square_hours = number("Integral of the square of the current over the day [A²h]", low=0, nullable=False)
    unobserved_us = duration("Silences of the day that are not bridged")
    marks = dy.List(
        dy.Struct(
            {
                "kind": dy.String(nullable=False),
                "timestamp": dy.Datetime(time_unit="us", time_zone="UTC", nullable=False),
                "charging_ah": dy.Float64(nullable=False),
                "discharging_ah": dy.Float64(nullable=False),
                "square": dy.Float64(nullable=False),
                "unobserved_us": dy.Int64(nullable=False),
                "current_ampere": dy.Float64(nullable=False),
                "cell_volt": dy.Float64(nullable=True),
                "since_crossing_us": dy.Int64(nullable=False),
                "since_crossing_ah": dy.Float64(nullable=False),
                "last_step_ah": dy.Float64(nullable=False),
            },
        ),
        description="Instants, with the charge up to each: where a charge ends at the upper limit, a discharge begins,"
        " crosses or ends at the lower limit, a charge begins",
    )


class CapacityTest(OfBattery):
    """One row per battery and capacity test: a charge or a discharge from one end of the voltage to the other."""

    started_at = instant("Last sample before the current flows", primary_key=True)
    ended_at = instant("First sample at or below the cut-off; of a charge, its last sample", primary_key=True)
    kind = choice(TESTS, "From where to where, and how.")
    capacity_ah = quantity(
        "Ah", "Charge up to the sample that ends the test, as test benches count it", low=0, nullable=False
    )
    capacity_at_crossing_ah = quantity(
        "Ah", "Charge up to the instant at which the voltage meets the cut-off, between samples", low=0, nullable=False
    )
    capacity_lower_ah = quantity("Ah", "Lower end of the 90 % interval of the latter", nullable=False)
    capacity_upper_ah = quantity("Ah", "Upper end of the 90 % interval of the latter", nullable=False)
    sensor_offset_ah = quantity(
        "Ah", "What the offset of the current sensor adds to these capacities, where it is known; not taken off"
    )
    c_rate = number("Mean current over rated capacity [1/h]", low=0, nullable=False)
    current_variation_fraction = quantity("1", "Standard deviation of the current over its mean", low=0, nullable=False)
    temperature_mean_celsius = quantity("°C", "Cell temperature, mean over the test")
    cell_voltage_lowest_volt = quantity("V", "Lowest cell voltage during the test")
    cell_voltage_start_volt = quantity(
        "V", "Highest (discharge) or lowest (charge) cell voltage at rest before the current flows; null under current"
    )
    unobserved_us = duration("Silences during the test that are not bridged")


class CapacityAudit(OfBatteryDay):
    """One row per battery and UTC day: its capacity by each method, side by side, from data up to that day.

    Nothing is averaged. Disagreements are in standard errors of the difference; the
    gain error of the current sensor, which all methods share, is not counted in them.
    """

    estimate_capacity_ah = quantity("Ah", "Capacity of the state of health", low=0)
    estimate_lower_ah = quantity("Ah", "Lower end of its 90 % interval")
    estimate_upper_ah = quantity("Ah", "Upper end of its 90 % interval")
    estimate_observations = count("Capacity observations that it rests on", nullable=True)
    estimate_method = label("How it was found", nullable=True)
    anchors_capacity_ah = quantity("Ah", "Capacity by total least squares over pairs of anchors of 90 days", low=0)
    anchors_lower_ah = quantity("Ah", "Lower end of its 90 % interval")
    anchors_upper_ah = quantity("Ah", "Upper end of its 90 % interval")
    anchors_observations = count("Pairs of anchors that it rests on")
    anchors_scatter = number("Scatter of the pairs over what their errors promise; 1 is as promised", low=0)
    test_capacity_ah = quantity(
        "Ah", "Capacity of the latest discharge test, without the offset of the sensor where known", low=0
    )
    test_lower_ah = quantity("Ah", "Lower end of its 90 % interval")
    test_upper_ah = quantity("Ah", "Upper end of its 90 % interval")
    tests = count("Discharge tests so far")
    test_ended_at = instant("End of the latest discharge test", nullable=True)
    test_kind = choice(TESTS, "Kind of the latest discharge test.", nullable=True)
    test_c_rate = number("C-rate of the latest discharge test: beyond C/5 a test leaves charge behind [1/h]", low=0)
    estimate_to_anchors_errors = number("Estimate minus anchors [standard errors]")
    estimate_to_test_errors = number("Estimate minus test [standard errors]")
    anchors_to_test_errors = number("Anchors minus test [standard errors]")
    largest_disagreement_errors = number("Largest of the three, either way [standard errors]", low=0)
