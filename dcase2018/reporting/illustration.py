"""The picture and the excerpt of a clip: what the processes that make them need, and no more."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.features import Recipe
from dcase2018.reporting.excerpts import write_excerpt
from dcase2018.reporting.pictures import Strip, draw_clip


@dataclass(frozen=True)
class Illustration:
    """A clip to be seen and heard; the target lacks a suffix."""

    number: int
    target: Path
    recipe: Recipe
    frames: np.ndarray
    strip: Strip
    source: Path | None

    def __call__(self) -> tuple[int, dict[str, Any]]:
        """Make the files; return the clip's number and what the report says of them."""
        made: dict[str, Any] = {"picture": None, "excerpt": None, "silent": None}
        if len(self.frames):
            picture = self.target.with_suffix(".webp")
            draw_clip(picture, self.frames, self.recipe, self.strip)
            made["picture"] = f"{picture.parent.name}/{picture.name}"
        if self.source:
            excerpt = self.target.with_suffix(".ogg")
            made["silent"] = write_excerpt(excerpt, self.source, self.recipe) or None
            made["excerpt"] = None if made["silent"] else f"{excerpt.parent.name}/{excerpt.name}"
        return self.number, made
