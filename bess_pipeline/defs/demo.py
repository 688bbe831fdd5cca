"""`bess demo`: two small synthetic fleets through the whole pipeline, and what was found of what was planted."""

from datetime import date

from bess_pipeline.defs import operate
from bess_pipeline.defs.operate import Outcome, Progress
from bess_pipeline.defs.resources import Home
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet

_PLANS = (
    Plan(
        fleet_id="demo-lfp", batteries=6, days=60, seed=11, chemistry="LFP", profile="arbitrage", start=date(2026, 1, 1)
    ),
    Plan(fleet_id="demo-nmc", batteries=6, days=60, seed=12, chemistry="NMC", profile="pv", start=date(2026, 1, 1)),
)

#: Fleets of the demonstration.
FLEETS = tuple(plan.fleet_id for plan in _PLANS)


def run(home: Home, progress: Progress) -> Outcome:
    """Write the fleets, unless they are there already, and bring the deployment up to date.

    Args:
        home: The deployment; other fleets of it are brought up to date as well.
        progress: Is told what goes on.
    """
    for plan in _PLANS:
        if not (home.settings.fleets / f"{plan.fleet_id}.yaml").exists():
            progress.begin(f"{plan.fleet_id}: simulating {plan.batteries} batteries for {plan.days} days", 1)
            write_fleet(simulate(plan), home.settings.root)
            progress.advance()
    return operate.run(home, progress)
