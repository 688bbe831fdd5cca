"""The examples of the API's description are answers that it gives."""

import jsonschema
import pytest

from bess_pipeline.api.app import create_app
from bess_pipeline.api.openapi import examples


@pytest.fixture(scope="module")
def described(site):
    return create_app(site).openapi()


def operations(described):
    for address, of in described["paths"].items():
        for operation in of.values():
            yield address, operation


def conforms(described, schema, example):
    """Whether an example is what a schema says, its references and instants, too."""
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator({**schema, "components": described["components"]}, format_checker=checker).validate(
        example
    )
    return True


def test_every_operation_has_an_example_of_its_answer_that_its_schema_allows(described):
    told = 0
    for _, operation in operations(described):
        for status in {"200", "201", "202"} & set(operation["responses"]):
            content = operation["responses"][status]["content"]["application/json"]
            told += conforms(described, content["schema"], content["example"])
    assert told == len(examples()) + 1  # a delivery has two answers


def test_examples_of_lists_have_a_row(described):
    lists = [of["answer"]["items"] for of in examples().values() if "items" in of["answer"]]
    assert len(lists) >= 15
    assert all(lists)


def test_bodies_and_parameters_have_examples_that_their_schemas_allow(described):
    bodies = {}
    for address, operation in operations(described):
        for parameter in operation.get("parameters", []):
            if f"{{{parameter['name']}}}" in address:
                assert conforms(described, parameter["schema"], parameter["example"])
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:
            bodies[operation["operationId"]] = conforms(described, content["schema"], content["example"])
    assert bodies == {"detect": True, "say": True}


def test_an_example_has_just_the_names_of_today(described):
    """A schema allows names that it does not know: an example of yesterday would pass."""
    for _, operation in operations(described):
        for status in {"200", "201", "202"} & set(operation["responses"]):
            content = operation["responses"][status]["content"]["application/json"]
            require_same_names(described, content["schema"], content["example"])


def require_same_names(described, schema, example):
    if "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(example, list) and "items" in schema:
        for one in example:
            require_same_names(described, schema["items"], one)
    elif isinstance(example, dict) and "properties" in schema:
        assert set(example) == set(schema["properties"])
        for name, value in example.items():
            require_same_names(described, schema["properties"][name], value)
