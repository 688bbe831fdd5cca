"""Raw telemetry of battery energy storage in, numbers that operators can rely on out."""
