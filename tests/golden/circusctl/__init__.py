"""What every command of circusctl shows, at terminals of two widths with and without colours, and in a pipe.

`world` is the circusd that is asked, `scenes` are the command lines, `screen` runs them, `make` writes the pages in
`pages/`, and a test compares. Time, pids, names of users and secrets are the same on every machine.
"""
