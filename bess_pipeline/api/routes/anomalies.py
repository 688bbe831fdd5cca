"""Samples that are posted, each judged without any other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, HTTPException
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, create_model, model_validator

from bess_pipeline.analytics.detection import ALARM, FEWEST, sample_scores
from bess_pipeline.api.deps import Posed, fleet_of
from bess_pipeline.api.openapi import refused
from bess_pipeline.tables.columns import meaning_of
from bess_pipeline.tables.telemetry import MEASUREMENTS, Measured

router = APIRouter(tags=["anomalies"])

_MOST_SAMPLES = 20_000
#: No number of a battery is larger; what is would only break sums.
_LARGEST = 1e12
_MOST_NAMES = 32
_FIRST_YEAR, _LAST_YEAR = 1970, 2200

#: Names that `metrics` gives them: what one answer says can be posted as it is.
_ALSO = {
    "voltage_volt": "voltage",
    "current_ampere": "current",
    "temperature_celsius": "temperature",
    "soc_bms_percent": "state_of_charge",
}


def _utc(value: datetime) -> datetime:
    if not _FIRST_YEAR <= value.year < _LAST_YEAR:
        raise ValueError(f"must lie between {_FIRST_YEAR} and {_LAST_YEAR}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Sample(BaseModel):
    model_config = ConfigDict(extra="forbid")

    timestamp: Annotated[datetime, AfterValidator(_utc)] = Field(description="Instant of the sample; UTC unless said")

    @model_validator(mode="before")
    @classmethod
    def _has_few_names(cls, given: object) -> object:
        """Each name that is none is a mistake of its own: thousands of them are one."""
        if isinstance(given, dict) and len(given) > _MOST_NAMES:
            raise ValueError(f"a sample has at most {_MOST_NAMES} names")
        return given

    @model_validator(mode="after")
    def _says_something(self) -> _Sample:
        if all(getattr(self, name) is None for name in MEASUREMENTS):
            raise ValueError("a sample needs a measurement beside its timestamp")
        return self


_measured: dict[str, Any] = {
    name: (
        float | None,
        Field(
            default=None,
            strict=True,
            ge=-_LARGEST,
            le=_LARGEST,
            allow_inf_nan=False,
            validation_alias=AliasChoices(name, *([_ALSO[name]] if name in _ALSO else [])),
            description=meaning_of(Measured.columns()[name]),
        ),
    )
    for name in MEASUREMENTS
}
Sample: type[_Sample] = create_model("Sample", __base__=_Sample, __doc__="One sample of a battery.", **_measured)


class Samples(BaseModel):
    """Samples of one battery."""

    model_config = ConfigDict(extra="forbid")

    battery_id: str = Field(max_length=200, description="Battery that they are of, for its nameplate")
    fleet_id: str | None = Field(default=None, max_length=200, description="Needed where the id is in several fleets")
    data: list[Sample] = Field(  # type: ignore[valid-type]
        min_length=1, max_length=_MOST_SAMPLES, description="Samples, in any order, each instant once"
    )
    contamination: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        strict=True,
        description="Largest share of the samples that may be unusual beside the others: a bound, not a quota. "
        "What a rule proves, or a limit of the nameplate says, is not bounded by it",
    )


class SampleScore(BaseModel):
    """How unusual a sample is."""

    timestamp: datetime
    score: float = Field(description="Share of healthy samples that are less unusual, 0 to 1")
    is_anomaly: bool
    detector: str | None = Field(description="data_checks, thresholds or samples; null where nothing is unusual")
    family: str | None = Field(description="Part of the system; limit: outside the nameplate; data: the data err")
    kind: str | None = Field(description="What it looks like")
    value: float | None = Field(description="The value that is most unusual, in its unit")
    z: float | None = Field(description="How far it is from the others [standard deviations]")


class Detection(BaseModel):
    """Scores for just the samples that were posted."""

    battery_id: str
    fleet_id: str
    samples: int
    anomalies: int = Field(description="Samples that are anomalies; none of a healthy battery")
    contamination: float
    judged: dict[str, int] = Field(
        description=f"Samples that could be judged beside the others, by what departs: off the steep ends of the "
        f"open-circuit curve, at least {FEWEST} of them; an anomaly departs by {ALARM:g} standard deviations"
    )
    scores: list[SampleScore] = Field(description="One for each sample, in the order in which they were posted")


@router.post(
    "/anomalies/detect",
    summary="Scores for just these samples: nothing is kept",
    operation_id="detect",
    responses=refused(400, 404, 408, 409, 413, 415, 422, 503),
)
def detect(asked: Posed, samples: Samples) -> Detection:
    fleet_id = fleet_of(asked.publication, samples.battery_id, samples.fleet_id)
    plate = asked.publication.ask(
        "SELECT * FROM batteries WHERE fleet_id = $fleet_id AND battery_id = $battery_id",
        {"fleet_id": fleet_id, "battery_id": samples.battery_id},
    )
    kinds: dict[str, pl.DataType] = {"timestamp": pl.Datetime("us", "UTC"), **dict.fromkeys(MEASUREMENTS, pl.Float64())}
    rows = pl.DataFrame(samples.model_dump()["data"], schema=kinds)
    try:
        found = sample_scores(rows, plate, contamination=samples.contamination)
    except ValueError as error:
        raise HTTPException(422, f"data: {error}") from None
    return Detection(
        battery_id=samples.battery_id,
        fleet_id=fleet_id,
        samples=rows.height,
        anomalies=int(found.rows["is_anomaly"].sum()),
        contamination=samples.contamination,
        judged=found.judged,
        scores=[SampleScore.model_validate(row) for row in found.rows.to_dicts()],
    )
