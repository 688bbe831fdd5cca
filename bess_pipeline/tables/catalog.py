"""The whole lakehouse on one page: every table with its contract, layer, grain and place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import dataframely as dy

from bess_pipeline.tables import (
    alerts,
    anomalies,
    arrivals,
    availability,
    balance,
    bands,
    capacity,
    cells,
    cycles,
    degradation,
    energy,
    fleet,
    health,
    hours,
    landing,
    lifecycle,
    memory,
    quality,
    resistance,
    risk,
    telemetry,
)
from bess_pipeline.tables.columns import label

Layer = Literal["landing", "bronze", "silver", "evidence", "gold"]
Per = Literal["fleet_day", "fleet"]

#: The column by which tables of months are partitioned: the first day of the month.
MONTH = "month"


class Provenance(dy.Schema):
    """Where a gold row comes from."""

    run_id = label("Run that computed the row")
    code_version = label("Version of the pipeline that computed the row")
    register_version = label("Fingerprint of the fleet's register entry that the row rests on")


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes:
        name: Name in the lake, in Dagster and in the warehouse.
        contract: What a row is.
        layer: Place in the flow of data.
        per: What one partition of its asset covers.
        sort: Order of rows within a slice.
        by_day: Whether the Delta table is also partitioned by UTC day.
        at_raw_rate: Whether rows are samples: their rules are checked where they are made, not again at the door.
        cut_by: What else the Delta table is partitioned by.
        by_month: Whether the Delta table is also partitioned by the UTC month of `until`, in a column that only it has.
        until: Column with the day, or the instant, up to which a row speaks; null as long as later days may change it.
    """

    name: str
    contract: type[dy.Schema]
    layer: Layer
    per: Per
    sort: tuple[str, ...]
    by_day: bool = False
    at_raw_rate: bool = False
    until: str = "date"
    cut_by: tuple[str, ...] = ()
    by_month: bool = False

    @property
    def grain(self) -> str:
        """What one row is, in one sentence."""
        return (self.contract.__doc__ or "").strip().splitlines()[0]

    @property
    def partition_by(self) -> list[str]:
        """Columns that the Delta table is partitioned by."""
        return ["fleet_id", *self.cut_by, *([MONTH] if self.by_month else []), *(["date"] if self.by_day else [])]

    @property
    def columns(self) -> dict[str, dy.Column]:
        """Columns as stored: the contract's and, for gold tables, the provenance."""
        own = dict(self.contract.columns())
        return own | dict(Provenance.columns()) if self.layer == "gold" else own


_BATTERY_TIME = ("battery_id", "timestamp")
_BATTERY_DAY = ("battery_id", "date")

LANDING_FILES = Table("landing_files", landing.LandingFile, "landing", "fleet", ("path",))
LANDING_DAYS = Table("landing_days", landing.LandingDay, "landing", "fleet", ("path", "date", "battery_id"))
LANDING_RUNS = Table("landing_runs", landing.LandingRun, "landing", "fleet", ("path", "battery_id", "run"))
CLOCK_REPAIRS = Table(
    "clock_repairs", landing.ClockRepair, "landing", "fleet", ("battery_id", "started_at", "path", "first_row")
)
LEDGER = Table("ledger", landing.LedgerEntry, "landing", "fleet_day", ("step", "date"), by_day=True)
MADE_FROM = Table("made_from", landing.MadeFrom, "landing", "fleet_day", ("name", "date"), cut_by=("name",))
DAY_VERSIONS = Table(
    "day_versions",
    landing.DayVersion,
    "evidence",
    "fleet",
    ("name", "of_month", "date"),
    until="of_month",
    by_month=True,
)

EVENT_FEEDBACK = Table(
    "event_feedback", anomalies.EventFeedback, "landing", "fleet", ("battery_id", "given_at", "feedback_id")
)

