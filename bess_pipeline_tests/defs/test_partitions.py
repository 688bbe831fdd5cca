from datetime import date

import pytest

from bess_pipeline.defs.partitions import DAYS, day_key, day_of, slice_of
from bess_pipeline.lake.slices import Slice
from bess_pipeline.window import Window


def test_keys_of_days_speak_of_a_window_of_one_fleet():
    keys = [day_key("alpha", date(2026, 1, day)) for day in (2, 3, 4)]
    assert slice_of(keys) == Slice("alpha", Window(date(2026, 1, 2), date(2026, 1, 5)))
    assert day_of(keys[0]) == date(2026, 1, 2)


def test_the_key_of_a_fleet_speaks_of_all_its_days():
    assert slice_of(["alpha"]) == Slice("alpha")
    with pytest.raises(TypeError, match="not one of its days"):
        day_of("alpha")


def test_a_run_over_two_fleets_is_refused():
    with pytest.raises(ValueError, match="one fleet"):
        slice_of([day_key("alpha", date(2026, 1, 2)), day_key("beta", date(2026, 1, 2))])


def test_days_run_from_the_first_day_to_today():
    keys = DAYS.get_partition_keys()
    assert keys[0] == "2020-01-01"
    assert date.fromisoformat(keys[-1]) >= date(2026, 11, 23)
