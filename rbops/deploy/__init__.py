"""Pushing a plan to servers: inventory, SSH, ansible-runner, and the transaction around them."""
