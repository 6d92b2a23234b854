"""The doors of circusd: HTTP on a unix socket, the operations behind it, and the client that speaks to it.

This file stays empty of imports: circusctl reaches `control.client` and `control.endpoints` through it.
"""
