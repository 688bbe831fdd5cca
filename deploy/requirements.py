"""Requirements of the image, read off pyproject.toml: what the project needs, with its records in PostgreSQL."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["postgres"], sep="\n")
