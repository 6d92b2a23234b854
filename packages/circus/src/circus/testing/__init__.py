"""Fakes for the tests of users and our own; nothing of circusd imports them."""
