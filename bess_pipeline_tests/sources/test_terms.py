"""What a fleet file may say of its warranty, and how its numbers come out as rows."""

from datetime import date

import pytest
from pydantic import ValidationError

from bess_pipeline.analytics.terms import terms_of
from bess_pipeline.sources.terms import ASSUMED, Economics, Warranty, assumptions

WHOLE = {
    "years": 10,
    "soh_by_years": [[0, 100], [10, 70]],
    "soh_by_equivalent_full_cycles": [[0, 100], [4000, 70]],
    "equivalent_full_cycles": 4000,
    "equivalent_full_cycles_per_year": 400,
    "discharged_energy_mwh": 800,
    "soc_percent": {"min": 5, "max": 95},
    "temperature_celsius": {"max": 40},
    "charging_c_rate": 0.5,
    "discharging_c_rate": 0.6,
    "grace_minutes": 10,
    "rest": {"minutes": 60, "days": 7},
    "round_trip_efficiency_percent": 88,
    "availability": {
        "percent": 98,
        "points_per_point": 2,
        "exclusions": [{"first": date(2024, 3, 1), "last": date(2024, 3, 3), "reason": "maintenance"}],
    },
    "source": "Contract 17",
    "stated_on": date(2023, 6, 1),
}


def test_every_number_is_a_row_with_its_unit_source_and_date():
    rows = assumptions("f", Warranty.model_validate(WHOLE), date(2024, 1, 1))
    told = {(row["name"], row["position"]): row for row in rows.to_dicts()}
    assert len(told) == rows.height == 21
    assert told["soh_by_years", 1]["value"] == 70
    assert told["temperature_high", 0]["unit"] == "°C"
    assert told["availability_exclusion", 0]["source"] == "maintenance"
    assert told["starts_on", 0]["first_day"] == date(2024, 1, 1)
    stated = rows.filter(source="Contract 17")
    assert stated.height == 19
    assert stated["stated_on"].unique().to_list() == [date(2023, 6, 1)]


def test_the_rows_are_the_warranty_again():
    terms = terms_of(assumptions("f", Warranty.model_validate(WHOLE), date(2024, 1, 1)))
    assert (terms.starts_on, terms.ends_on, terms.years) == (date(2024, 1, 1), date(2034, 1, 1), 10)
    assert terms.limits == {
        "soc_low": 5, "soc_high": 95, "temperature_high": 40, "charging_rate": 0.5, "discharging_rate": 0.6,
    }  # fmt: skip
    assert terms.by_age.tolist() == [[0, 10], [100, 70]]
    assert terms.exclusions == ((date(2024, 3, 1), date(2024, 3, 3)),)


def test_a_fleet_without_a_warranty_has_no_rows():
    assert assumptions("f", Warranty(), date(2024, 1, 1)).is_empty()
    assert terms_of(assumptions("f", Warranty(), date(2024, 1, 1))) is None


def test_numbers_of_money_come_with_their_currency_and_those_that_are_assumed_say_so():
    stated = {"value": 150, "source": "Quotation", "stated_on": date(2025, 2, 1)}
    money = Economics.model_validate({"currency": "EUR", "replacement_cost_per_kwh": stated, "contract_years": 12})
    rows = {row["name"]: row for row in assumptions("f", Warranty(), None, money).to_dicts()}
    cost = rows["replacement_cost_per_kwh"]
    assert (cost["value"], cost["unit"]) == (150, "EUR/kWh")
    assert (cost["source"], cost["stated_on"]) == ("Quotation", date(2025, 2, 1))
    assert (rows["contract_years"]["value"], rows["contract_years"]["source"]) == (12, None)
    assert rows["augmentation_fade_percent_per_year"]["value"] == 2.0
    assumed = {name for name, row in rows.items() if (row["source"] or "").startswith("assumed")}
    assert assumed == set(ASSUMED) - {"contract_years"}
    assert assumptions("f", Warranty(), None, Economics()).is_empty()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"replacement_cost_per_kwh": 0}, "above 0"),
        ({"contract_floor_percent": 120}, "between 0 and 100"),
        ({"discount_rate_percent": -100}, "above -100"),
        ({"replacement_cost_per_kwh": {"source": "x"}}, "value"),
        ({"price_of_tea": 3}, "Extra inputs"),
    ],
)
def test_mistakes_of_money_are_told(said, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Economics.model_validate(said)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"soh_by_years": [[0, 100]]}, "two points"),
        ({"soh_by_years": [[0, 90], [10, 95]]}, "must not rise"),
        ({"soh_by_years": [[5, 90], [0, 85]]}, "in order"),
        ({"equivalent_full_cycles": 4000}, "give years"),
        ({"years": 10, "soc_percent": {"min": 90, "max": 10}}, "must be below"),
        ({"years": -1}, "greater than 0"),
        ({"years": 10, "cycles": 5}, "Extra inputs"),
        (
            {"years": 10, "availability": {"percent": 98, "exclusions": [
                {"first": date(2024, 3, 2), "last": date(2024, 3, 1), "reason": "x"}]}},
            "must not be before",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told(said, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Warranty.model_validate(said)
