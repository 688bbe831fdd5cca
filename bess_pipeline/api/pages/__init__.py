"""Pages for people: templates that the server fills, charts that the browser draws, nothing from anywhere else."""
