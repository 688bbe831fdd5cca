import gc

from bess_pipeline import definitions


def test_loading_leaves_the_collector_at_work_and_what_was_loaded_alone():
    assert definitions.defs
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
