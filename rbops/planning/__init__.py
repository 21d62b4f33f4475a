"""The planner's stages, each a module that takes the spec and what earlier stages returned, and returns frozen values.

machines -> demand -> topology -> servers -> prediction -> checks -> plan; ``rbops.planner`` composes them.
"""
