"""NICs: what each driver has, and the settings of a port's device.

``drivers`` and ``settings`` use the standard library alone and are part of rbops-node; the rest is the controller's.
"""
