"""Proves that the router forwards: sends real packets through it and checks every one at its exit.

``run.run_selftest`` runs in the controller, ``agent`` in each tester's namespace. This package imports
nothing, so that an agent starts fast.
"""
