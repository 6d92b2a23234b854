"""Hooks that note in the working directory of the manager that they were called."""


def before_start(watcher, arbiter, hook_name, **kwargs):
    return _note(hook_name)


def after_spawn(watcher, arbiter, hook_name, **kwargs):
    return _note(hook_name)


def _note(hook_name):
    with open("hooks.log", "a") as log:
        log.write(hook_name + "\n")
    return True
