from __future__ import annotations

import pytest

from circus.engine.names import Names
from papa import model


@pytest.mark.parametrize(("circusd", "prefix"), [("default", "circus."), ("two", "circus@two.")])
def test_each_circusd_has_names_of_its_own(circusd: str, prefix: str) -> None:
    names = Names(circusd)
    assert names.process("Web", 2) == f"{prefix}web.2"
    assert names.socket("Front") == f"{prefix}front"
    assert names.pattern == f"{prefix}*"


def test_a_watcher_of_any_name_has_a_proper_name_in_the_kernel() -> None:
    assert model.check_name(Names("default").process("plugin:some thing", 1)) == "circus.plugin_some_thing.1"
