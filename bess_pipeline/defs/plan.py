"""What there is to do: files that are not indexed, days and fleets whose inputs changed, a warehouse that is behind.

All of it is read off the lake and the landing zone, never off what happened when: `bess run`
and the daemon ask the same questions, and an answer that was lost is given again.
"""

from dataclasses import dataclass, field, replace
from datetime import date

from bess_pipeline import logs
from bess_pipeline.defs import jobs
from bess_pipeline.defs.house import CODE_VERSION
from bess_pipeline.defs.increments import WHOLE
from bess_pipeline.defs.partitions import day_key
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.ledger import WHOLE_FLEET, fingerprint, stale_days
from bess_pipeline.sources import folder
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window, contiguous

_LOG = logs.logger(__name__)

#: The last step of a day, and the step under which a whole fleet is recorded.
LAST_OF_DAY = catalog.DAY_EVIDENCE.name
MADE = "fleet"

#: Tags of a run: the fleet that it works on, a fingerprint of what it is to do, and what a fleet is made from.
FLEET_TAG, WORK_TAG, BASIS_TAG = "bess/fleet", "bess/work", "bess/basis"
_PARTITION = "dagster/partition"
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class Work:
    """What one run is to do.

    Attributes:
        job: Name of the job.
        what: What it is, for people.
        parts: How many partitions of assets it makes.
        fleet_id: The fleet that it works on; none for the warehouse.
        days: The days that it makes, if it makes days.
        tags: Tags of the run, the fingerprint of the work among them.
        written_at: When the newest of the files that it looks at was written to [s since 1970].
    """

    job: str
    what: str
    parts: int
    fleet_id: str | None = None
    days: Window | None = None
    tags: dict[str, str] = field(default_factory=dict)
    written_at: float = 0.0

    @property
    def key(self) -> str:
        """Fingerprint of what is to be done from which inputs."""
        return self.tags[WORK_TAG]


def indexing(home: Home, fleet_id: str) -> Work | None:
    """A look at the landing folder of a fleet, if it is no longer what the index says."""
    place = home.folder(fleet_id)
    changes = folder.changes(home.fleet(fleet_id), place, home.landing_files(fleet_id), today=home.today)
    if not changes:
        return None
    stamps = folder.stamps(place, changes)
    written_at = max((modified_ns for _, modified_ns in stamps.values()), default=0) / 1e9
    return replace(index_of(fleet_id, fingerprint(changes, stamps)), written_at=written_at)


def index_of(fleet_id: str, version: object) -> Work:
    """A look at the landing folder of a fleet."""
    return Work(
        jobs.LANDING.name,
        f"{fleet_id}: landing zone",
        len(jobs.INDEX_TABLES),
        fleet_id,
        tags={_PARTITION: fleet_id, **_named(jobs.LANDING.name, fleet_id, version)},
    )


def stale_windows(home: Home, fleet_id: str, *, within: Window | None = None, again: bool = False) -> dict[Window, str]:
    """Ranges of days of a fleet that would be made from other inputs now, none longer than a run may be.

    Args:
        home: The deployment.
        fleet_id: The fleet.
        within: Consider only these days.
        again: Whether days count that would be made from the same inputs, too.

    Returns:
        Range → fingerprint of its inputs; in the order in which they are to be made.
    """
    wanted = home.wanted(fleet_id)
    made = {} if again else home.ledger.signatures(fleet_id, LAST_OF_DAY)
    days = stale_days(wanted, made)
    chosen = [day for day in days if within is None or day in within]
    windows = contiguous(chosen, longest=home.settings.days_per_run)
    if home.settings.newest_first:
        windows.reverse()
    return {window: fingerprint(CODE_VERSION, *(wanted.get(day, "") for day in window)) for window in windows}


def making_days(home: Home, fleet_id: str, *, within: Window | None = None, again: bool = False) -> list[Work]:
    """Runs that make the stale days of a fleet; see `stale_windows`."""
    return [
        Work(
            jobs.TELEMETRY.name,
            f"{fleet_id}: {window}",
            len(window) * len(jobs.DAY_TABLES),
            fleet_id,
            window,
            range_tags(fleet_id, window) | _named(jobs.TELEMETRY.name, fleet_id, window, version),
        )
        for window, version in stale_windows(home, fleet_id, within=within, again=again).items()
    ]


def making_fleet(home: Home, fleet_id: str, *, again: bool = False) -> Work | None:
    """A run that makes a fleet's tables, if they rest on other inputs than there are now, or are to be made again.

    A fleet of which no file was ever indexed has none.
    """
    if home.landing_files(fleet_id).is_empty():
        return None
    basis = fleet_signature(home, fleet_id)
    if not again and home.ledger.signatures(fleet_id, MADE).get(WHOLE_FLEET) == basis:
        return None
    tags = {_PARTITION: fleet_id, BASIS_TAG: basis, **_named(jobs.FLEET.name, fleet_id, basis)}
    whole = {WHOLE: "true"} if again else {}
    return Work(jobs.FLEET.name, f"{fleet_id}: fleet tables", len(jobs.FLEET_ASSETS), fleet_id, tags=tags | whole)


def publishing(home: Home) -> Work | None:
    """A run that puts a new warehouse in place, if the one that is there is behind a lake that holds something."""
    if home.lake.version(catalog.LANDING_FILES) == 0 or home.warehouse.is_current(home.lake):
        return None
    told = [table for table in catalog.PUBLISHED if table not in catalog.ALONG]
    versions = sorted((table.name, home.lake.rows_version(table)) for table in told)
    return Work(jobs.PUBLISH.name, "warehouse", 1, tags=_named(jobs.PUBLISH.name, versions))


def fleet_signature(home: Home, fleet_id: str) -> str:
    """Fingerprint of everything that a fleet's tables rest on."""
    days: dict[date, str] = home.ledger.signatures(fleet_id, LAST_OF_DAY)
    files = home.landing_files(fleet_id).select("path", "checksum", "status", "rows_without_day")
    made_by = CODE_VERSION, catalog.shape("evidence", "gold", per="fleet")
    fleet = home.fleet(fleet_id)
    return fingerprint(fleet.telemetry_version, fleet.terms_version, *made_by, sorted(days.items()), files.rows())


def is_fleet_stale(home: Home, fleet_id: str) -> bool:
    """Whether a fleet's tables rest on other inputs than there are now."""
    return making_fleet(home, fleet_id) is not None


def record_fleet(home: Home, fleet_id: str, signature: str, *, run_id: str) -> None:
    """Note that a fleet's tables have been made from the inputs with this fingerprint."""
    home.ledger.record(fleet_id, MADE, {WHOLE_FLEET: signature}, run_id=run_id)
    _LOG.info("tables of fleet %s are made", fleet_id, extra={"fleet": fleet_id})


def range_tags(fleet_id: str, window: Window) -> dict[str, str]:
    """Tags that make a run of day assets cover a range of a fleet's days."""
    days = list(window)
    return {_RANGE_START: day_key(fleet_id, days[0]), _RANGE_END: day_key(fleet_id, days[-1])}


def _named(job: str, *about: object) -> dict[str, str]:
    fleet = {FLEET_TAG: str(about[0])} if job != jobs.PUBLISH.name else {}
    return {WORK_TAG: fingerprint(job, *about), **fleet}
