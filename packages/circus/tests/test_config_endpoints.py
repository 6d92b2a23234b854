from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import endpoints, load
from circus.config.endpoints import Address
from circus.config.model import CircusConfig


@pytest.mark.parametrize(
    ("text", "address", "is_local"),
    [
        ("tcp://127.0.0.1:5555", Address("", host="127.0.0.1", port=5555), True),
        ("tcp://localhost:5555", Address("", host="127.0.0.1", port=5555), True),
        ("tcp://127.0.0.9:*", Address("", host="127.0.0.9"), True),
        ("tcp://[::1]:0", Address("", host="::1"), True),
        ("tcp://*:5555", Address("", host="0.0.0.0", port=5555), False),
        ("tcp://10.0.0.1:5555", Address("", host="10.0.0.1", port=5555), False),
        ("tcp://[::]:5555", Address("", host="::", port=5555), False),
        ("ipc:///run/x y", Address("", path="/run/x y"), True),
        ("ipc://relative", Address("", path="relative"), True),
        ("ipc://@name", Address("", path="@name"), True),
    ],
)
def test_an_address_is_read(text: str, address: Address, is_local: bool) -> None:
    read = endpoints.parse(text)
    assert (read.path, read.host, read.port, read.is_local) == (address.path, address.host, address.port, is_local)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("default", "is no address of ZMQ"),
        ("udp://127.0.0.1:5", "is no address of ZMQ"),
        ("ipc://", "names no path"),
        ("ipc://*", "names no path"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:65536", "has no port"),
        ("tcp://127.0.0.1:x", "has no port"),
        ("tcp://eth0:5555", "names no address in numbers"),
        ("tcp://host.example:5555", "names no address in numbers"),
    ],
)
def test_what_is_no_address_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        endpoints.parse(text)


def loaded(folder: Path, name: str, text: str) -> CircusConfig:
    path = folder / name
    path.write_text(text)
    return load.load(str(path), {"PATH": "/bin:/usr/bin"})


def told(config: CircusConfig) -> list[str]:
    return [f"{Path(each.file).name}:{each.line}: {each.what}" for each in config.warnings]


WATCHER = "\n[watcher:w]\ncmd = /bin/true\n"


def test_what_a_door_means_and_what_is_not_opened_is_said_with_its_line(tmp_path: Path) -> None:
    lines = (
        "[circus]", "endpoint = tcp://127.0.0.1:5555", "pubsub_endpoint = tcp://0.0.0.0:5556", "stats_endpoint = here",
        "endpoint_owner = nobody-of-that-name",
    )  # fmt: skip
    config = loaded(tmp_path, "c.ini", "\n".join(lines) + WATCHER)
    assert told(config) == [
        "c.ini:2: [circus]: whoever is on this machine gives orders to this circusd at tcp://127.0.0.1:5555: it knows "
        "no authentication",
        "c.ini:3: [circus]: pubsub_endpoint = 'tcp://0.0.0.0:5556' is not opened: other machines would reach it, and "
        "it knows no authentication",
        "c.ini:4: [circus]: stats_endpoint = 'here' is not opened: it is no address of ZMQ",
        "c.ini:5: [circus]: endpoint_owner: there is no user 'nobody-of-that-name'",
    ]
    opened = {option: endpoints.address_of(config, option) for option in endpoints.OPTIONS}
    assert [opened[option] is not None for option in endpoints.OPTIONS] == [True, False, False]
    assert told(loaded(tmp_path, "c.ini", "[circus]\nendpoint = ipc:///x\nstats_endpoint =" + WATCHER)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.ini", "[circus]\nendpoint = tcp://*:5555\nzmq.open_to_network = true" + WATCHER),
        (
            "c.toml",
            '[circus]\nendpoint = "tcp://*:5555"\nzmq.open_to_network = true\n[watcher.w]\ncmd = "/bin/true"\n',
        ),
    ],
)
def test_the_network_gets_in_only_where_that_is_written(name: str, text: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, name, text)
    assert endpoints.address_of(config, "endpoint") is not None
    assert [each.split(" gives")[0] for each in told(config)] == [
        f"{name}:2: [circus]: whoever reaches it from any machine"
    ]
    closed = loaded(tmp_path, name, text.replace("true\n[", "false\n["))
    assert endpoints.address_of(closed, "endpoint") is None
