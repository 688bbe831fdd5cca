"""Asset checks: of each day as it is made, and of a fleet over all its days, with the worst batteries named."""

import warnings
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from bess_pipeline.analytics import drift, verdicts
from bess_pipeline.analytics.verdicts import Verdict
from bess_pipeline.defs import markdown
from bess_pipeline.defs.partitions import FLEET_DAYS, FLEETS, day_key
from bess_pipeline.defs.plan import stale_windows
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice, Tail
from bess_pipeline.sources.opening import printable
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

#: A line that a person reads, however many batteries it names.
_LONGEST_SUMMARY = 600


def _spec(table: Table, name: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    """A check with one verdict for each partition of its asset."""
    with warnings.catch_warnings():  # that checks with partitions are new in Dagster
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name,
            asset=table.name,
            description=description,
            blocking=blocking,
            partitions_def=FLEETS if table.per == "fleet" else FLEET_DAYS,
        )


ROWS = _spec(
    catalog.ROW_ACCOUNTS,
    "rows",
    "Every row that the index counted on this day was accepted, quarantined or a duplicate: if not, nothing is made"
    " of it. Of each battery known by then, 95 % of a day came: if not, that is a warning.",
    blocking=True,
)

ACCOUNTING = _spec(
    catalog.DATA_QUALITY_DAILY,
    "accounting",
    "On each day, rows received are the sum of rows accepted, quarantined for a reason, and duplicate.",
    blocking=True,
)
COVERAGE = _spec(catalog.DATA_QUALITY_DAILY, "coverage", "Each of the newest 30 days was seen by 95 % or more.")
FRESHNESS = _spec(
    catalog.DATA_QUALITY_DAILY, "freshness", "No day is missing up to the newest, and that is not long ago."
)
LATENESS = _spec(
    catalog.ARRIVALS_DAILY,
    "lateness",
    "None of the newest 30 days came later than the fleet's days usually do, or than BESS_LATE_AFTER_HOURS allows.",
)
UNITS = _spec(catalog.BATTERY_DATA_QUALITY_DAILY, "units", "No value came in another unit than the fleet file says.")
CURRENT_SIGN = _spec(
    catalog.BATTERY_DATA_QUALITY_DAILY, "current_sign", "No current came with another sign than the fleet file says."
)
VOLTAGE_AND_CELLS = _spec(
    catalog.BATTERY_DATA_QUALITY_DAILY,
    "voltage_and_cells",
    "On the newest 30 days the voltage is that of the cells in series, to 3 %.",
)
REPORTED_CHARGE = _spec(
    catalog.BATTERY_DATA_QUALITY_DAILY,
    "reported_charge",
    "On the newest 30 days the reported state of charge follows the charge counted.",
)
INPUTS_OF_MODELS = _spec(
    catalog.DAILY_FEATURES,
    "inputs_of_models",
    "The features that the learned models and the scores rest on are distributed as when the model in force was"
    " trained: their distance from then is less than four times what is usual between stretches of the training"
    " window, or less than 0.3 σ, and none is gone.",
)
_JUDGED = (
    catalog.DATA_QUALITY_DAILY,
    catalog.ARRIVALS_DAILY,
    catalog.BATTERY_DATA_QUALITY_DAILY,
    catalog.REPAIRS,
)


@dg.multi_asset_check(
    name="data_quality_checks",
    specs=[COVERAGE, FRESHNESS, LATENESS, UNITS, CURRENT_SIGN, VOLTAGE_AND_CELLS, REPORTED_CHARGE],
)
def data_quality(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.AssetCheckResult]:
    """Judge a fleet by its quality tables."""
    fleet_id = context.partition_key
    days, arrivals, batteries, repairs = (home.lake.read(table, Slice(fleet_id)) for table in _JUDGED)
    today = home.today
    yield _result(COVERAGE, verdicts.coverage(days, batteries, today=today))
    yield _result(FRESHNESS, verdicts.freshness(days, batteries, today=today))
    yield _result(LATENESS, verdicts.lateness(arrivals, today=today))
    yield _result(UNITS, verdicts.units(repairs, batteries))
    yield _result(CURRENT_SIGN, verdicts.current_sign(repairs))
    yield _result(VOLTAGE_AND_CELLS, verdicts.voltage_and_cells(batteries, today=today))
    yield _result(REPORTED_CHARGE, verdicts.reported_charge(batteries, today=today))


