"""Verification: the plan against the live state of every server, as a testinfra suite.

``checks/`` holds the suite, one subject a file; :mod:`rbops.verify.plugin` parametrises it from what
was rendered; :mod:`rbops.verify.run` runs it in place with pytest over rbops's own SSH. The checks
read the kernel with the tools a person would use (``ip``, ``ethtool``'s sysfs, ``bpftool``), not
with the program that made the settings.
"""
