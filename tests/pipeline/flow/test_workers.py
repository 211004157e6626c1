from __future__ import annotations

from pipeline.flow.workers import Workers


def test_calls_go_to_the_least_loaded_worker_that_serves_the_stage() -> None:
    workers = Workers(slots=2)
    workers.add("a", ["prepare"])
    workers.add("b", ["prepare", "tok"])
    workers.begin("b", 1)
    assert workers.pick("prepare") == "a"
    assert workers.pick("tok") == "b"
    assert workers.pick("other") is None


def test_of_equally_loaded_workers_one_on_the_node_of_the_windows_is_taken() -> None:
    workers = Workers(slots=2)
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n2")):
        workers.add(name, ["tok"], node)
    assert workers.pick("tok", near="n2") == "b"
    workers.begin("b", 1)
    assert workers.pick("tok", near="n2") == "c"
    workers.begin("c", 2)
    assert workers.pick("tok", near="n2") == "a"
    assert workers.pick("tok", near="elsewhere") == "a"
    assert (workers.node_of("a"), workers.node_of("gone")) == ("n1", "")


def test_a_worker_takes_no_more_calls_than_it_has_slots() -> None:
    workers = Workers(slots=2)
    workers.add("a", ["prepare"])
    workers.begin("a", 1)
    workers.begin("a", 2)
    assert workers.pick("prepare") is None
    assert workers.free_slots("prepare") == 0
    workers.end(1)
    assert workers.pick("prepare") == "a"
    assert workers.free_slots("prepare") == 1


def test_a_retiring_worker_finishes_what_it_has_and_gets_nothing_more() -> None:
    workers = Workers(slots=2)
    workers.add("a", ["prepare"])
    workers.begin("a", 1)
    workers.retire("a")
    assert workers.pick("prepare") is None
    assert workers.ready("prepare") == 0
    assert workers.retired() == ()
    workers.end(1)
    assert workers.retired() == ("a",)


def test_a_call_of_a_worker_that_is_gone_ends_without_a_trace_even_if_another_has_its_name() -> None:
    workers = Workers(slots=1)
    workers.add("a", ["prepare"])
    workers.begin("a", 1)
    workers.remove("a")
    workers.add("a", ["prepare"])
    workers.begin("a", 2)
    workers.end(1)
    assert workers.pick("prepare") is None
    workers.end(2)
    assert workers.pick("prepare") == "a"


def test_a_worker_of_several_stages_is_fused_while_it_is_there() -> None:
    workers = Workers(slots=2)
    workers.add("both", ["prepare", "tok"])
    workers.add("one", ["prepare"])
    assert (workers.is_fused("both"), workers.is_fused("one"), workers.is_fused("gone")) == (True, False, False)
    workers.remove("both")
    assert not workers.is_fused("both")
