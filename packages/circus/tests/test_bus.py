from __future__ import annotations

from circus.bus import RING_LENGTH, Bus, Event


def test_every_subscriber_hears_even_when_a_neighbour_fails() -> None:
    bus, heard = Bus(), []

    def fails(_event: Event) -> None:
        raise RuntimeError

    bus.subscribe(fails)
    bus.subscribe(heard.append)
    event = Event(1.0, "web", "spawn", {"process_pid": 7})
    bus.publish(event)
    assert heard == [event]


def test_a_subscription_ends() -> None:
    bus, heard = Bus(), []
    leave = bus.subscribe(heard.append)
    leave()
    bus.publish(Event(1.0, "web", "spawn"))
    assert heard == []


def test_the_past_is_bounded() -> None:
    bus = Bus()
    for number in range(RING_LENGTH + 10):
        bus.publish(Event(float(number), "web", "spawn"))
    assert len(bus.recent) == RING_LENGTH
    assert bus.recent[0].at == 10.0
