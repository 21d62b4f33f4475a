"""Verification: the plan against the live state of every server, as a testinfra suite.

``checks/`` holds the suite, one subject a file; :mod:`rbops.verify.plugin` parametrises it from what
was rendered; :mod:`rbops.verify.run` runs it in place with pytest over rbops's own SSH.

Settings of devices and of the kernel are what ``rbops-node show`` reads, a check for each row. What a second opinion
can find is read with the tools an operator would use (``ip``, ``bpftool``, ``ping``, ``sha256sum``), not with the
program that made the settings: files, programs, routes, cables, effective affinity, what boots, and packets.
"""
