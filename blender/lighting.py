"""The light every avatar stands in: a soft sky and four disk lamps, fixed in the world."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

_SKY = 0.62  # strength of the world's light overhead
_FLOOR = 0.45  # and from below, as a share of it
# watts, azimuth (0 in front, positive to +x) and elevation in degrees, diameter in m
_LAMPS = ((17.0, -38.0, 32.0, 0.55), (7.0, 48.0, 8.0, 0.7), (13.0, 150.0, 38.0, 0.5),
          (8.0, -140.0, 25.0, 0.5))  # fmt: skip
_DISTANCE = 1.5  # m


def build_lights() -> None:
    """Add world and lamps to the scene."""
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    normal = tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"]
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(normal, split.inputs[0])
    ramp = tree.nodes.new("ShaderNodeMapRange")
    for socket, value in zip(ramp.inputs[1:5], (-1.0, 1.0, _SKY * _FLOOR, _SKY), strict=True):
        socket.default_value = value
    tree.links.new(split.outputs["Z"], ramp.inputs[0])
    sky = tree.nodes.new("ShaderNodeBackground")
    tree.links.new(ramp.outputs[0], sky.inputs["Strength"])
    out = tree.nodes.new("ShaderNodeOutputWorld")
    tree.links.new(sky.outputs[0], out.inputs["Surface"])
    bpy.context.scene.world = world
    for index, (watts, azimuth, elevation, size) in enumerate(_LAMPS):
        a, e = np.radians([azimuth, elevation])
        place = _DISTANCE * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
        lamp = bpy.data.lights.new(f"lamp{index}", "AREA")
        lamp.shape, lamp.size, lamp.energy = "DISK", size, watts
        target = bpy.data.objects.new(f"lamp{index}", lamp)
        target.location = place
        target.rotation_euler = Vector(-place).to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(target)
