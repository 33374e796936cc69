"""Pictures of digits as MNIST shows them: light on dark, 28 x 28, the digit within 20 x 20 about its centre of mass."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 28
DIGIT_SIDE = 20


def read_picture(file: str) -> Any:
    """Return the grey values of an image file as (height, width)."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        needs_pillow = 'Reading image files needs pillow. Install it with: pip install "fastnn-cpu[app]"'
        raise ImportError(needs_pillow) from error
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":  # 16 or 32 bits a pixel
                grey = np.asarray(image, "float32")
                return (grey - grey.min()) / max(float(np.ptp(grey)), 1e-6)
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, "white")
            return np.asarray(Image.alpha_composite(ground, image).convert("L"), "float32") / 255
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # pillow raises SyntaxError, struct.error and others for damaged files
        raise ValueError(f"{file} cannot be read as an image ({type(error).__name__}: {error}).") from error


def fit_digit(image: Any, invert: str) -> Any:
    """Return ``image`` (height, width) light on dark and 28 x 28; `fastnn predict --help` tells how."""
    ground = np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]))
    if invert == "yes" or invert == "auto" and ground > 0.5:
        image, ground = 1 - image, 1 - ground
    if image.shape == (SIDE, SIDE):
        return image

    from PIL import Image

    box = Image.Resampling.BOX
    picture = Image.fromarray(np.clip(image - ground, 0, 1).astype("float32"))
    picture.thumbnail((100, 100), box)  # averages the grain of a photograph
    ink = np.asarray(picture)
    picture = Image.fromarray(np.where(ink > 0.4 * ink.max(), ink, 0))  # what is fainter is shadow
    fitted = np.zeros((SIDE, SIDE), "float32")
    if (edges := picture.getbbox()) is None:
        return fitted
    picture = picture.crop(edges)
    size = [max(1, round(DIGIT_SIDE * side / max(picture.size))) for side in picture.size]
    digit = np.asarray(picture.resize(size, box))
    # The centre of mass comes to the middle, as far as the digit stays inside.
    top, left = (
        min(max(round(SIDE / 2 - np.average(np.arange(side) + 0.5, weights=digit.sum(axis))), 0), SIDE - side)
        for axis, side in ((1, digit.shape[0]), (0, digit.shape[1]))
    )
    fitted[top:top + digit.shape[0], left:left + digit.shape[1]] = digit / digit.max()
    return fitted
