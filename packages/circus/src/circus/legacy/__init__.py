"""What plugins, hooks and scripts of the ancestors import: thin shims over `control`, under their old names.

Modules of one line (`circus.client`, `circus.consumer`, `circus.exc`, `circus.util`) hand them out. Of our own rooms
only `plugins` uses them, whose base class is such a name itself.
"""
