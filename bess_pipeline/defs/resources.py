"""One deployment, as assets see it: its register, its landing zone, its lake, its warehouse."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from bess_pipeline.config import Settings, settings_now
from bess_pipeline.lake.ledger import Ledger, day_signatures
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.sources import landing, prices, register, retired, terms
from bess_pipeline.sources.opening import Limits
from bess_pipeline.sources.register import Fleet, Register
from bess_pipeline.tables import catalog
from bess_pipeline.tables.lifecycle import MarketPrice
from bess_pipeline.tables.telemetry import MEASUREMENTS


@cache
def _lake(uri: str, patience: timedelta) -> Lake:
    return Lake(uri, patience)


@cache
def _ledger(lake: Lake) -> Ledger:
    return Ledger(lake)


class Home:
    """Everything of one deployment, as the environment names it at the moment."""

    @property
    def settings(self) -> Settings:
        """Where the deployment lives and how it behaves."""
        return settings_now()

    @property
    def lake(self) -> Lake:
        """The Delta tables; one object per address, which knows the tables that it has opened."""
        settings = self.settings
        return _lake(settings.lake, timedelta(seconds=settings.storage_patience_seconds))

    @property
    def ledger(self) -> Ledger:
        """What has been made of which inputs; one object per lake, which knows what it has read."""
        return _ledger(self.lake)

    @property
    def warehouse(self) -> Warehouse:
        """The DuckDB file that analysts open."""
        return Warehouse(self.settings.warehouse)

    @property
    def now(self) -> datetime:
        """The current instant, UTC."""
        return datetime.now(UTC)

    @property
    def today(self) -> date:
        """The current UTC day: the last that telemetry may have."""
        return self.now.date()

    def register(self) -> Register:
        """The fleets as their files say now, and the mistakes in them."""
        return register.read_register(self.settings.fleets)

    def fleet(self, fleet_id: str) -> Fleet:
        """One fleet as its file says now.

        Raises:
            LookupError: If the register has no such fleet, or its file has mistakes.
        """
        known = register.read_register(self.settings.fleets, only=fleet_id)
        if fleet_id in known.fleets:
            return known.fleets[fleet_id]
        missing = [f"there is no {self.settings.fleets / fleet_id}.yaml"]
        if fleet_id in retired.retired_fleets(self.settings.fleets):
            missing = [f"is retired: `bess fleet restore {fleet_id}` brings it back"]
        mistakes = known.mistakes.get(f"{fleet_id}.yaml", missing)
        raise LookupError(f"fleet {fleet_id}: {'; '.join(mistakes)}")

    def known_fleets(self) -> frozenset[str]:
        """Every fleet that has a file, be it mistaken or put aside."""
        return retired.known_fleets(self.settings.fleets)

    @property
    def limits(self) -> Limits:
        """How much a landing file may hold."""
        return Limits(self.settings.largest_file_bytes, self.settings.largest_compression_ratio)

    def rows_per_batch(self, fleet_id: str) -> int:
        """Raw rows of a fleet held in memory at once: fewer where each row also holds a value per cell."""
        fleet, rows = self.fleet(fleet_id), self.settings.rows_per_batch
        if fleet.source.cells is None:
            return rows
        cells = max(fleet.nameplate(name).cells_in_series for name in ("", *fleet.batteries))
        return max(1, rows * len(MEASUREMENTS) // (len(MEASUREMENTS) + cells))

    def folder(self, fleet_id: str) -> Path:
        """The landing folder of a fleet."""
        return self.settings.landing / fleet_id

    def landing_files(self, fleet_id: str) -> pl.DataFrame:
        """`LandingFile` rows of a fleet."""
        return self.lake.read(catalog.LANDING_FILES, Slice(fleet_id))

    def landing_days(self, fleet_id: str) -> pl.DataFrame:
        """`LandingDay` rows of a fleet."""
        return self.lake.read(catalog.LANDING_DAYS, Slice(fleet_id))

    def landing_runs(self, fleet_id: str) -> pl.DataFrame:
        """`LandingRun` rows of a fleet."""
        return self.lake.read(catalog.LANDING_RUNS, Slice(fleet_id))

    def clock_repairs(self, fleet_id: str) -> pl.DataFrame:
        """`ClockRepair` rows of a fleet."""
        return self.lake.read(catalog.CLOCK_REPAIRS, Slice(fleet_id))

    def batteries(self, fleet_id: str) -> pl.DataFrame:
        """Nameplates of every battery that a file of the fleet ever named: `Battery` rows."""
        fleet = self.fleet(fleet_id)
        files = self.landing_files(fleet_id)
        return register.nameplates(fleet, self.battery_ids(fleet_id), sampling=landing.sampling(fleet, files))

    def ocv_curves(self, fleet_id: str) -> pl.DataFrame:
        """Open-circuit voltage curves of every battery of the fleet: `OcvPoint` rows."""
        return register.ocv_curves(self.fleet(fleet_id), self.battery_ids(fleet_id))

    def assumptions(self, fleet_id: str) -> pl.DataFrame:
        """What was agreed and assumed of a fleet: `Assumption` rows."""
        fleet = self.fleet(fleet_id)
        return terms.assumptions(fleet_id, fleet.warranty, fleet.commissioned, fleet.economics)

    def market_prices(self, fleet_id: str) -> pl.DataFrame:
        """The prices that the fleet file names: `MarketPrice` rows; none where it names no file.

        Raises:
            PricesError: If the file is not one of prices.
        """
        said = self.fleet(fleet_id).economics.prices
        if said is None:
            return MarketPrice.create_empty()
        known = prices.read_prices(self.settings.fleets / said.file, said.timezone)
        return known.select(pl.lit(fleet_id).alias("fleet_id"), pl.all()).pipe(MarketPrice.validate)

    def battery_ids(self, fleet_id: str) -> list[str]:
        """Every battery that a file of the fleet ever named, in order."""
        named = self.landing_days(fleet_id).filter(pl.col("battery_id") != "")
        return named["battery_id"].unique().sort().to_list()

    def wanted(self, fleet_id: str) -> dict[date, str]:
        """What each day of a fleet would be made from now: UTC day → fingerprint."""
        fleet = self.fleet(fleet_id)
        files = self.landing_files(fleet_id)
        basis = fleet.telemetry_version, landing.sampling(fleet, files)
        return day_signatures(self.landing_days(fleet_id), files, *basis)
