"""Click configurations: the language, what elements do, and whether both rules of the paper hold.

    ClickText -> parse -> Tree -> flatten -> FlatRouter -> Graph -> processing -> threads -> rules

Pure but for ``fragment``, which reads one file. ``check`` does it all; ``fragment`` is for the user's own element.
"""

from rbops.click.check import CheckOptions, Report, check
from rbops.click.elements import Table, bundled, with_elementmap
from rbops.click.fragment import Fragment, fragment, fragment_of
from rbops.click.source import ClickText

__all__ = [
    "CheckOptions",
    "ClickText",
    "Fragment",
    "Report",
    "Table",
    "bundled",
    "check",
    "fragment",
    "fragment_of",
    "with_elementmap",
]
