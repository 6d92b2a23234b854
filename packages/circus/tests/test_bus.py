from __future__ import annotations

from collections.abc import Callable

from circus.bus import RING_LENGTH, Bus, Event


def test_every_subscriber_hears_even_when_a_neighbour_fails() -> None:
    bus = Bus()
    heard: list[Event] = []

    def fails(_event: Event) -> None:
        raise RuntimeError

    bus.subscribe(fails)
    bus.subscribe(heard.append)
    event = Event(1.0, "web", "spawn", {"process_pid": 7})
    bus.publish(event)
    assert heard == [event]


def test_a_subscription_ends() -> None:
    bus = Bus()
    heard: list[Event] = []
    leave = bus.subscribe(heard.append)
    leave()
    leave()
    bus.publish(Event(1.0, "web", "spawn"))
    assert heard == []


def test_one_that_leaves_while_it_is_called_costs_its_neighbour_nothing() -> None:
    bus = Bus()
    heard: list[Event] = []
    ends: list[Callable[[], None]] = [bus.subscribe(lambda _event: ends[0]())]
    bus.subscribe(heard.append)
    for at in (1.0, 2.0):
        bus.publish(Event(at, "web", "spawn"))
    assert [event.at for event in heard] == [1.0, 2.0]


def test_the_past_is_bounded() -> None:
    bus = Bus()
    for number in range(RING_LENGTH + 10):
        bus.publish(Event(float(number), "web", "spawn"))
    assert len(bus.recent) == RING_LENGTH
    assert bus.recent[0].at == 10.0
