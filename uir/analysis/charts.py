"""Charts: confusion matrices, embeddings in two dimensions, radar charts. They need no screen and no pyplot."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uir.analysis.extras import matplotlib_part
from uir.core.files import replacing
from uir.metrics.building import with_unit

_MOST_FILLED = 6
"""Runs of a radar chart whose areas are filled; more would only darken each other."""


def confusion_picture(path: Path, counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Path:
    """Draw a confusion matrix; each cell is a fraction of its true class (row) in percent.

    Args:
        path: the picture to write; its extension determines the format.
        counts: [K, K], rows the true classes, columns the answers.
        classes: K names.
        title: title of the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    shares = np.array(counts, float)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    size = 2.5 + 0.55 * len(classes)
    figure, axes = _figure(size, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="answer, % of the row", ylabel="true degradation", title=title)
    return _save(figure, path)


def scatter_picture(
    path: Path, points: np.ndarray, labels: Sequence[int], classes: Sequence[str], title: str, legend: str = "class"
) -> Path:
    """Draw points in two dimensions, coloured by class; classes that differ by a number get a colour scale.

    Args:
        path: the picture to write.
        points: [N, 2].
        labels: class index of each point.
        classes: the class names.
        title: title of the picture.
        legend: what the classes are, above their names.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, axes = _figure(6.4, 5.2)
    side = float(np.clip(900 / max(len(points), 1), 18, 60))  # few points are large, many still lie side by side
    for index, (name, colour) in enumerate(zip(classes, _colours(classes), strict=True)):
        own = points[np.array(labels) == index]
        axes.scatter(own[:, 0], own[:, 1], s=side, color=colour, label=name, linewidths=0.5, edgecolors="white")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize="medium")
    box = axes.legend(title=legend, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, alignment="left")
    for handle in box.legend_handles:
        handle.set_sizes([60])
    return _save(figure, path)


def radar_picture(path: Path, runs: Mapping[str, Sequence[float]], axes_names: Sequence[str], metric: str) -> Path:
    """Draw a radar chart. All axes share one scale, which starts below the smallest value. Values not finite are gaps.

    Args:
        path: the picture to write.
        runs: a value for each axis, by the run's name.
        axes_names: names of the axes, at least three.
        metric: what the values are; its unit follows from the name.

    Raises:
        ImportError: matplotlib is not installed.
    """
    values = np.array(list(runs.values()), float)
    values[~np.isfinite(values)] = np.nan
    low, high = (0.0, 1.0) if np.isnan(values).all() else (float(np.nanmin(values)), float(np.nanmax(values)))
    margin = max(0.15 * (high - low), 1e-3 * abs(high), 1e-6)
    low, high = low - margin, high + margin
    angles = [2 * math.pi * index / len(axes_names) for index in range(len(axes_names))]
    figure, axes = _figure(6.4, 5.6, projection="polar")
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    for name, own, colour in zip(runs, values, _colours(list(runs)), strict=True):
        closed = [*own, own[0]]
        axes.plot([*angles, angles[0]], closed, color=colour, label=name, linewidth=1.6, marker="o", markersize=4)
        if len(runs) <= _MOST_FILLED:
            axes.fill(angles, own, color=colour, alpha=0.08)
    axes.set_ylim(low, high)
    axes.set_xticks(angles, [])
    for angle, name in zip(angles, axes_names, strict=True):
        across, up = math.sin(angle), math.cos(angle)  # a label lies outside the rim, on the side where its axis ends
        axes.annotate(
            name, (angle, high), (10 * across, 10 * up), textcoords="offset points", annotation_clip=False,
            ha="center" if abs(across) < 0.3 else "left" if across > 0 else "right",
            va="center" if abs(up) < 0.3 else "bottom" if up > 0 else "top",
        )  # fmt: skip
    axes.tick_params(axis="y", labelsize=7)
    axes.set_rlabel_position(180 / len(axes_names))  # between the first two axes
    digits = 1 if high - low > 1 else 3
    scale = f"centre {low:.{digits}f}, rim {high:.{digits}f}"
    axes.set_title(f"{with_unit(metric)}\n{scale}", pad=30, fontsize="medium")
    axes.legend(loc="upper left", bbox_to_anchor=(1.15, 1.1), frameon=False)
    return _save(figure, path)


def _figure(width: float, height: float, projection: str | None = None) -> tuple[Any, Any]:
    figure = matplotlib_part("figure").Figure(figsize=(width, height))
    return figure, figure.add_subplot(projection=projection)


def _save(figure: Any, path: Path) -> Path:
    with replacing(path, flush=False) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")
    return path


def _colours(names: Sequence[str]) -> list[Any]:
    """A colour for each name: from a scale if the names differ only by a number, else as different as possible."""
    maps = matplotlib_part("cm")
    stems = {re.sub(r"\d+(\.\d+)?", "", name) for name in names}
    if len(names) > 2 and len(stems) == 1:
        return [maps.viridis(value) for value in np.linspace(0, 0.9, len(names))]
    few = maps.tab10 if len(names) <= 10 else maps.tab20
    return [few(index % few.N) for index in range(len(names))]
