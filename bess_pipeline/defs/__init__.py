"""Dagster, all of it."""

import warnings

import dagster as dg

# Backfill policies are beta in this version of Dagster, which is pinned; the project relies on them knowingly.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy")