@dg.multi_asset_check(name="account_checks", specs=[ACCOUNTING])
def of_accounts(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.AssetCheckResult]:
    """Hold the rows of a fleet that were received against what became of them, in a step that stops others."""
    fleet_id = context.partition_key
    waiting = [day for window in stale_windows(home, fleet_id) for day in window]
    days = home.lake.read(catalog.DATA_QUALITY_DAILY, Slice(fleet_id))
    yield _result(ACCOUNTING, verdicts.accounting(days, waiting))


@dg.multi_asset_check(name="model_checks", specs=[INPUTS_OF_MODELS])
def of_models(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.AssetCheckResult]:
    """Judge what the learned models of a fleet are fed since their last training."""
    fleet_id = context.partition_key
    models = home.lake.read(catalog.ANOMALY_MODELS, Slice(fleet_id)).drop("parameters")
    since = models.filter(pl.col("date") >= pl.col("date").max() - 2 * drift.EPOCH)["trained_from"].min()
    part = Tail.of(catalog.DAILY_FEATURES, fleet_id, since) if isinstance(since, date) else None
    features = home.lake.read(catalog.DAILY_FEATURES, part) if part else catalog.DAILY_FEATURES.contract.create_empty()
    yield _result(INPUTS_OF_MODELS, drift.inputs_of_models(drift.drift(features, models)))


def of_days(
    context: dg.AssetExecutionContext, home: Home, part: Slice, accounts: pl.DataFrame
) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
    """Say of each day of a slice that has just been written what came, and whether all of it was accounted for.

    Dagster would not keep the day of an `AssetCheckResult` of a step that makes several. Of an evaluation it does, but
    wants to be told which materialization was looked at, and an empty output beside.
    """
    assert part.window is not None  # noqa: S101
    days, files = home.landing_days(part.fleet_id), home.landing_files(part.fleet_id)
    told = verdicts.rows_of_days(days, files, accounts, within=part.window, today=home.today)
    written = _written(context.instance, ROWS.asset_key, [day_key(part.fleet_id, day) for day in told])
    yield dg.Output(None, ROWS.get_python_identifier())
    for day, verdict in told.items():
        key = day_key(part.fleet_id, day)
        yield dg.AssetCheckEvaluation(
            asset_key=ROWS.asset_key,
            check_name=ROWS.name,
            blocking=ROWS.blocking,
            partition=key,
            target_materialization_data=written.get(key),
            **_told(verdict),
        )


def _written(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The newest materialization of each partition, which each has just got one of."""
    if not keys:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=keys)
    return {
        str(record.partition_key): AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.event_log_entry.run_id, timestamp=record.timestamp
        )
        for record in reversed(instance.fetch_materializations(wanted, limit=len(keys)).records)
    }


def _result(spec: dg.AssetCheckSpec, verdict: Verdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(asset_key=spec.asset_key, check_name=spec.name, **_told(verdict))


def _told(verdict: Verdict) -> dict[str, Any]:
    worst = {} if verdict.worst.is_empty() else {"worst": dg.MetadataValue.md(markdown.table(verdict.worst))}
    return {
        "passed": verdict.passed,
        "severity": dg.AssetCheckSeverity.ERROR if verdict.is_error else dg.AssetCheckSeverity.WARN,
        "description": printable(verdict.summary, longest=_LONGEST_SUMMARY),
        "metadata": worst,
    }
