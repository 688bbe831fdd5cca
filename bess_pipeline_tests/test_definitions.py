import gc

from bess_pipeline import definitions
from bess_pipeline.loading import kept


def test_loading_leaves_the_collector_at_work_and_what_was_loaded_alone():
    assert definitions.defs
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
    assert gc.get_threshold()[0] >= 20_000


def test_what_is_at_hand_later_is_let_go_of_at_the_end():
    frozen = gc.get_freeze_count()
    with kept():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
