"""The page on anomalies lists what there is."""

from pathlib import Path

import pytest

from bess_pipeline.analytics.features import FEATURES
from bess_pipeline.analytics.lanes import LANES

PAGE = (Path(__file__).parents[1] / "docs" / "methods" / "anomalies.md").read_text()


def rows(heading):
    """Cells of the table below a heading."""
    below = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    return [
        [cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in below.splitlines() if "|" in line
    ]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_stands_there_with_its_unit_and_its_floor(feature):
    (row,) = [row for row in rows("Features") if row[0] == feature.name]
    assert row[1] == feature.unit
    assert float(row[2]) == feature.floor


def test_no_other_feature_stands_there():
    listed = {row[0] for row in rows("Features")} - {"feature", "---"}
    assert listed == {feature.name for feature in FEATURES}


def test_every_lane_stands_there():
    assert {row[0] for row in rows("Lanes")} - {"lane", "---"} == {lane.name for lane in LANES}
