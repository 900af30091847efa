#!/usr/bin/env python3
"""Makes tests/golden/resize.bin: images and what Pillow's bilinear filter makes of them.

Records of: u8 channels, u16 width, height, new width, new height (little-endian), the pixels, the
resized pixels. Usage: make_resize_golden.py (needs Pillow and NumPy)
"""
import os
import struct

import numpy as np
from PIL import Image

CASES = [(1, 28, 28, 32, 32), (1, 13, 9, 5, 4), (3, 32, 32, 20, 20), (3, 40, 23, 17, 31),
         (3, 7, 5, 21, 15), (1, 50, 3, 2, 3), (3, 64, 48, 64, 24), (1, 1, 1, 4, 4)]

random = np.random.default_rng(1)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden', 'resize.bin')
with open(path, 'wb') as out:
    for channels, width, height, new_width, new_height in CASES:
        shape = (height, width) if channels == 1 else (height, width, channels)
        # half noise, half extremes: rounding and clipping both show
        pixels = random.integers(0, 256, shape).astype(np.uint8)
        pixels[:, : width // 2] = (pixels[:, : width // 2] > 127) * np.uint8(255)
        image = Image.fromarray(pixels)
        resized = np.asarray(image.resize((new_width, new_height), Image.Resampling.BILINEAR))
        out.write(struct.pack('<BHHHH', channels, width, height, new_width, new_height))
        out.write(pixels.tobytes())
        out.write(resized.tobytes())