ALERTS = Table("alerts", alerts.Alert, "landing", "fleet", ("raised_at", "alert_id"))
ALERT_DELIVERIES = Table("alert_deliveries", alerts.AlertDelivery, "landing", "fleet", ("alert_id", "channel"))

RAW_TELEMETRY = Table(
    "raw_telemetry",
    telemetry.RawTelemetry,
    "bronze",
    "fleet_day",
    (*_BATTERY_TIME, "first_seen", "path", "row_number"),
    by_day=True,
    at_raw_rate=True,
)
QUARANTINE = Table("quarantine", quality.QuarantinedRow, "bronze", "fleet_day", ("path", "row_number"), by_day=True)
ROW_ACCOUNTS = Table(
    "row_accounts", quality.RowAccount, "bronze", "fleet_day", ("date", "battery_id", "outcome"), by_day=True
)
CLEAN_TELEMETRY = Table(
    "clean_telemetry", telemetry.CleanTelemetry, "silver", "fleet_day", _BATTERY_TIME, by_day=True, at_raw_rate=True
)
INTERVALS_5MIN = Table("intervals_5min", telemetry.Interval5min, "evidence", "fleet_day", _BATTERY_TIME, by_day=True)
DAY_EVIDENCE = Table("day_evidence", telemetry.DayEvidence, "evidence", "fleet_day", _BATTERY_DAY, by_day=True)

CELL_EVIDENCE = Table(
    "cell_evidence", cells.CellEvidence, "evidence", "fleet_day", (*_BATTERY_DAY, "kind", "position", "component"),
    by_day=True,
)  # fmt: skip

CAPACITY_EVIDENCE = Table(
    "capacity_evidence", capacity.CapacityEvidence, "evidence", "fleet_day", _BATTERY_DAY, by_day=True
)

