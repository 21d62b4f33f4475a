from __future__ import annotations

import sys
from pathlib import Path

# The vectors' reader is shared with record.py, which is a program.
sys.path.insert(0, str(Path(__file__).parent))
