"""Usable capacity: what the weakest cells leave of a battery's capacity."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.memory import day_numbers, epoch_of
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.balance import SOC_BINS
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.health import USABLE, StateOfHealth
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import HealthMemory

#: Deficit of the lowest cell, and excess of the highest, before any is seen: at empty and at full [points], their
#: standard error, and how far the two ends go together. Capacities of new cells scatter by 0.2 to 1 %.
_PRIOR = {"deficit": (1.0, 0.7), "excess": (0.7, 0.6)}
_PRIOR_SIGMA, _TOGETHER = 1.0, 0.6
#: What may change unseen in a day, as a standard error, at either end [points].
_WALK = 0.03
#: Neighbouring days share most of their error: so many count for one. And the share that all have in common, curve and
#: sensors, is carried beside the filter, for it does not average out.
_CORRELATION = 12.0
#: Innovations beyond this many standard errors pull with the force of this many.
_HUBER = 3.0
#: Columns of an observation: day, state of charge [1], deviation and its standard error [points].
_DAY, _SOC, _VALUE, _SIGMA = range(4)
#: What is carried from one observation to the next: whether there was one, its day, the deviation at empty and at full
#: [points], its covariance, and what all observations have in common.
_SEEN, _LAST, _STATE, _SPREAD, _COMMON = 0, 1, slice(2, 4), slice(4, 8), slice(8, 10)
_CARRIED = 10
#: The end of the charge that counts: the lowest cell is empty first, the highest full.
_ENDS = {"deficit": 0.0, "excess": 1.0}


def with_usable_capacity(
    health: pl.DataFrame, balance: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add the usable capacity to the state of health, from balance evidence up to the end of each day.

    A string is empty when its first cell is, and full when its first cell is, so that it
    holds min_k(z_k·Q_k) + min_k((1 − z_k)·Q_k), z_k being the state of charge of cell k at any
    one time. To first order in the differences between cells that is the mean capacity
    times one less the deficit of the lowest cell at empty and the excess of the highest
    at full. Both are followed as straight lines over the state of charge, since a cell of
    less capacity deviates the more the further from where the cells are balanced: what is
    seen at one end says something, with a larger error, of the other.

    A battery of a single cell can use what it has. Without any evidence the usable
    capacity is unknown.

    Args:
        health: `StateOfHealth` rows with `soh_percent` and its interval.
        balance: `CellBalance` rows.
        batteries: `Battery` rows.
        memory: `HealthMemory` rows of one epoch, from which on there are rows; none to begin at the beginning.

    Returns:
        The rows of `health`, with `soh_usable_percent` and its 90 % interval; sorted.

    References:
        Formula: G. L. Plett (2015), Battery Management Systems I. Scatter of new cells: K. Rumpf, M. Naumann, A.
        Jossen (2017), J. Energy Storage 14, 224, doi:10.1016/j.est.2017.09.010.
    """
    rows = health.drop(USABLE, strict=False).sort(*BATTERY_DAY)
    cells = rows.join(batteries.select(*BATTERY, "cells_in_series"), on=BATTERY, how="left", maintain_order="left")
    single = (cells["cells_in_series"] == 1).fill_null(value=False).to_numpy()
    counted = rows.group_by(BATTERY, maintain_order=True).agg(days=pl.len().cast(pl.Int64))
    days, day = counted["days"].to_numpy(), rows["date"].to_physical().to_numpy().astype(np.int64)
    loss, variance = np.zeros(rows.height), np.zeros(rows.height)
    for kind, end in _ENDS.items():
        observed, counts = _observations(balance, counted, kind, epoch_of(memory))
        found = _all_followed(days, day, counts, observed, _carried(counted, kind, memory), end)
        loss, variance = loss + found[:, 0], variance + found[:, 1]
    loss, variance = np.where(single, 0.0, loss), np.where(single, 0.0, variance)
    soh = floats(rows["soh_percent"])
    soh_sigma = (floats(rows["soh_upper_percent"]) - floats(rows["soh_lower_percent"])) / (2 * NORMAL_90)
    usable = soh * (1 - loss / 100)
    reach = NORMAL_90 * np.hypot(soh_sigma * (1 - loss / 100), soh * np.sqrt(variance) / 100)
    values = dict(zip(USABLE, (usable, usable - reach, usable + reach), strict=True))
    return (
        rows.with_columns(**{name: pl.Series(value).fill_nan(None) for name, value in values.items()})
        .select(name for name in StateOfHealth.column_names() if name in {*health.columns, *USABLE})
        .sort(*BATTERY_DAY)
    )


def carried(balance: pl.DataFrame, epochs: list[date], memory: pl.DataFrame | None = None) -> pl.DataFrame:
    """What has been seen of the cells before each epoch.

    Args:
        balance: `CellBalance` rows.
        epochs: First days of epochs, rising; after that of the memory.
        memory: `HealthMemory` rows of one epoch, from which on there are rows; none to begin at the beginning.

    Returns:
        Columns `deficit` and `excess` of `HealthMemory` by battery and epoch, for batteries of ``balance`` and of the
        memory; sorted.
    """
    known = HealthMemory.create_empty() if memory is None else memory
    of = pl.concat([balance.select(BATTERY), known.select(BATTERY)]).unique().sort(BATTERY)
    at = day_numbers(epochs)
    rows = of.join(pl.DataFrame({"date": epochs}, schema={"date": pl.Date}), how="cross", maintain_order="left_right")
    lists = {}
    for kind in _ENDS:
        observed, counts = _observations(balance, of, kind, epoch_of(memory))
        kept = _all_kept(at, counts, observed, _carried(of, kind, memory))
        lists[kind] = pl.Series(kept, dtype=pl.Array(pl.Float64, _CARRIED)).arr.to_list()
    return rows.with_columns(**lists)


