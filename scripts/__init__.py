"""What developers run: set-up (shell) and generators (Python)."""
