"""What there is to do: days whose inputs changed, fleets whose days changed, a warehouse that is behind."""

from dataclasses import dataclass
from datetime import date

from bess_pipeline.defs.house import CODE_VERSION
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.ledger import WHOLE_FLEET, fingerprint, stale_days
from bess_pipeline.sources import landing
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window, contiguous

#: The last step of a day, and the step under which a whole fleet is recorded.
LAST_OF_DAY = catalog.DAY_EVIDENCE.name
WHOLE = "fleet"


@dataclass(frozen=True)
class DayRange:
    """A contiguous range of stale days of one fleet, the work of one run."""

    fleet_id: str
    window: Window
    version: str


def has_new_files(home: Home, fleet_id: str) -> bool:
    """Whether the landing folder of a fleet is no longer what the index says."""
    fleet = home.fleet(fleet_id)
    changes = landing.changes(fleet, home.folder(fleet_id), home.landing_files(fleet_id), today=home.today)
    return bool(changes)


def stale_ranges(home: Home, fleet_id: str, *, within: Window | None = None) -> list[DayRange]:
    """Ranges of days of a fleet that would be made from other inputs now, none longer than a run may be.

    Args:
        home: The deployment.
        fleet_id: The fleet.
        within: Consider only these days.
    """
    wanted = home.wanted(fleet_id)
    days = stale_days(wanted, home.ledger.signatures(fleet_id, LAST_OF_DAY))
    chosen = [day for day in days if within is None or day in within]
    return [
        DayRange(fleet_id, window, fingerprint(*(wanted.get(day, "") for day in window)))
        for window in contiguous(chosen, longest=home.settings.days_per_run)
    ]


def fleet_signature(home: Home, fleet_id: str) -> str:
    """Fingerprint of everything that a fleet's tables rest on."""
    days: dict[date, str] = home.ledger.signatures(fleet_id, LAST_OF_DAY)
    files = home.landing_files(fleet_id).select("path", "checksum", "status", "rows_without_day")
    made_by = CODE_VERSION, catalog.shape("gold")
    return fingerprint(home.fleet(fleet_id).telemetry_version, *made_by, sorted(days.items()), files.rows())


def is_fleet_stale(home: Home, fleet_id: str) -> bool:
    """Whether a fleet's tables rest on other inputs than there are now."""
    made = home.ledger.signatures(fleet_id, WHOLE).get(WHOLE_FLEET)
    return made != fleet_signature(home, fleet_id)


def record_fleet(home: Home, fleet_id: str, signature: str, *, run_id: str) -> None:
    """Note that a fleet's tables have been made from the inputs with this fingerprint."""
    home.ledger.record(fleet_id, WHOLE, {WHOLE_FLEET: signature}, run_id=run_id)
