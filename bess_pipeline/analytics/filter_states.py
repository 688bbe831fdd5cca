"""What the state filter follows, what a row tells it and what it knows of a battery: the places in its arrays."""

from __future__ import annotations

#: What is estimated: state of charge [1], offset of the current [C], logarithms of the capacity and of what it was when
#: new over rated, logarithms of the immediate and of the slow resistance over their priors, half gap of the hysteresis
#: [V], whose the lower end of the curve is (the cathode's more than is likely, in standard errors), how fast the
#: logarithm of the capacity falls [1/a], bias of the open-circuit voltage at even points of the state of charge [V].
SOC, OFFSET, CAPACITY, NEW, OHM, SLOW, HYSTERESIS, LOWER, FADE, BIAS = range(10)
BIAS_POINTS = 12
SIZE = BIAS + BIAS_POINTS

#: What a row says: hours in which a current flowed, net and gross charge over rated, mean current [C], cell voltage
#: [V], factor of temperature on resistance, hours of silence until the next row, charge over rated in that silence and
#: its standard error, current after relaxing slowly [C] and branch of the hysteresis [-1 to 1], both as means.
ACTIVE, NET, GROSS, RATE, VOLT, HEAT, SILENT, LEAP, LEAP_SIGMA, SLOW_RATE, BRANCH = range(11)
ROW_COLUMNS = 11

#: What is known of a battery before its first row: resistances at 1 C [V], half gap of the hysteresis [V], first state
#: of charge [1] and its standard error, standard error of the open-circuit curve [V].
FAST_VOLT, SLOW_VOLT, GAP_VOLT, FIRST_SOC, FIRST_SIGMA, CURVE_SIGMA = range(6)
PLATE = 6
