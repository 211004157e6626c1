from __future__ import annotations

from pipeline.simulate.clock import Timeline


def test_things_happen_in_order_of_time_and_then_of_asking() -> None:
    timeline, seen = Timeline(), list[tuple[str, float]]()

    def note(name: str) -> None:
        seen.append((name, timeline.now_s))

    timeline.after(2.0, lambda: note("c"))
    timeline.after(1.0, lambda: note("a"))

    def b() -> None:
        note("b")
        timeline.after(0.5, lambda: note("inner"))

    timeline.after(1.0, b)
    timeline.run(until_s=3.0)
    assert seen == [("a", 1.0), ("b", 1.0), ("inner", 1.5), ("c", 2.0)]
    assert timeline.now_s == 3.0


def test_time_stops_at_its_end_and_when_it_is_done() -> None:
    timeline, seen = Timeline(), list[int]()
    for second in range(1, 6):
        timeline.after(float(second), lambda second=second: seen.append(second))
    timeline.run(until_s=4.5, done=lambda: len(seen) == 2)
    assert (seen, timeline.now_s) == ([1, 2], 2.0)
    timeline.run(until_s=4.5)
    assert (seen, timeline.now_s) == ([1, 2, 3, 4], 4.5)
