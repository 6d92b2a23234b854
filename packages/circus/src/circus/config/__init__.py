"""The configuration: from the text of INI and TOML files to values that the other rooms can rely on.

The way is one direction: ``read`` (files to sections, every key with its place) → ``expand`` (variables) →
``build`` (text to typed values) → ``validate`` (all problems at once) → ``load`` (one call for all of it);
``diff`` compares two results. Nothing here starts, opens or changes anything.
"""
