"""The one program on a server: makes the kernel's state equal to ``/etc/rbops/node.json``.

Standard library only: the package travels to servers as a zip archive beside the data plane's
loader. One noun a module; each reads facts, computes the difference purely, and hands the engine
the exact commands and writes that remove it. The order is the kernel's: channels reset everything
behind them, and veth refuses to change them once a program is attached.
"""
