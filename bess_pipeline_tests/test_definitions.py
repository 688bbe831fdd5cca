import gc
import subprocess
import sys

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


def test_a_command_that_loads_in_two_parts_keeps_both_and_nothing_after_them():
    said = process(
        "import gc",
        "from bess_pipeline.loading import kept",
        "with kept(more=True): first = [[] for _ in range(1000)]",
        "counts = [gc.get_freeze_count()]",
        "with kept(): second = [[] for _ in range(1000)]",
        "counts.append(gc.get_freeze_count())",
        "with kept(): third = [[] for _ in range(1000)]",
        "counts.append(gc.get_freeze_count())",
        "print(counts[1] - counts[0] >= 1000, counts[2] == counts[1])",
    )
    assert said == "True True"


def process(*lines):
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
