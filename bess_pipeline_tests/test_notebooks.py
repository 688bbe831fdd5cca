"""The notebook for analysts runs as it stands, on a warehouse of any content."""

import pytest

from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import contents, put, settled
from bess_pipeline_tests.notebooks import notebook, twelve_questions


@pytest.mark.parametrize("content", ["nothing", "batteries"])
def test_the_notebook_answers_its_twelve_questions(content, tmp_path, monkeypatch):
    settings = settled(tmp_path)
    lake = Lake(settings.lake)
    lake.create()
    put(settings, contents() if content == "batteries" else {})
    monkeypatch.setenv("BESS_HOME", str(tmp_path))
    _, defs = notebook("twelve_questions").run()
    defs["connection"].close()
    answers = defs["answers"]
    assert list(answers) == list(twelve_questions())
    assert len(answers) == 12
    assert all(question.endswith("?") for question in answers)
    worst = answers["Which five batteries are the worst, and why?"]
    if content == "nothing":
        assert all(answer.is_empty() for answer in answers.values())
    else:
        assert worst.height == 4
        raised = answers["What was raised, and what became of it?"]
        assert raised["raised"].sum() == lake.read(catalog.ANOMALY_EVENTS).height