BATTERIES = Table("batteries", fleet.Battery, "gold", "fleet", ("battery_id",))
OCV_CURVES = Table("ocv_curves", fleet.OcvPoint, "evidence", "fleet", ("battery_id", "soc_percent"))
CLOSED_INTERVALS = Table(
    "closed_intervals", telemetry.ClosedInterval5min, "evidence", "fleet", _BATTERY_TIME, by_day=True
)
REPAIRS = Table("repairs", quality.Repair, "gold", "fleet", ("battery_id", "kind", "started_at"), until="ended_at")
REPAIR_MEMORY = Table("repair_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
CHARGE_ESTIMATES = Table("charge_estimates", health.ChargeEstimate, "evidence", "fleet", _BATTERY_TIME, by_day=True)
BATTERY_STATES = Table("battery_states", health.BatteryState, "gold", "fleet", _BATTERY_DAY, by_month=True)
FILTER_MEMORY = Table("filter_memory", health.FilterMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
CURRENT_OFFSETS = Table("current_offsets", health.CurrentOffset, "gold", "fleet", _BATTERY_DAY, by_month=True)
ANCHOR_MEMORY = Table("anchor_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
CHARGE_ANCHORS = Table(
    "charge_anchors", health.ChargeAnchor, "gold", "fleet", _BATTERY_TIME, until="timestamp", by_month=True
)
CAPACITY_OBSERVATIONS = Table(
    "capacity_observations",
    health.CapacityObservation,
    "gold",
    "fleet",
    ("battery_id", "started_at", "ended_at"),
    until="ended_at",
    by_month=True,
)
RESISTANCE_EVIDENCE = Table(
    "resistance_evidence",
    resistance.ResistanceEvidence,
    "evidence",
    "fleet",
    (*_BATTERY_DAY, "method", "third", "unwarmed"),
    by_month=True,
)
STEP_RESISTANCE = Table("step_resistance", resistance.StepResistance, "evidence", "fleet", _BATTERY_DAY, by_month=True)
RESISTANCE_MEMORY = Table(
    "resistance_memory", memory.ResistanceMemory, "evidence", "fleet", (*_BATTERY_DAY, "method"), by_month=True
)
RESISTANCE_DAILY = Table("resistance_daily", resistance.ResistanceDaily, "gold", "fleet", _BATTERY_DAY, by_month=True)
CELL_BALANCE = Table("cell_balance", balance.CellBalance, "gold", "fleet", _BATTERY_DAY, by_month=True)
STATE_OF_HEALTH = Table("state_of_health", health.StateOfHealth, "gold", "fleet", _BATTERY_DAY, by_month=True)
HEALTH_MEMORY = Table("health_memory", memory.HealthMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
TEST_MEMORY = Table("test_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
CAPACITY_TESTS = Table(
    "capacity_tests", capacity.CapacityTest, "gold", "fleet", ("battery_id", "ended_at", "started_at"), until="ended_at"
)
CAPACITY_AUDIT = Table("capacity_audit", capacity.CapacityAudit, "gold", "fleet", _BATTERY_DAY, by_month=True)
TELEMETRY_5MIN = Table("telemetry_5min", telemetry.Telemetry5min, "gold", "fleet", _BATTERY_TIME, by_day=True)
CYCLES = Table(
    "cycles",
    cycles.Cycle,
    "gold",
    "fleet",
    ("battery_id", "started_at", "ended_at"),
    until="counted_at",
    by_month=True,
)
CYCLE_MEMORY = Table("cycle_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
CYCLE_HISTOGRAM = Table(
    "cycle_histogram",
    cycles.CycleHistogram,
    "gold",
    "fleet",
    (*_BATTERY_DAY, "depth_lower_percent", "mean_soc_lower_percent"),
    by_month=True,
)
ENERGY_EVIDENCE = Table("energy_evidence", energy.EnergyEvidence, "evidence", "fleet", _BATTERY_DAY, by_month=True)
BATTERY_DAILY = Table("battery_daily", energy.BatteryDaily, "gold", "fleet", _BATTERY_DAY, by_month=True)
TIME_IN_BANDS = Table(
    "time_in_bands", bands.TimeInBand, "gold", "fleet", (*_BATTERY_DAY, "quantity", "position"), by_month=True
)
PRESENCE_EVIDENCE = Table(
    "presence_evidence",
    availability.PresenceEvidence,
    "evidence",
    "fleet",
    (*_BATTERY_DAY, "kind", "started_at"),
    by_month=True,
)
PRESENCE_MEMORY = Table(
    "presence_memory",
    availability.PresenceMemory,
    "evidence",
    "fleet",
    (*_BATTERY_DAY, "kind", "started_at"),
    by_month=True,
)
INTERRUPTIONS = Table(
    "interruptions",
    availability.Interruption,
    "gold",
    "fleet",
    ("battery_id", "started_at", "kind"),
    until="settled_at",
    by_month=True,
)
AVAILABILITY = Table("availability", availability.Availability, "gold", "fleet", _BATTERY_DAY, by_month=True)
_BATTERY_AS_OF = ("battery_id", "as_of")
DAILY_STRESS = Table("daily_stress", degradation.DailyStress, "evidence", "fleet", _BATTERY_DAY, by_month=True)
AGEING_MEMORY = Table("ageing_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
DEGRADATION = Table(
    "degradation", degradation.Degradation, "gold", "fleet", _BATTERY_AS_OF, until="as_of", by_month=True
)
CAPACITY_FORECAST = Table(
    "capacity_forecast",
    degradation.CapacityForecast,
    "gold",
    "fleet",
    (*_BATTERY_AS_OF, "date"),
    until="as_of",
    by_month=True,
)
ASSUMPTIONS = Table("assumptions", lifecycle.Assumption, "gold", "fleet", ("name", "position"))
WARRANTY_PIECES = Table(
    "warranty_pieces",
    lifecycle.WarrantyPiece,
    "evidence",
    "fleet",
    (*_BATTERY_DAY, "term", "started_at"),
    by_month=True,
)
WARRANTY_DAILY = Table("warranty_daily", lifecycle.WarrantyDaily, "gold", "fleet", _BATTERY_DAY, by_month=True)
WARRANTY_EVENTS = Table(
    "warranty_events", lifecycle.WarrantyEvent, "gold", "fleet", ("battery_id", "started_at", "term"), until="ended_at"
)
WARRANTY_FORECAST = Table(
    "warranty_forecast", lifecycle.WarrantyForecast, "gold", "fleet", _BATTERY_AS_OF, until="as_of"
)
WEAR_DAILY = Table("wear_daily", lifecycle.WearDaily, "gold", "fleet", _BATTERY_DAY, by_month=True)
WEAR_BY_DEPTH = Table(
    "wear_by_depth",
    lifecycle.WearByDepth,
    "gold",
    "fleet",
    ("battery_id", "month", "depth_lower_percent"),
    until="month",
)
WEAR_CURVES = Table(
    "wear_curves", lifecycle.WearCurve, "gold", "fleet", ("battery_id", "factor", "level"), until="as_of"
)
DECISIONS = Table(
    "decisions", lifecycle.Decision, "gold", "fleet", ("battery_id", "option", "percentile"), until="as_of"
)
DECISION_SENSITIVITIES = Table(
    "decision_sensitivities", lifecycle.DecisionSensitivity, "gold", "fleet", ("battery_id", "varied", "factor")
)
OPERATING_LIMITS = Table(
    "operating_limits",
    lifecycle.OperatingLimit,
    "gold",
    "fleet",
    ("battery_id", "limited", "lower", "upper", "percentile"),
    until="as_of",
)
MARKET_PRICES = Table("market_prices", lifecycle.MarketPrice, "gold", "fleet", ("timestamp",), until="timestamp")
DISPATCH_DAILY = Table(
    "dispatch_daily", lifecycle.DispatchDaily, "gold", "fleet", (*_BATTERY_DAY, "schedule"), by_month=True
)
AUGMENTATION_PLAN = Table(
    "augmentation_plan", lifecycle.AugmentationYear, "gold", "fleet", ("percentile", "year"), until="as_of"
)
WARRANTY_YEARS = Table(
    "warranty_years", lifecycle.WarrantyYear, "gold", "fleet", ("battery_id", "year"), until="last_day"
)
FEATURE_EVIDENCE = Table(
    "feature_evidence", anomalies.FeatureEvidence, "evidence", "fleet", _BATTERY_DAY, by_month=True
)
HOURLY_EVIDENCE = Table("hourly_evidence", hours.HourlyEvidence, "evidence", "fleet", _BATTERY_TIME, by_day=True)
_SIGNAL = (*_BATTERY_DAY, "lane", "component", "feature", "direction")
SAFETY_SIGNALS = Table("safety_signals", anomalies.AnomalySignal, "evidence", "fleet", _SIGNAL, by_month=True)
SHAPE_SIGNALS = Table("shape_signals", anomalies.AnomalySignal, "evidence", "fleet", _SIGNAL, by_month=True)
CELL_SIGNALS = Table("cell_signals", anomalies.AnomalySignal, "evidence", "fleet", _SIGNAL, by_month=True)
FEATURE_MEMORY = Table(
    "feature_memory", memory.FeatureMemory, "evidence", "fleet", (*_BATTERY_DAY, "feature"), by_month=True
)
DAILY_FEATURES = Table(
    "daily_features", anomalies.DailyFeature, "gold", "fleet", (*_BATTERY_DAY, "feature"), by_month=True
)
CHART_SIGNALS = Table("chart_signals", anomalies.AnomalySignal, "evidence", "fleet", _SIGNAL, by_month=True)
CHART_MEMORY = Table("chart_memory", memory.ChartMemory, "evidence", "fleet", (*_BATTERY_DAY, "feature"), by_month=True)
ANOMALY_MODELS = Table("anomaly_models", anomalies.AnomalyModel, "evidence", "fleet", ("date", "model"))
MODEL_SIGNALS = Table("model_signals", anomalies.AnomalySignal, "evidence", "fleet", _SIGNAL, by_month=True)
LIMIT_MEMORY = Table("limit_memory", memory.EpochMemory, "evidence", "fleet", _BATTERY_DAY, by_month=True)
LIMIT_EPISODES = Table(
    "limit_episodes",
    anomalies.LimitEpisode,
    "gold",
    "fleet",
    ("battery_id", "code", "started_at"),
    until="settled_at",
    by_month=True,
)
ANOMALY_SIGNALS = Table("anomaly_signals", anomalies.AnomalySignal, "gold", "fleet", _SIGNAL, by_month=True)
ANOMALY_SCORES = Table(
    "anomaly_scores", anomalies.AnomalyScore, "gold", "fleet", (*_BATTERY_DAY, "detector"), by_month=True
)
EVENT_ONSETS = Table(
    "event_onsets",
    anomalies.EventOnset,
    "evidence",
    "fleet",
    (*_BATTERY_DAY, "component", "family", "stream"),
    by_month=True,
)
ANOMALY_EVENTS = Table("anomaly_events", anomalies.AnomalyEvent, "gold", "fleet", ("detected_at", "event_id"))
FAILURE_RISK = Table("failure_risk", risk.FailureRisk, "gold", "fleet", _BATTERY_DAY, by_month=True)
BATTERY_LATEST = Table("battery_latest", fleet.BatteryLatest, "gold", "fleet", ("battery_id",))
FLEET_DAILY = Table("fleet_daily", fleet.FleetDaily, "gold", "fleet", ("date",))
INTERVAL_QUALITY = Table("interval_quality", quality.IntervalQuality, "evidence", "fleet", _BATTERY_DAY, by_month=True)
BATTERY_DATA_QUALITY_DAILY = Table(
    "battery_data_quality_daily", quality.BatteryDataQualityDaily, "gold", "fleet", _BATTERY_DAY, by_month=True
)
DATA_QUALITY_DAILY = Table("data_quality_daily", quality.DataQualityDaily, "gold", "fleet", ("date",))
ARRIVALS_DAILY = Table("arrivals_daily", arrivals.ArrivalsDaily, "gold", "fleet", ("date",))

TABLES: dict[str, Table] = {value.name: value for value in list(globals().values()) if isinstance(value, Table)}

#: What no asset makes: the pipeline's notes of its own work, and what people say.
NOTES: tuple[Table, ...] = (LEDGER, MADE_FROM, DAY_VERSIONS, EVENT_FEEDBACK, ALERTS, ALERT_DELIVERIES)


def shape(*layers: Layer, per: Per) -> str:
    """A text that is another when a table of these layers gets, loses or changes a column.

    Args:
        layers: Layers.
        per: Of these, tables that are made per day of a fleet, or of its whole history.
    """
    return "; ".join(
        f"{table.name}({', '.join(f'{name} {column.dtype}' for name, column in table.columns.items())})"
        for table in TABLES.values()
        if table.layer in layers and table.per == per and table not in NOTES
    )


#: What analysts see in the warehouse.
PUBLISHED: tuple[Table, ...] = (
    *(table for table in TABLES.values() if table.layer == "gold"),
    CELL_EVIDENCE,
    QUARANTINE,
    CLOCK_REPAIRS,
    LANDING_FILES,
    EVENT_FEEDBACK,
    ALERTS,
    ALERT_DELIVERIES,
)

#: What is published along with the rest, and does not by itself make the warehouse be behind: an alert that a
#: publication failed would be a reason for the next one.
ALONG: tuple[Table, ...] = (ALERTS, ALERT_DELIVERIES)
