"""t-SNE, radar charts and what they read."""

import json

import numpy as np
import pytest
import torch

from uir.analysis.charts import radar_picture, scatter_picture
from uir.analysis.extras import matplotlib_part, sklearn_part
from uir.analysis.patches import DegradedPatches
from uir.analysis.results_files import names_of, read_results, shared_values
from uir.analysis.tsne import embed, write_embeddings
from uir.core.images import read_rgb

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
PATCHES = DegradedPatches(torch.zeros(24, 3, 1, 1), ("x", "y"), tuple(f"{i}.png" for i in range(12)))
GENERATOR = torch.Generator().manual_seed(0)
CLUSTERS = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(12, 1) + 0.02 * torch.randn(24, 3, generator=GENERATOR)


@pytest.mark.thorough
def test_tsne_keeps_clusters_apart_and_is_seeded():
    found = embed(CLUSTERS, iterations=300)
    assert found.points.shape == (24, 2)
    distances = torch.cdist(*2 * [torch.from_numpy(found.points)]).fill_diagonal_(torch.inf)
    assert (distances.argmin(1) % 2 == torch.arange(24) % 2).all()  # each one's neighbour is of its own cluster
    assert np.array_equal(found.points, embed(CLUSTERS, iterations=300).points)


@pytest.mark.thorough
def test_tsne_sees_directions_only():
    assert np.allclose(embed(CLUSTERS, iterations=250).points, embed(4 * CLUSTERS, iterations=250).points)


@pytest.mark.thorough
def test_embeddings_are_written_with_their_coordinates(tmp_path):
    written = write_embeddings(tmp_path, {"deep": CLUSTERS}, PATCHES, ["deep"], {"seed": 1}, iterations=250)
    assert [file.name for file in written] == ["tsne_deep.png", "tsne.json"]
    content = json.loads(written[1].read_text())
    assert content["patches"][1] == {"photograph": "0.png", "label": "y"}
    assert len(content["levels"]["deep"]["points"]) == 24
    assert read_rgb(written[0]).ndim == 3
    with pytest.raises(ValueError, match="there is no flat; the levels are deep"):
        write_embeddings(tmp_path, {"deep": CLUSTERS}, PATCHES, ["flat"], {})


def test_embeddings_of_an_iteration_have_it_in_their_names(tmp_path):
    written = write_embeddings(tmp_path, {"deep": CLUSTERS}, PATCHES, ["deep"], {}, "_7", iterations=250)
    assert [file.name for file in written] == ["tsne_deep_7.png", "tsne_7.json"]


def test_too_few_samples_are_told():
    with pytest.raises(ValueError, match="at least 4 samples"):
        embed(CLUSTERS[:3])


@pytest.mark.thorough
def test_classes_that_differ_by_a_number_get_a_scale_of_colours(tmp_path):
    points = np.array([[0.0, 0], [1, 1], [2, 0]])
    scale = scatter_picture(tmp_path / "scale.png", points, [0, 1, 2], ["width_0.2", "width_1.8", "width_3.6"], "")
    plain = scatter_picture(tmp_path / "plain.png", points, [0, 1, 2], ["rain", "haze", "blur"], "")
    colours = [{tuple(c) for c in np.unique(read_rgb(f).reshape(-1, 3), axis=0)} for f in (scale, plain)]
    viridis = matplotlib_part("cm").viridis(0.0)[:3]
    assert [any(np.allclose(c, viridis, atol=0.01) for c in found) for found in colours] == [True, False]


def results(psnr, ssim=None):
    rows = [{"psnr": value} | ({} if ssim is None else {"ssim": ssim}) for value in psnr]
    return [{"dataset": f"d{i}", "images": 2, "results": row, "inputs": {}} for i, row in enumerate(rows)]


def test_results_are_read_in_both_forms(tmp_path):
    plain, whole = tmp_path / "printed.json", tmp_path / "run" / "metrics.json"
    plain.write_text(json.dumps(results([30, 31])))
    whole.parent.mkdir()
    whole.write_text(json.dumps({"metrics": {}, "datasets": results([30, 31])}))
    assert read_results(plain) == read_results(whole) == {"d0": {"psnr": 30.0}, "d1": {"psnr": 31.0}}
    assert names_of([plain, whole, whole]) == ["printed", "run", "run (2)"]
    plain.write_text('{"loss": 1}')
    with pytest.raises(ValueError, match="expected the results of a test"):
        read_results(plain)
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        read_results(tmp_path / "none.json")


