"""Expected values: worked out by hand from the inputs that the program names."""

from pathlib import Path

import pytest

from bess_pipeline_tests.benchmarks import plan_of_size

DOCUMENT = Path(__file__).parents[1] / "docs" / "a_million_batteries.md"


def test_a_thousand_batteries():
    found = plan_of_size.sized(1_000)
    assert found["fleets"] == 20
    assert found["lakes, each with its code location"] == 1
    assert found["million raw rows a day"] == pytest.approx(1.44)
    assert found["TB after 1,000 days"] == pytest.approx(1.44e9 * 31.2 / 1e12)
    assert found["processor hours a night"] == pytest.approx((20 * 19.8 + 180) / 3600)
    # 1,440 million rows at 15.8 s, 20,000 fleet-days at 0.124 s
    assert found["processor hours to make 1,000 days"] == pytest.approx((1_440 * 15.8 + 20_000 * 0.124) / 3600)
    # One look takes 21 * 0.03 = 0.63 s, so that all 20 have one each 30 s; each hour there are 20 * 720.
    look = 8 * 5e-6 + 13 * 4e-7
    assert found["dollars a month for looks each 30 s"] == pytest.approx(20 * 86_400 * look)
    assert found["dollars a month for looks each hour"] == pytest.approx(20 * 720 * look)


def test_no_lake_has_more_looks_than_one_after_the_other():
    look = 8 * 5e-6 + 13 * 4e-7
    told = plan_of_size.sized(10_000)["dollars a month for looks each 30 s"]
    assert told == pytest.approx(2 * 2_592_000 / 0.63 * look), "100 fleets take 63 s"


def test_a_million_batteries_need_two_hundred_lakes():
    assert plan_of_size.sized(1_000_000)["lakes, each with its code location"] == 200


def test_the_document_says_what_the_program_does():
    told = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith("| ")
    ]
    for row in plan_of_size.rows_of_table():
        assert row in told
    assert f"{plan_of_size.memory():.1f} GB" in DOCUMENT.read_text()
