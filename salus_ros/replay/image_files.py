"""JPEG and PNG images, by Pillow where it is installed."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

NO_PILLOW = "compressed images need Pillow: pip install pillow"


def decoded_image(data: bytes) -> NDArray[np.uint8]:
    """Image [height, width, 3] RGB of a file's content. Raises ValueError, one line."""
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - optional
    except ModuleNotFoundError:
        raise ValueError(NO_PILLOW) from None
    try:
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"a compressed image of {len(data)} bytes: {error}") from None
