"""The data planes: one plan, rendered for XDP or for Click."""
