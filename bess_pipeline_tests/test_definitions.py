import gc
import importlib

from bess_pipeline import definitions


def test_loading_leaves_the_collector_as_it_was():
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.disable()
    try:
        importlib.reload(definitions)
        assert not gc.isenabled()
    finally:
        gc.enable()
