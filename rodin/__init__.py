"""Rodin: tri-plane avatars, their fitting, and the diffusion models that generate them.

This module imports nothing: `rodin.conventions` (numpy only) stays light for other packages.
"""

__version__ = "0.1.0"
