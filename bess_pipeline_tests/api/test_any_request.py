"""Requests that nobody thought of: whatever is asked, no server error, and no answer other than is described."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from bess_pipeline.api.app import create_app
from bess_pipeline_tests.thoroughness import size


@pytest.fixture(scope="module")
def operations(site):
    """What the API says can be asked."""
    described = schemathesis.openapi.from_asgi(
        "/openapi.json", create_app(site.model_copy(update={"api_names": ("*",)}))
    )
    return [found.ok() for found in described.get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_is_described(operations, mode):
    # What takes no query cannot be asked a wrong one.
    chosen = [operation for operation in operations if mode is GenerationMode.POSITIVE or list(operation.query)]
    asked = set()
    for operation in chosen:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=size(8, 500),
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            # A cursor that no listing gave is a text like any other to the description, and is refused.
            told = case.call_and_validate(excluded_checks=[positive_data_acceptance])
            asked.add(((case.method, case.path), told.status_code))

        ask()
    assert len({where for where, _ in asked}) == len(chosen) >= 15
    assert {status for (method, _), status in asked if method == "GET"} <= {200, 404, 406, 409, 422}
    assert {status for (method, _), status in asked if method != "GET"} <= {200, 201, 202, 400, 404, 409, 413, 422}
