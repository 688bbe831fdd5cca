"""The settings of one deployment; the only reader of the environment."""

from __future__ import annotations

import os
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where a deployment lives and how it behaves; each field is read from ``BESS_<FIELD>``.

    Examples:
        >>> Settings(home="/srv/bess").landing.as_posix()
        '/srv/bess/landing'
    """

    model_config = SettingsConfigDict(env_prefix="BESS_", frozen=True, extra="ignore")

    home: Path = Field(default=Path("data"), description="Folder that holds everything of a deployment.")
    lake_uri: str | None = Field(default=None, description="Where the lake is, when not below the home.")
    first_day: date = Field(default=date(2020, 1, 1), description="First UTC day that telemetry may have.")
    days_per_run: int = Field(default=30, ge=1, description="Longest range of days one run works on.")
    rows_per_batch: int = Field(
        default=2_000_000, ge=1, description="Raw rows held in memory at once, beyond a single day."
    )
    largest_file_bytes: int = Field(
        default=1 << 36,
        ge=1,
        description="Most bytes that a landing file may hold, decompressed; a larger one is refused (64 GiB).",
    )
    largest_compression_ratio: int = Field(
        default=250,
        ge=1,
        description="Most bytes that one byte of a compressed landing file may stand for; more is taken for a bomb.",
    )
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of Dagster's UI, on loopback.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="What the pipeline writes to its log."
    )

    @cached_property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def fleets(self) -> Path:
        """The fleet register: one YAML file per fleet."""
        return self.root / "fleets"

    @property
    def landing(self) -> Path:
        """The landing zone: one folder of telemetry files per fleet."""
        return self.root / "landing"

    @property
    def lake(self) -> str:
        """The address of the lake."""
        return self.lake_uri or str(self.root / "lake")

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that analysts open."""
        return self.root / "warehouse" / "bess.duckdb"

    @property
    def truth(self) -> Path:
        """The known truth of simulated fleets."""
        return self.root / "truth"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own records: runs, events, schedules."""
        return self.root / "dagster_home"

    def environment(self) -> dict[str, str]:
        """The environment for a program that is to work on this deployment."""
        return {**os.environ, "BESS_HOME": str(self.root), "DAGSTER_HOME": str(self.dagster_home)}


def settings_now() -> Settings:
    """The settings that the environment names at the moment, read anew only when it names others.

    A run asks for them some five hundred times, and pydantic takes half a millisecond to read them.

    Raises:
        pydantic.ValidationError: If a setting makes no sense.
    """
    named = frozenset((name, value) for name, value in os.environ.items() if name.upper().startswith("BESS_"))
    return _read(named, Path.cwd())


@lru_cache(maxsize=1)
def _read(_named: frozenset[tuple[str, str]], _below: Path) -> Settings:
    """The settings that these variables name, with relative paths below this folder."""
    return Settings()
