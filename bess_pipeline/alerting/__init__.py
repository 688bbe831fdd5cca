"""Alerts: what is worth one, what waits, how it reads, and the ways to people. It knows no Dagster and no lake."""
