"""Clients of the kernel: `sync` for programs (the published `papa.Papa`), `aio` for asyncio, `launch` to find one.

One idea: all of them speak frames and share what the bytes mean (`calls`); output is read from the kernel's files
(`output`), not asked for. Nothing is imported here: ``import papa`` stays light.
"""
