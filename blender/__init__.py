"""The avatar factory: a seed in, renders of a person with exact cameras and depth out (Blender).

This folder is GPL-3.0-or-later, because it imports `bpy`; see blender/LICENSE.
"""

from __future__ import annotations


class BuildError(ValueError):
    """An avatar that cannot be built or drawn; the message names the seed, the part and the fix."""
