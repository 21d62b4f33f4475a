"""Cores, queues and steering, and the checker of paper 4.2's two rules."""
