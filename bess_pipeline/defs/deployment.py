"""What a deployment starts from, before anything works on it."""

from bess_pipeline.config import Settings
from bess_pipeline.defs.instance import ready
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.disk import Disk


def prepared(settings: Settings) -> str:
    """Make folders, Dagster's settings, and every table of the lake, where they are not there; what is there stays.

    Tables are there before many processes write to them at once, and an address or a secret that
    does not work, or may not write, is told before anything runs.

    Returns:
        The home and the lake, in a few words.
    """
    for folder in (settings.fleets, settings.landing, settings.warehouse.parent):
        folder.mkdir(parents=True, exist_ok=True)
    ready(settings)
    Home().lake.create()
    Disk(settings.lake).try_writing()
    return f"{settings.root}, lake {settings.lake}"
