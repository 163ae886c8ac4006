"""Shader graphs in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy


class Graph:
    """The node tree of a new material: `call` adds nodes, values or sockets are their inputs."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def call(self, kind: str, inputs: Mapping[Any, Any] | None = None, **settings: Any) -> Any:
        """Add a node; inputs by socket name or number; settings are the node's own properties."""
        node = self.tree.nodes.new(kind)
        for name, setting in settings.items():
            setattr(node, name, setting)
        for key, value in (inputs or {}).items():
            socket = node.inputs[key]
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, socket)
            else:
                socket.default_value = value
        return node

    def attribute(self, name: str, kind: str = "Vector") -> Any:
        """A point attribute's output: 'Vector', 'Color' or 'Fac'."""
        return self.call("ShaderNodeAttribute", attribute_name=name).outputs[kind]

    def math(self, operation: str, *values: Any) -> Any:
        """Arithmetic on numbers."""
        return self.call("ShaderNodeMath", dict(enumerate(values)), operation=operation).outputs[0]

    def noise(self, vector: Any, scale: float, detail: float = 2.0) -> Any:
        """Perlin noise about 0.5 over `vector`."""
        inputs = {"Vector": vector, "Scale": scale, "Detail": detail}
        return self.call("ShaderNodeTexNoise", inputs).outputs["Fac"]

    def remap(self, value: Any, low: float, high: float, to_low: float, to_high: float) -> Any:
        """Linear map from [low, high] to [to_low, to_high], clamped."""
        inputs = dict(enumerate((value, low, high, to_low, to_high)))
        return self.call("ShaderNodeMapRange", inputs).outputs[0]

    def mix(self, weight: Any, a: Any, b: Any, blend: str = "MIX") -> Any:
        """Blend of two colours."""
        node = self.call(
            "ShaderNodeMix", {0: weight, 6: a, 7: b}, data_type="RGBA", blend_type=blend
        )
        return node.outputs[2]

    def surface(self, shader: Any) -> bpy.types.Material:
        """Connect the surface and hand the material over."""
        self.call("ShaderNodeOutputMaterial", {"Surface": shader})
        return self.material
