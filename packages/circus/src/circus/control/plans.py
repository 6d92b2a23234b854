"""Plans as they travel, and as people read them. Pure."""

from __future__ import annotations

from circus.config.plan import Item, Plan
from circus.config.plan_text import text_of
from circus.control import schema


def answer(plan: Plan, base: str, *, is_applied: bool = False, has_begun: bool = False) -> schema.PlanAnswer:
    """In the text, files below the directory ``base`` are named from there. ``has_begun``: nobody awaits its end."""
    changes = plan.changes
    return schema.PlanAnswer(
        waited=not has_begun,
        keep=list(changes.keep),
        add=list(changes.add),
        remove=list(changes.remove),
        change=[schema.ChangeAnswer(new.name, restart, list(reasons)) for new, restart, reasons in changes.change],
        sockets_add=list(changes.sockets_add),
        sockets_remove=list(changes.sockets_remove),
        sockets_change=list(changes.sockets_change),
        circus_changes=[each.name for each in changes.circus_changes],
        text=text_of(plan, base=base, is_done=is_applied),
        id=plan.id,
        applied=is_applied,
        items=[_item(each) for each in plan.items],
        by_hand={name: list(what) for name, what in plan.by_hand.items()},
        warnings=[str(each) for each in plan.warnings],
    )


def _item(item: Item) -> schema.ItemAnswer:
    causes = [
        schema.CauseAnswer(each.option, each.old, each.new, each.file, each.line, each.is_hidden)
        for each in item.causes
    ]
    return schema.ItemAnswer(item.kind, item.name, item.verb, item.note, item.file, item.line, causes)
