"""The reference that is generated from the program: ``docs/cli.md`` and the man pages below ``docs/man``.

``make docs`` writes them; ``tests/docs`` fails while they are not what the program says.
"""
