"""t-SNE: features in two dimensions; neighbours stay neighbours (van der Maaten & Hinton, JMLR 2008)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from uir.analysis.charts import scatter_picture
from uir.analysis.extras import sklearn_part
from uir.analysis.patches import DegradedPatches
from uir.core.files import write_text


@dataclass(frozen=True)
class Embedding:
    """Features in two dimensions.

    Attributes:
        points: [N, 2].
        divergence: the final Kullback-Leibler divergence: how much the picture changes who is whose neighbour; 0 is
            nothing.
    """

    points: np.ndarray
    divergence: float


def embed(features: Tensor, *, perplexity: float = 30.0, iterations: int = 2000, seed: int = 0) -> Embedding:
    """Embed features in two dimensions like DCPT's published script: each is scaled to unit length, then t-SNE.

    Args:
        features: [N, D].
        perplexity: roughly the number of neighbours that count; lowered to (N - 1) / 3 for few samples.
        iterations: steps of the optimisation; published 2000.
        seed: seed of the optimisation.

    Raises:
        ValueError: fewer than four samples, or `iterations` below 250.
        ImportError: scikit-learn is not installed.
    """
    if len(features) < 4 or iterations < 250:
        raise ValueError(f"t-SNE: expected at least 4 samples and 250 iterations, got {len(features)} and {iterations}")
    method = sklearn_part("manifold").TSNE
    steps = "max_iter" if "max_iter" in inspect.signature(method).parameters else "n_iter"  # renamed in 1.5
    model = method(
        n_components=2,
        perplexity=min(perplexity, (len(features) - 1) / 3),
        init="pca",
        random_state=seed,
        **{steps: iterations},
    )
    points = model.fit_transform(F.normalize(features.float(), dim=1).numpy())
    return Embedding(points, float(model.kl_divergence_))


def write_embeddings(
    folder: Path,
    features: Mapping[str, Tensor],
    patches: DegradedPatches,
    levels: Sequence[str],
    settings: Mapping[str, Any],
    tag: str = "",
    **options: Any,
) -> list[Path]:
    """Embed some levels; write `tsne_<level><tag>.png` for each, and `tsne<tag>.json` with the coordinates.

    Args:
        folder: the folder to write to.
        features: [N, D] by level, in the order of `patches`.
        patches: the patches of the features.
        levels: the levels to draw.
        settings: settings to store beside the coordinates.
        tag: end of the file names.
        options: arguments of `embed`.

    Raises:
        ValueError: there is no such level.
    """
    unknown = [level for level in levels if level not in features]
    if unknown:
        raise ValueError(f"levels: there is no {', '.join(unknown)}; the levels are {', '.join(features)}")
    files, embeddings = [], {}
    for level in levels:
        embedding = embed(features[level], **options)
        title = (
            f"t-SNE of the features of {level}\neach dot is one of {len(patches.labels)} patches; patches with similar "
            "features lie together"
        )
        file = folder / f"tsne_{level.replace('/', '_')}{tag}.png"
        files.append(scatter_picture(file, embedding.points, patches.labels, patches.classes, title, "degradation"))
        embeddings[level] = {"kl_divergence": embedding.divergence, "points": embedding.points.tolist()}
    rows = [
        {"photograph": patches.photographs[photo], "label": patches.classes[label]}
        for photo, label in zip(patches.groups, patches.labels, strict=True)
    ]
    file = folder / f"tsne{tag}.json"
    write_text(file, json.dumps({**settings, **options, "patches": rows, "levels": embeddings}) + "\n")
    return [*files, file]
