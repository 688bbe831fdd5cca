"""Potentials of single electrodes, from the literature: what the voltage of a cell is made of."""

from __future__ import annotations

import numpy as np

from bess_pipeline.arrays import Floats


def graphite_safari(x: Floats) -> Floats:
    """Open-circuit potential of graphite over its lithiation [V].

    References:
        Safari and Delacourt, J. Electrochem. Soc. 158 (2011) A562, doi:10.1149/1.3567007.
    """
    return (
        0.6379
        + 0.5416 * np.exp(-305.5309 * x)
        + 0.044 * np.tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * np.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * np.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * np.tanh((x - 0.5692) / 0.0875)
    )


def graphite_chen(x: Floats) -> Floats:
    """Open-circuit potential of graphite with silicon over its lithiation [V].

    References:
        Chen et al., J. Electrochem. Soc. 167 (2020) 080534, doi:10.1149/1945-7111/ab9050.
    """
    return (
        1.9793 * np.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * np.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * np.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * np.tanh(30.4444 * (x - 0.6103))
    )
