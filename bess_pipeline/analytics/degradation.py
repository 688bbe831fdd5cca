"""How fast each battery ages, and how long it will do: a regression on clocks of ageing, and an ensemble of futures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import Clock
from bess_pipeline.analytics.lives import ALIKE_DAYS, BEFORE_DATA, GAIN, OWN_SIGMA, Life, last_day, lives_of
from bess_pipeline.analytics.memory import epoch_of, epochs_after
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.degradation import CapacityForecast, Degradation
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import EpochMemory

_YEAR = 365.25

#: Least days of estimates that anything is said from; days between points of the regression, and about so many points.
LEAST_DAYS, _POINT_DAYS, _POINTS = 90, 15, 48
#: Before any data: capacity when data begin, and how fast the two clocks run against the laboratory's.
_FIRST, _FIRST_SIGMA = 1.01, 0.03
_PACE, _PACE_SIGMA = {0.5: 1.0, 0.75: 0.6}, 0.6
#: A cell that outlasts the laboratory's does so at rest and at work: correlation of the two paces.
_TOGETHER = 0.8
#: Batteries of a fleet differ by at least so much in their pace.
_BETWEEN = 0.15
#: Futures, and what they differ by beyond the regression: use, and what the clocks do not know (logarithms).
_FUTURES, _USE, _UNKNOWN = 400, 0.08, 0.12
#: How far ahead futures are followed [days], and forecasts are told [years].
_AHEAD, _TOLD_YEARS = np.unique(np.round(np.geomspace(10, 40 * _YEAR, 220))).astype(np.int64), 10
#: Days left out before a residual, and how surprising they must be: drift per week and threshold of the sum.
_LEFT_OUT, _WEEK, _DRIFT, _THRESHOLD, _FIRST_KNEE = 60, 7, 1.0, 6.0, 150
#: Knees per battery and year that are expected of any fleet, as if seen in so many years.
_HAZARD, _HAZARD_YEARS = 0.02, 25.0
#: A day that does not come.
_NEVER = 10**6


@dataclass(frozen=True)
class _Fit:
    """Capacity at the beginning and pace of the two clocks, with their covariance."""

    mean: Floats
    cover: Floats


@dataclass(frozen=True)
class Ageing:
    """What is said of ageing.

    Attributes:
        degradation: `Degradation` rows, sorted by battery and `as_of`.
        forecast: `CapacityForecast` rows, sorted by battery, `as_of` and date.
        memory: `EpochMemory` rows of the epochs that begin within the estimates.
    """

    degradation: pl.DataFrame
    forecast: pl.DataFrame
    memory: pl.DataFrame


def ageing(
    health: pl.DataFrame, stress: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None
) -> Ageing:
    """Say at every month end, and on the last day of any data, how fast each battery ages and how long it will do.

    Capacity is q₀ − a·A(t) − b·B(t): A and B are what the calendar and cycling cost after
    laboratory measurements of the chemistry (`ageing_clocks`), a and b how fast this
    battery runs through them. They are estimated by Bayesian regression; the prior of a
    and b is that of the fleet's other batteries of the chemistry. Errors of the estimates
    are alike for 150 days; the gain of the sensor, 0.4 %, is common to all of a battery.

    The rate is the loss over the year up to `as_of` (over what is known, if less). The
    remaining life comes of 400 futures drawn from the regression, with use as in the last
    year ± 8 % and 12 % for what clocks do not know; it is told where the loss is
    significant (90 % interval above zero), else only what remains at least.

    A knee is found when capacities of each week fall short of what was forecast without
    the last 60 days: a cumulative sum of standardized residuals (drift 1, threshold 6).
    From then on the rate is that since the knee, by regression, and so are the futures.

    Args:
        health: `StateOfHealth` rows, of all days: `HEALTH`.
        stress: `DailyStress` rows, of all days: `STRESS`.
        batteries: `Battery` rows.
        memory: `EpochMemory` rows of one epoch: nothing is said as of earlier days, and knees are looked for from
            there on; none to begin at the beginning.

    References:
        Clocks: see `daily_stress`. CUSUM: E. S. Page (1954), Biometrika 41, 100, doi:10.1093/biomet/41.1-2.100.
    """
    end = last_day(health, stress)
    lives = [] if end is None else list(lives_of(health, stress, batteries, end))
    if end is None or not lives:
        return Ageing(Degradation.create_empty(), CapacityForecast.create_empty(), EpochMemory.create_empty())
    begun = min(life.first for life in lives)
    since = epoch_of(memory)
    searched = [_searched(life, search, end) for life, search in zip(lives, _recalled(lives, memory), strict=True)]
    knees = [(search.knee, search.proven) for search, _ in searched]
    rows: list[dict[str, object]] = []
    futures: list[dict[str, object]] = []
    for as_of in (day for day in _month_ends(begun, end) if since is None or day >= since):
        known = [(life, knee, (as_of - life.first).days) for life, knee in zip(lives, knees, strict=True)]
        known = [one for one in known if int((one[0].at <= one[2]).sum()) >= LEAST_DAYS]
        broad = [_fit(life, day, _prior(life.clock)) for life, _, day in known]
        seen = sum(knee[1] <= day for _, knee, day in known)
        years = sum(day for *_, day in known) / _YEAR
        hazard = (_HAZARD * _HAZARD_YEARS + seen) / (_HAZARD_YEARS + years)
        priors = _fleet_priors([life.clock for life, *_ in known], broad)
        for (life, knee, day), prior in zip(known, priors, strict=True):
            fit = _fit(life, day, prior)
            row, ahead = _told(life, fit, day, knee, hazard)
            rows.append({"as_of": as_of, **row})
            futures.extend({"as_of": as_of, **one} for one in ahead)
    order = [*BATTERY, "as_of"]
    return Ageing(
        pl.DataFrame(rows, schema=Degradation.create_empty().schema).sort(order).pipe(Degradation.validate),
        pl.DataFrame(futures, schema=CapacityForecast.create_empty().schema)
        .sort(*order, "date")
        .pipe(CapacityForecast.validate),
        pl.DataFrame(
            [(*life.key, *kept) for life, (_, found) in zip(lives, searched, strict=True) for kept in found],
            schema=EpochMemory.create_empty().schema,
            orient="row",
        ).sort(*BATTERY_DAY),
    )


def _month_ends(first: date, last: date) -> list[date]:
    ends = pl.date_range(first.replace(day=1), last, "1mo", eager=True).dt.month_end().to_list()
    return sorted({*(day for day in ends if day <= last), last})


def _prior(clock: Clock) -> _Fit:
    pace = _PACE[clock.calendar_power]
    return _stated(np.array([pace, pace]), np.full(2, _PACE_SIGMA))


def _stated(pace: Floats, sigma: Floats) -> _Fit:
    """What is known of capacity and paces without data of the battery."""
    cover = np.diag(np.append(_FIRST_SIGMA, sigma) ** 2)
    cover[1, 2] = cover[2, 1] = _TOGETHER * sigma[0] * sigma[1]
    return _Fit(np.append(_FIRST, pace), cover)


def _fleet_priors(clocks: list[Clock], fits: list[_Fit]) -> list[_Fit]:
    """What the fits of the others of its chemistry say of each battery."""
    priors = dict(enumerate(map(_prior, clocks)))
    for clock in set(clocks):
        alike = [k for k, other in enumerate(clocks) if other == clock]
        pace = np.array([fits[k].mean[1:] for k in alike])
        own = np.array([np.diag(fits[k].cover)[1:] for k in alike])
        if len(alike) > 1:
            others = (tuple(np.delete(each, at, axis=0) for each in (pace, own)) for at in range(len(alike)))
            priors |= {k: _fleet_prior(priors[k], *each) for k, each in zip(alike, others, strict=True)}
    return list(priors.values())


def _fleet_prior(prior: _Fit, pace: Floats, own: Floats) -> _Fit:
    """What the paces of others, and their variances, say of a battery's: the median, as uncertain as they differ.

    The median, and the median difference, because one with a knee says nothing of the others.
    """
    middle = np.median(pace, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(pace - middle), axis=0), _BETWEEN) ** 2
    known = (spread + np.median(own, axis=0)) / len(pace)
    weight = known / (known + _PACE_SIGMA**2)
    mean = weight * prior.mean[1:] + (1 - weight) * middle
    return _stated(mean, np.sqrt(np.minimum(spread + known, _PACE_SIGMA**2)))


def _points(life: Life, day: int) -> Ints:
    """Estimates up to a day that enter the regression: the newest, and those before it at even distances."""
    last = int(np.searchsorted(life.at, day, side="right")) - 1
    return np.arange(last, -1, -max(_POINT_DAYS, last // _POINTS))[::-1]


def _fit(life: Life, day: int, prior: _Fit) -> _Fit:
    """The posterior of the regression from estimates up to a day."""
    chosen = _points(life, day)
    at = life.at[chosen]
    design = life.design(at)
    apart = np.abs(np.subtract.outer(at, at))
    noise = np.outer(life.sigma[chosen], life.sigma[chosen]) * np.exp(-apart / ALIKE_DAYS)
    noise += OWN_SIGMA**2 * np.eye(len(chosen))
    spread = design @ prior.cover @ design.T + noise
    gain = np.linalg.solve(spread, design @ prior.cover).T
    mean = prior.mean + gain @ (life.level[chosen] - design @ prior.mean)
    cover = prior.cover - gain @ design @ prior.cover
    return _Fit(mean, (cover + cover.T) / 2)


class _Search(NamedTuple):
    """Where the search for a knee stands: sum of surprises, when it began to grow, and the knee [days since first]."""

    total: float = 0.0
    grows_since: int = 0
    knee: int = _NEVER
    proven: int = _NEVER


def _recalled(lives: list[Life], memory: pl.DataFrame | None) -> list[tuple[date | None, _Search]]:
    """Where the search stands at the epoch of the memory, for each battery."""
    known = {} if memory is None else {row[:2]: row[2:] for row in memory.select(*BATTERY_DAY, "carried").rows()}
    found: list[tuple[date | None, _Search]] = []
    for life in lives:
        epoch, carried = known.get(life.key, (None, None))
        found.append((epoch, _Search(carried[0], *map(int, carried[1:])) if carried else _Search()))
    return found


def _searched(
    life: Life, begun: tuple[date | None, _Search], end: date
) -> tuple[_Search, list[tuple[date, list[float]]]]:
    """Look for the knee, week by week; where the search stands in the end, and what is kept at each epoch."""
    epoch, search = begun
    epochs = epochs_after(epoch or life.first, end)
    kept: list[tuple[date, list[float]]] = []
    first = max(_FIRST_KNEE, int(life.at[0]) + LEAST_DAYS + _LEFT_OUT)
    weeks = range(first, int(life.at[-1]) + 1, _WEEK)
    ahead = [day for day in weeks if epoch is None or life.first + timedelta(days=day) >= epoch]
    for day in [*ahead, None]:
        while epochs and (day is None or life.first + timedelta(days=day) >= epochs[0]):
            kept.append((epochs.pop(0), [float(number) for number in search]))
        if day is not None and search.proven == _NEVER:
            search = _week(life, search, day)
    return search, kept


def _week(life: Life, search: _Search, day: int) -> _Search:
    """One more week of the search for a knee: when the loss became faster than expected, and when that is proven."""
    now = int(np.searchsorted(life.at, day, side="right")) - 1
    fit = _fit(life, day - _LEFT_OUT, _prior(life.clock))
    then = _points(life, day - _LEFT_OUT)[-1]
    design, before = life.design(life.at[[now]])[0], life.design(life.at[[then]])[0]
    lost = float((before - design) @ fit.mean)
    change = design - before
    variance = (
        change @ fit.cover @ change
        + (_UNKNOWN * lost) ** 2
        + 2 * life.sigma[now] ** 2 * (1 - np.exp(-_LEFT_OUT / ALIKE_DAYS))
    )
    # Against the newest estimate that was forecast from, of which both share the lasting error.
    residual = (life.level[then] - life.level[now] - lost) / np.sqrt(variance + 2 * OWN_SIGMA**2)
    since = day if search.total <= 0 else search.grows_since
    total = max(0.0, float(search.total + residual - _DRIFT))
    if total > _THRESHOLD:
        return _Search(total, since, since - _LEFT_OUT // 2, day)
    return _Search(total, since)


def _draws() -> Floats:
    """Standard normal numbers, the same each time: shape (futures, 6)."""
    return np.random.default_rng(20240229).standard_normal((_FUTURES, 6))


def _told(
    life: Life, fit: _Fit, day: int, knee: tuple[int, int], hazard: float
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """One row, and the forecast that goes with it."""
    has_knee = knee[1] <= day
    recent = max(day - 365, int(life.at[0]), knee[0] if has_knee else 0)
    days = np.array([recent, day])
    span = max(day - recent, 1)
    change = -(life.design(days)[1] - life.design(days)[0])
    rate = float(change @ fit.mean) / span * _YEAR
    sigma = float(np.sqrt(change @ fit.cover @ change + (_UNKNOWN * rate / _YEAR * span / 2) ** 2)) / span * _YEAR
    if has_knee:
        rate, sigma = _since(life, knee[0], day)
    draws = _draws()
    level = _futures(life, fit, day, draws, (rate, sigma) if has_knee else None)
    end: Floats = life.end * (1 + GAIN * draws[:, 5])
    crossed = level <= end[:, None]
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), len(_AHEAD) - 1)
    left = _AHEAD[first].astype(np.float64)
    left[level[:, 0] <= end] = 0.0
    low, high = rate - NORMAL_90 * sigma, rate + NORMAL_90 * sigma
    told_at = (5, 10, 50, 90, 95)
    quantiles = dict(zip(told_at, map(float, np.quantile(left, np.array(told_at) / 100)), strict=True))
    significant = low > 0 and quantiles[50] < _AHEAD[-1]
    calendar, cycle = fit.mean[1] * life.calendar[day], fit.mean[2] * life.cycle[day]
    apart = fit.cover[1, 2] / np.sqrt(fit.cover[1, 1] * fit.cover[2, 2])
    separable = calendar > 0 and cycle > 0 and abs(apart) < 0.9 and fit.cover[1, 1] < (_PACE_SIGMA / 2) ** 2
    key = dict(zip(BATTERY, life.key, strict=True))
    units = _units(life, fit, day, rate if has_knee else None)
    row: dict[str, object] = {
        **key,
        "degradation_percent_per_year": 100 * rate,
        "degradation_lower_percent_per_year": 100 * low,
        "degradation_upper_percent_per_year": 100 * high,
        "calendar_unit_percent": 100 * units[0],
        "cycle_unit_percent": 100 * units[1],
        "calendar_share_percent": 100 * calendar / (calendar + cycle) if separable else None,
        "end_of_life_percent": 100 * life.end,
        **{f"remaining_life_days_p{p:02d}": value if significant else None for p, value in quantiles.items()},
        "remaining_life_at_least_days": None if significant else quantiles[10],
        "knee_hazard_per_year": None if has_knee else hazard,
        "knee_date": life.first + timedelta(days=knee[0]) if has_knee else None,
        "knee_detected_on": life.first + timedelta(days=knee[1]) if has_knee else None,
        "days_known": int((life.at <= day).sum()),
        "method": "regression since the knee" if has_knee else "Bayesian regression on clocks of ageing",
    }
    told = np.round(np.arange(1, 12 * _TOLD_YEARS + 1) * _YEAR / 12).astype(np.int64)
    told = told[np.r_[0:24, 26:60:3, 65 : len(told) : 6]]
    ahead = _between(level, told)
    p10, p50, p90 = 100 * np.quantile(ahead, (0.1, 0.5, 0.9), axis=0)
    as_of = life.first + timedelta(days=day)
    forecast = [
        {
            **key,
            "date": as_of + timedelta(days=int(told[k])),
            "soh_p10_percent": float(p10[k]),
            "soh_p50_percent": float(p50[k]),
            "soh_p90_percent": float(p90[k]),
        }
        for k in range(len(told))
    ]
    return row, forecast


def _units(life: Life, fit: _Fit, day: int, since_knee: float | None) -> tuple[float, float]:
    """Capacity that one more unit of each clock costs on a day: the slope of the two roots, times the battery's pace.

    Since a knee both are so much larger that use as in the last year costs what is lost in one now.
    """
    stood = (life.calendar[day] + BEFORE_DATA, life.cycle[day] + BEFORE_DATA)
    powers = (life.clock.calendar_power, life.clock.cycle_power)
    slopes = [power * at ** ((power - 1) / power) for power, at in zip(powers, stood, strict=True)]
    calendar, cycle = (max(float(fit.mean[k + 1]), 0.0) * slopes[k] for k in range(2))
    if since_knee is not None:
        lately = life.added[max(day - 364, 0) : day + 1].mean(axis=0) * _YEAR
        usual = calendar * lately[0] + cycle * lately[1]
        faster = max(since_knee, 0.0) / usual if usual > 0 else 1.0
        calendar, cycle = calendar * faster, cycle * faster
    return calendar, cycle


def _between(level: Floats, told: Ints) -> Floats:
    """Capacity of each future on other days than those it is followed on."""
    high = np.clip(np.searchsorted(_AHEAD, told), 1, len(_AHEAD) - 1)
    part = (told - _AHEAD[high - 1]) / (_AHEAD[high] - _AHEAD[high - 1])
    found: Floats = level[:, high - 1] + part * (level[:, high] - level[:, high - 1])
    return found


def _since(life: Life, knee: int, day: int) -> tuple[float, float]:
    """Loss per year since the knee by least squares, and its standard error."""
    chosen = (life.at >= knee) & (life.at <= day)
    at, level = life.at[chosen] / _YEAR, life.level[chosen]
    span = max(float(at[-1] - at[0]), 7 / _YEAR)
    slope = -float(np.polyfit(at, level, 1)[0]) if len(at) > 2 else 0.0
    return slope, float(1.2 * life.sigma[chosen][-1] * np.sqrt(1 - np.exp(-span * _YEAR / ALIKE_DAYS)) / span)


def _futures(life: Life, fit: _Fit, day: int, draws: Floats, since_knee: tuple[float, float] | None) -> Floats:
    """Capacity of each future at each distance: shape (futures, distances)."""
    root = np.linalg.cholesky(fit.cover + 1e-12 * np.eye(3))
    theta = fit.mean + draws[:, :3] @ root.T
    theta[:, 1:] = np.maximum(theta[:, 1:], 0.02)
    now = theta @ life.design(np.array([day]))[0]
    use, unknown = np.exp(_USE * draws[:, 3]), np.exp(_UNKNOWN * draws[:, 4])
    if since_knee is not None:
        rate, sigma = since_knee
        pace = np.maximum(rate + sigma * draws[:, 3], 0.002)
        newest = life.level[int(np.searchsorted(life.at, day, side="right")) - 1]
        straight: Floats = newest - (pace * unknown)[:, None] * (_AHEAD / _YEAR)
        return straight
    lately = life.added[max(day - 364, 0) : day + 1].mean(axis=0)
    lost = np.zeros((len(theta), len(_AHEAD)))
    stood = (life.calendar[day] + BEFORE_DATA, life.cycle[day] + BEFORE_DATA)
    for k, power in enumerate((life.clock.calendar_power, life.clock.cycle_power)):
        begun = stood[k] ** (1 / power)
        grown = (begun + np.outer(use, lately[k] * _AHEAD)) ** power - stood[k]
        lost += theta[:, [k + 1]] * grown
    curved: Floats = now[:, None] - unknown[:, None] * lost
    return curved
