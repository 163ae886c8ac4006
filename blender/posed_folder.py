"""An avatar's views as a folder that other tools read: transforms.json, images, depth.

The format of nerfstudio and instant-ngp: OpenGL camera-to-world (x right, y up, z back) in the
avatar frame, whose unit is the box's half edge; intrinsics a frame. `scale` and `offset` are
instant-ngp's: they map the box [-1, 1]^3 to its cube [0, 1]^3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blender.cameras import Cameras
from blender.render import Rendered

DEPTH_UNIT = 1e-3  # box units a level of a 16-bit depth image: nerfstudio's default factor


def write_folder(folder: Path, rendered: Rendered, cameras: Cameras, facts: dict[str, Any]) -> Path:
    """Write images/NNNN.png (straight alpha), depth/NNNN.png where rendered, and last
    transforms.json, which holds `facts` (plain JSON) too; returns its path."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    if rendered.depth is not None:
        (folder / "depth").mkdir(exist_ok=True)
    frames = []
    for index, image in enumerate(rendered.rgba):
        frame: dict[str, Any] = {"file_path": f"images/{index:04d}.png"}
        Image.fromarray(image).save(folder / frame["file_path"])
        if rendered.depth is not None:
            frame["depth_file_path"] = f"depth/{index:04d}.png"
            levels = np.rint(rendered.depth[index] / DEPTH_UNIT)
            Image.fromarray(levels.clip(0, 65535).astype(np.uint16)).save(
                folder / frame["depth_file_path"]
            )
        lens = cameras.intrinsics[index]
        frame |= {"fl_x": lens[0, 0], "fl_y": lens[1, 1], "cx": lens[0, 2], "cy": lens[1, 2]}
        frame["transform_matrix"] = (
            cameras.camera_to_world[index] * (1.0, -1.0, -1.0, 1.0)
        ).tolist()
        frames.append(frame)
    content = {
        "camera_model": "OPENCV",
        "w": cameras.width,
        "h": cameras.height,
        "aabb_scale": 1,
        "scale": 0.5,
        "offset": [0.5, 0.5, 0.5],
        "depth_unit_scale_factor": DEPTH_UNIT,
        **facts,
        "frames": frames,
    }
    path = folder / "transforms.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
