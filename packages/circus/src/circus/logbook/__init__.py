"""What was written when, by whom: the index of log files, and reading them by it.

The idea: log files stay what they are, lines of text that any tool can read. Beside them, in the state directory, an
index says for each stretch of a file which process wrote it and at what time. circusd writes the index (`writing`),
circusctl reads files and index without asking anybody (`files`, `reading`), so that it works also while circusd is
away. `entries`, `matching`, `cursors` and `moments` are pure.
"""
