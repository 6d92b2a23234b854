"""Soak: hours of traffic and restarts in minutes, and what the daemons hold afterwards.

`world` is a house with thirty watchers, `player` is what they run, `orders` are given to it, `traffic` asks and listens
meanwhile; `books` keep account, `samples` say what the daemons hold, `slopes` whether that grows. `course` is the whole
run, `report` its table. `make soak` is half an hour of it, `test_soak` half a minute.
"""
