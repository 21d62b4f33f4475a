"""What controller and servers share: formats, limits and versions.

Standard library only, and nothing of rbops: rbops-node carries this package (``rbops/render/program.py``).
"""
