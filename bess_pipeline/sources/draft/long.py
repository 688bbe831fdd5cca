"""Long files, a measurement to a row: the names of measurements stand in a column of tags."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from bess_pipeline.sources.draft.sample import Sample, Told
from bess_pipeline.sources.draft.times import time_guess
from bess_pipeline.sources.draft.vocabulary import RULES, name
from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.tables.telemetry import MEASUREMENTS

_MOST_TAGS = 2000
_FEWEST_TAGS = 2
_INSTANTS = 3


def widened(sample: Sample) -> Sample | None:
    """A long sample with a column for each tag; nothing where the sample is not long.

    Long is a file with a column of tags of which at least two are called like
    measurements, a column of times, and a column of numbers.

    Args:
        sample: The sample as the file has it.
    """
    frame = sample.frame
    clocks = [
        column
        for column in frame.columns
        if (guess := time_guess(frame[column], None, decimal_comma=sample.decimal_comma)) is not None
        and guess.rank >= _INSTANTS
    ]
    others = [column for column in frame.columns if column not in clocks]
    tags = next((column for column in others if _holds_tags(frame[column])), None)
    values = [column for column in others if column != tags and _share_of_numbers(frame[column], sample) > 0]
    if not clocks or tags is None or not values:
        return None
    value = max(values, key=lambda column: (_share_of_numbers(frame[column], sample), frame[column].n_unique()))
    labels = [column for column in others if column not in {tags, value} and _is_label(frame[column], len(frame))]
    wide = frame.with_columns(texts(frame[tags]).alias(tags)).pivot(
        on=tags, index=[clocks[0], *labels], values=value, aggregate_function="first", maintain_order=True
    )
    why = f"a measurement to a row: tags in {tags}, values in {value}; give these names where the layout is described"
    return replace(sample, frame=wide, reading={**sample.reading, "layout": Told("long", why, "TODO")})


def _holds_tags(series: pl.Series) -> bool:
    if series.dtype != pl.String:
        return False
    kinds = texts(series).drop_nulls().unique(maintain_order=True)
    if not _FEWEST_TAGS <= len(kinds) <= min(_MOST_TAGS, len(series) // 2):
        return False
    return sum(_is_measurement(tag) for tag in kinds) >= max(_FEWEST_TAGS, len(kinds) / 4)


def _is_measurement(tag: str) -> bool:
    return any(
        rule.house in MEASUREMENTS and rule.needs <= reading <= rule.needs | rule.allows
        for reading in name(tag).readings
        for rule in RULES
    )


def _share_of_numbers(series: pl.Series, sample: Sample) -> float:
    if not (series.dtype.is_numeric() or series.dtype == pl.String):
        return 0.0
    read = numbers(series, decimal_comma=sample.decimal_comma)
    return float(read.is_finite().sum()) / max(1, len(read) - read.null_count())


def _is_label(series: pl.Series, rows: int) -> bool:
    """Whether a column names something that a row is about, such as its battery: a few values, each often."""
    return series.dtype in {pl.String, pl.Int64, pl.Int32} and series.n_unique() <= max(1, rows // 20)
