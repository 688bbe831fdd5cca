"""When to charge and discharge for the most money, given prices and what wear costs: a linear program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from bess_pipeline.arrays import Floats, Ints

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: What the solver calls a best answer.
_SOLVED = 0


class DispatchError(ValueError):
    """There is no schedule that keeps to what was given; the message says why."""


@dataclass(frozen=True)
class Storage:
    """A battery as a store of energy; powers and prices are those of the terminals.

    Attributes:
        energy_mwh: What it can hold between the lowest and the highest state of charge [MWh].
        charge_mw: Most power into it [MW].
        discharge_mw: Most power out of it [MW].
        efficiency_in: Energy that is stored of energy in [1].
        efficiency_out: Energy out of energy that was stored [1].
        begins_mwh: What it holds at the beginning [MWh].
        ends_mwh: What it has to hold at the end, at least [MWh]; as at the beginning where it is not said.
        wear: What each MWh costs that is taken from the store, layer by layer [money/MWh]: the layers are equal shares
            of its energy, the first of them is cycled first, and none may be cheaper than that before it.
        holding: What each stored MWh costs an hour [money/(MWh·h)]: a full battery ages faster at rest.
    """

    energy_mwh: float
    charge_mw: float
    discharge_mw: float
    efficiency_in: float = 1.0
    efficiency_out: float = 1.0
    begins_mwh: float = 0.0
    ends_mwh: float | None = None
    wear: tuple[float, ...] = (0.0,)
    holding: float = 0.0

    def __post_init__(self) -> None:
        if min(self.energy_mwh, self.charge_mw, self.discharge_mw) <= 0:
            raise ValueError("energy and powers of a store are above 0")
        if not (0 < self.efficiency_in <= 1 and 0 < self.efficiency_out <= 1):
            raise ValueError("efficiencies are shares between 0 and 1")
        if not 0 <= self.begins_mwh <= self.energy_mwh or not 0 <= (self.ends_mwh or 0.0) <= self.energy_mwh:
            raise ValueError(f"a store of {self.energy_mwh:g} MWh holds between 0 and that")
        if any(after < before for before, after in zip(self.wear, self.wear[1:], strict=False)) or not self.wear:
            raise ValueError("a deeper layer cannot be cheaper than one before it: the program would begin with it")


@dataclass(frozen=True)
class Schedule:
    """What a battery does, interval by interval.

    Attributes:
        charge_mw: Mean power into it [MW].
        discharge_mw: Mean power out of it [MW].
        stored_mwh: What it holds at the end of each interval [MWh].
        value: What one more stored MWh would be worth at the end of each interval [money/MWh].
        revenue: Energy sold less energy bought [money].
        wear_cost: What cycling and holding cost [money].
        hours: Length of each interval [h].
    """

    charge_mw: Floats
    discharge_mw: Floats
    stored_mwh: Floats
    value: Floats
    revenue: float
    wear_cost: float
    hours: Floats = field(repr=False)

    @property
    def discharged_mwh(self) -> float:
        """Energy out of it [MWh]."""
        return float(self.discharge_mw @ self.hours)

    @property
    def profit(self) -> float:
        """Revenue less what wear costs [money]."""
        return self.revenue - self.wear_cost


def optimal_schedule(prices: Floats, storage: Storage, hours: float | Floats = 1.0) -> Schedule:
    """The schedule that earns the most, prices known.

    Maximizes Σ pₜ·(dₜ − cₜ)·Δₜ less wear. The store is cut into equal layers; each is charged and discharged
    on its own, and taking energy from deeper ones costs more, which is how the cost of deep cycles by rainflow becomes
    a convex function of what is done (Xu et al.). Charging and discharging share the time of an interval,
    c/c_max + d/d_max ≤ 1: where prices are negative both may happen in one, one after the other.

    Args:
        prices: What a MWh is bought and sold for [money/MWh], an interval each; no number may be missing.
        storage: The battery.
        hours: Length of the intervals, or of each of them [h]: days of 23 or 25 hours are what they are.

    Raises:
        DispatchError: If the store cannot hold in the end what it has to, or a price is no number.

    References:
        B. Xu, J. Zhao, T. Zheng, E. Litvinov, D. S. Kirschen (2018), IEEE Trans. Power Systems 33, 2248,
        doi:10.1109/TPWRS.2017.2733339.
    """
    money: Floats = np.asarray(prices, dtype=np.float64)
    if not len(money) or not np.isfinite(money).all():
        raise DispatchError("prices are needed for every interval: fill what is missing, or leave those days out")
    length: Floats = np.broadcast_to(np.asarray(hours, dtype=np.float64), money.shape)
    if not (length > 0).all():
        raise DispatchError("intervals have a length above 0")
    program = _Program.of(money, storage, length)
    solved = program.solved()
    flows = solved.x.reshape(len(money), 3, len(storage.wear))
    charge, discharge, stored = (flows[:, kind, :] for kind in range(3))
    taken = discharge * length[:, None] / storage.efficiency_out
    held: Floats = stored.sum(axis=1)
    return Schedule(
        charge_mw=charge.sum(axis=1),
        discharge_mw=discharge.sum(axis=1),
        stored_mwh=held,
        value=-solved.eqlin.marginals.reshape(len(money), -1).max(axis=1),
        revenue=float(money @ ((discharge - charge).sum(axis=1) * length)),
        wear_cost=float((taken @ np.array(storage.wear)).sum() + storage.holding * (held @ length)),
        hours=length,
    )


@dataclass(frozen=True)
class _Program:
    """The linear program: variables are charge, discharge and store of each layer, interval by interval."""

    cost: Floats
    balance: sp.csr_array
    begun: Floats
    shared: sp.csr_array
    most: Floats
    upper: Floats

    @classmethod
    def of(cls, prices: Floats, storage: Storage, hours: Floats) -> _Program:
        """The program of a battery."""
        count, layers = len(prices), len(storage.wear)
        size = storage.energy_mwh / layers
        place: Ints = np.arange(count * 3 * layers).reshape(count, 3, layers)
        row: Ints = np.arange(count * layers).reshape(count, layers)
        cost = np.empty((count, 3, layers))
        cost[:, 0] = (prices * hours)[:, None]
        cost[:, 1] = (hours[:, None]) * (np.array(storage.wear) / storage.efficiency_out - prices[:, None])
        cost[:, 2] = (storage.holding * hours)[:, None]
        # Store now − store before − what came in + what went out = 0.
        entries = [
            (row, place[:, 2], np.ones((count, layers))),
            (row[1:], place[:-1, 2], -np.ones((count - 1, layers))),
            (row, place[:, 0], np.repeat(-storage.efficiency_in * hours[:, None], layers, axis=1)),
            (row, place[:, 1], np.repeat(hours[:, None] / storage.efficiency_out, layers, axis=1)),
        ]
        balance = _sparse(entries, (row.size, place.size))
        begun = np.zeros((count, layers))
        # What is held lies in the layers that are cheapest to take from.
        begun[0] = np.clip(storage.begins_mwh - size * np.arange(layers), 0, size)
        upper = np.empty((count, 3, layers))
        upper[:, 0], upper[:, 1], upper[:, 2] = storage.charge_mw, storage.discharge_mw, size
        step: Ints = np.arange(count)
        each = np.repeat(step[:, None], layers, axis=1)
        last = np.full((1, layers), count)
        ends = storage.begins_mwh if storage.ends_mwh is None else storage.ends_mwh
        shared = _sparse(
            [
                (each, place[:, 0], np.full(each.shape, 1 / storage.charge_mw)),
                (each, place[:, 1], np.full(each.shape, 1 / storage.discharge_mw)),
                (last, place[-1:, 2], -np.ones((1, layers))),
            ],
            (count + 1, place.size),
        )
        most = np.append(np.ones(count), -ends)
        return cls(cost.ravel(), balance, begun.ravel(), shared, most, upper.ravel())

    def solved(self) -> OptimizeResult:
        """The best answer."""
        from scipy.optimize import linprog

        answer: OptimizeResult = linprog(  # type: ignore[call-overload]  # its stubs know no sparse arrays
            self.cost,
            A_ub=self.shared,
            b_ub=self.most,
            A_eq=self.balance,
            b_eq=self.begun,
            bounds=np.stack([np.zeros(len(self.upper)), self.upper], axis=1),
            method="highs-ds",
        )
        if answer.status != _SOLVED:
            raise DispatchError(f"no schedule keeps to what was given: {answer.message}")
        return answer


def _sparse(entries: Sequence[tuple[Ints, Ints, Floats]], shape: tuple[int, int]) -> sp.csr_array:
    rows, columns, values = (np.concatenate([part[k].ravel() for part in entries]) for k in range(3))
    return sp.csr_array((values, (rows, columns)), shape=shape)


def top_bottom_spread(prices: Floats, hours: float, *, per_day: int = 24) -> Floats:
    """What the dearest hours of each day are dearer than the cheapest, a MW bought and sold once [money/MW].

    Args:
        prices: Hourly prices of whole days [money/MWh].
        hours: How many hours are bought and sold a day.
        per_day: Prices a day.

    Returns:
        One sum per day.

    Examples:
        >>> top_bottom_spread(np.array([10.0, 20.0, 60.0, 40.0]), 2, per_day=4).tolist()
        [70.0]
    """
    days = np.sort(np.asarray(prices, dtype=np.float64).reshape(-1, per_day), axis=1)
    whole, part = int(hours), hours - int(hours)
    weight = np.zeros(per_day)
    weight[:whole] = 1.0
    if part:
        weight[whole] = part
    spread: Floats = days[:, ::-1] @ weight - days @ weight
    return spread


def with_layers(depth_cost: Sequence[float] | Floats) -> tuple[float, ...]:
    """Costs of layers from what a cycle of each depth costs, as a program needs them.

    Args:
        depth_cost: What one cycle costs that goes through the first 1, 2, … of n equal layers, per MWh of the whole
            store [money/MWh]: shape (layers,).

    Returns:
        What each MWh costs that is taken from each layer [money/MWh]. Where a deeper layer would be cheaper than one
        before it, both get their mean: the largest convex function below the costs that were given.
    """
    total: Floats = np.append(0.0, np.asarray(depth_cost, dtype=np.float64))
    steps: list[tuple[float, int]] = []
    for slope in np.diff(total) * (len(total) - 1):
        mean, width = float(slope), 1
        while steps and steps[-1][0] > mean:
            before, wide = steps.pop()
            mean, width = (before * wide + mean * width) / (wide + width), wide + width
        steps.append((mean, width))
    return tuple(mean for mean, width in steps for _ in range(width))
