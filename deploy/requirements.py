"""Requirements of the image, read off pyproject.toml: what the project needs, and the extras that are named."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *(needed for name in sys.argv[1:] for needed in extras[name]), sep="\n")
