"""The report of `bench all`: rows in, Markdown and plots out. Nothing here measures; only `plots` needs a library."""