def test_runs_are_compared_on_what_they_share():
    one = {"d0": {"psnr": 1.0, "ssim": 0.1}, "d1": {"psnr": 2.0}, "d2": {"psnr": 3.0}, "d3": {"psnr": 4.0}}
    other = {"d3": {"psnr": 7.0}, "d1": {"psnr": 6.0}, "d0": {"psnr": 5.0}}
    found = shared_values({"a": one, "b": other})
    assert found == ("psnr", ["d0", "d1", "d3"], {"a": [1.0, 2.0, 4.0], "b": [5.0, 6.0, 7.0]})
    with pytest.raises(ValueError, match=r"not every run has the metric ssim .* all have psnr"):
        shared_values({"a": one, "b": other}, "ssim")
    with pytest.raises(ValueError, match=r"at least 3 datasets .* got d0"):
        shared_values({"a": one, "b": {"d0": {"psnr": 1.0}}})


def test_a_radar_chart_is_drawn_without_a_screen(tmp_path):
    file = radar_picture(tmp_path / "radar.png", {"a": [30, 31, 32], "b": [30, 30, 30]}, ["x", "y", "z"], "psnr")
    assert read_rgb(file).min() < 0.5


@pytest.fixture
def saved_figures(monkeypatch):
    figures = []
    monkeypatch.setattr("uir.analysis.charts._save", lambda figure, path: figures.append(figure))
    return figures


def test_a_radar_chart_says_its_unit_and_the_values_at_its_centre_and_rim(tmp_path, saved_figures):
    radar_picture(tmp_path / "radar.png", {"a": [20, 30, 40]}, ["x", "y", "z"], "psnr_y")
    (axes,) = saved_figures[0].axes
    assert axes.get_title() == "psnr_y in dB\ncentre 17.0, rim 43.0"
    assert axes.get_ylim() == (17, 43)


def test_the_labels_of_a_radar_chart_lie_outside_its_rim(tmp_path, saved_figures):
    radar_picture(tmp_path / "radar.png", {"a": [20, 30, 40, 35]}, ["north", "east", "south", "west"], "ssim")
    (axes,) = saved_figures[0].axes
    saved_figures[0].canvas.draw()
    rim, centre = axes.get_window_extent(), axes.transData.transform((0, axes.get_ylim()[0]))
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert boxes["north"].y0 > rim.y1
    assert boxes["east"].x0 > rim.x1
    assert boxes["south"].y1 < rim.y0
    assert boxes["west"].x1 < rim.x0
    assert abs(boxes["east"].y0 + boxes["east"].height / 2 - centre[1]) < boxes["east"].height


def test_the_dots_of_an_embedding_are_large_and_explained(tmp_path, saved_figures):
    scatter_picture(tmp_path / "dots.png", np.zeros((10, 2)), [0, 1] * 5, ["rain", "haze"], "title", "degradation")
    (axes,) = saved_figures[0].axes
    assert min(size for dots in axes.collections for size in dots.get_sizes()) >= 30
    assert axes.get_legend().get_title().get_text() == "degradation"


def test_a_radar_chart_leaves_a_gap_where_a_value_is_not_finite(tmp_path):
    runs = {"a": [30, float("inf"), float("nan"), 31], "b": [float("nan")] * 4}
    assert read_rgb(radar_picture(tmp_path / "radar.png", runs, ["w", "x", "y", "z"], "psnr")).min() < 0.5


@pytest.mark.parametrize(("part", "name"), [(sklearn_part, "scikit-learn"), (matplotlib_part, "matplotlib")])
def test_a_missing_package_names_the_extra(part, name, monkeypatch):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr("uir.analysis.extras.import_module", missing)
    with pytest.raises(ImportError, match=rf"needs {name}: pip install 'uir\[analysis\]'"):
        part("anything")
