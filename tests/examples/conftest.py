"""The demo's modules import each other as a folder that is run does; so do its tests."""

from __future__ import annotations

import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"

if str(DEMO) not in sys.path:
    sys.path.append(str(DEMO))
