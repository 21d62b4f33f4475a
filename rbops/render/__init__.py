"""From a plan to the finished bytes of every file: pure, and the same from run to run."""

from rbops.render.files import File, Rendered
from rbops.render.tree import places, render, unplanned
from rbops.render.write import write

__all__ = ["File", "Rendered", "places", "render", "unplanned", "write"]
