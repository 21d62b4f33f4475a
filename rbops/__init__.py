"""rbops: turn a rack of Linux servers into one router, as RouteBricks (SOSP 2009) showed.

Imports nothing: parts of the package run on servers with the standard library alone.
"""

__version__ = "0.1.0"
