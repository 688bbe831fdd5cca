"""Dagster, all of it."""
