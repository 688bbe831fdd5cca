"""The REST API: it reads the warehouse, and nothing else."""