def _carried(of: pl.DataFrame, kind: str, memory: pl.DataFrame | None) -> Floats:
    """What is carried into the observations of each battery; what is believed before any where nothing is known."""
    held = np.zeros((of.height, _CARRIED))
    held[:, _STATE] = _PRIOR[kind]
    held[:, _SPREAD] = np.array([1.0, _TOGETHER, _TOGETHER, 1.0]) * _PRIOR_SIGMA**2
    if memory is not None:
        lists = of.join(memory.select(*BATTERY, kind), on=BATTERY, how="left", maintain_order="left")[kind]
        known = lists.is_not_null().to_numpy()
        held[known] = np.array(lists.drop_nulls().to_list(), dtype=np.float64).reshape(-1, _CARRIED)
    return held


def _observations(balance: pl.DataFrame, of: pl.DataFrame, kind: str, since: date | None) -> tuple[Floats, Ints]:
    """Deviations of a kind from a day on, by battery, day and charge, and how many there are of each in ``of``."""
    balance = balance if since is None else balance.filter(pl.col("date") >= since)
    parts = [
        balance.select(
            *BATTERY,
            day=pl.col("date").to_physical().cast(pl.Float64),
            soc=pl.col(f"{kind}_{name}_soc_percent") / 100,
            value=f"{kind}_{name}_percent",
            sigma=f"{kind}_{name}_sigma_percent",
        )
        for name in SOC_BINS
    ]
    rows = pl.concat(parts).drop_nulls().sort(*BATTERY, "day", "soc", maintain_order=True)
    rows = rows.join(of, on=BATTERY, how="semi", maintain_order="left")
    counts = of.join(rows.group_by(BATTERY).len(), on=BATTERY, how="left", maintain_order="left")["len"]
    numbers = rows.select("day", "soc", "value", "sigma").to_numpy().astype(np.float64)
    return np.ascontiguousarray(numbers.reshape(-1, 4)), counts.fill_null(0).to_numpy().astype(np.int64)


@njit(cache=True)
def _taken(held: Floats, row: Floats) -> None:
    """Take in an observation."""
    state, spread, common = held[_STATE], held[_SPREAD].reshape(2, 2), held[_COMMON]
    if held[_SEEN]:
        spread += np.eye(2) * _WALK**2 * (row[_DAY] - held[_LAST])
    held[_SEEN], held[_LAST] = 1.0, row[_DAY]
    sight = np.array([1.0 - row[_SOC], row[_SOC]])
    seen = spread @ sight
    total = sight @ seen + _CORRELATION * row[_SIGMA] ** 2
    innovation = row[_VALUE] - sight @ state
    total *= max(abs(innovation) / np.sqrt(total) / _HUBER, 1.0)
    gain = seen / total
    state += gain * innovation
    common += gain * (row[_SIGMA] - sight @ common)
    spread -= np.outer(gain, seen)


@njit(cache=True)
def _followed(day: Ints, observed: Floats, held: Floats, end: float) -> Floats:
    """Deviation at one end of the charge, and its variance, by day; NaN before the first observation."""
    out = np.full((len(day), 2), np.nan)
    sight = np.array([1.0 - end, end])
    taken = 0
    for k in range(len(day)):
        while taken < len(observed) and observed[taken, _DAY] <= day[k]:
            _taken(held, observed[taken])
            taken += 1
        if held[_SEEN]:
            state, spread, common = held[_STATE], held[_SPREAD].reshape(2, 2), held[_COMMON]
            out[k, 0] = sight @ state
            out[k, 1] = sight @ spread @ sight + (sight @ common) ** 2 + _WALK**2 * (day[k] - held[_LAST])
    return out


@njit(cache=True)
def _all_followed(days: Ints, day: Ints, counts: Ints, observed: Floats, held: Floats, end: float) -> Floats:
    """What `_followed` says of each battery, one after the other: so many days, so many observations."""
    out = np.empty((len(day), 2))
    first = seen = 0
    for k in range(len(days)):
        last, until = first + days[k], seen + counts[k]
        out[first:last] = _followed(day[first:last], observed[seen:until], held[k], end)
        first, seen = last, until
    return out


@njit(cache=True)
def _all_kept(epochs: Ints, counts: Ints, observed: Floats, held: Floats) -> Floats:
    """What is carried into each epoch, for one battery after the other."""
    out = np.empty((len(counts) * len(epochs), _CARRIED))
    taken = until = 0
    for k in range(len(counts)):
        until += counts[k]
        for e in range(len(epochs)):
            while taken < until and observed[taken, _DAY] < epochs[e]:
                _taken(held[k], observed[taken])
                taken += 1
            out[k * len(epochs) + e] = held[k]
        taken = until
    return out
