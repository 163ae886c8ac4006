"""Light in the scene; all of it stands still in the world."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from blender.light_rigs import Light, rig_of

_DISTANCE = 1.5  # m


def build_lights(light: Light = "even", seed: int = 0) -> None:
    """Add the world and the lamps of a rig to the scene; `seed` matters to 'varied' alone."""
    rig = rig_of(light, seed)
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    normal = tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"]
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(normal, split.inputs[0])
    ramp = tree.nodes.new("ShaderNodeMapRange")
    limits = (-1.0, 1.0, rig.sky * rig.floor, rig.sky)
    for socket, value in zip(ramp.inputs[1:5], limits, strict=True):
        socket.default_value = value
    tree.links.new(split.outputs["Z"], ramp.inputs[0])
    sky = tree.nodes.new("ShaderNodeBackground")
    sky.inputs["Color"].default_value = (*rig.rgb, 1.0)
    tree.links.new(ramp.outputs[0], sky.inputs["Strength"])
    out = tree.nodes.new("ShaderNodeOutputWorld")
    tree.links.new(sky.outputs[0], out.inputs["Surface"])
    bpy.context.scene.world = world
    for index, given in enumerate(rig.lamps):
        a, e = np.radians([given.azimuth, given.elevation])
        place = _DISTANCE * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
        lamp = bpy.data.lights.new(f"lamp{index}", "AREA")
        lamp.shape, lamp.size, lamp.energy, lamp.color = "DISK", given.size, given.watts, given.rgb
        target = bpy.data.objects.new(f"lamp{index}", lamp)
        target.location = place
        target.rotation_euler = Vector(-place).to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(target)
