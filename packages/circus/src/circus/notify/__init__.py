"""Telling others of events, by web-hooks and commands: what is told when (`desk`, `messages`: cores), and the ways out.

Nothing here is imported by a circusd whose configuration has no notifier.
"""
