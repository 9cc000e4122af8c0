from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uir.archs.airnet_arch import DGRN
from uir.archs.dasr_arch import DASR
from uir.cli import main, run
from uir.core.checkpoint import CheckpointError, write_checkpoint
from uir.encoders.airnet_encoder import CBDE
from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.inference.code_predictor import global_code, mean_code, takes_map
from uir.inference.restorer import Restorer
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

ENCODER = {"type": "ConvBN6Encoder", "widths": [4, 6, 8]}
DASR_X2 = {"type": "DASR", "scale": 2, "n_groups": 1, "n_blocks": 1, "n_feats": 8, "reduction": 2, "code_channels": 8}


def made(spec: dict[str, Any], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net: nn.Module = build(ARCH_REGISTRY, spec)
    return net.eval()


def strong(net: nn.Module) -> nn.Module:
    """The same backbone listening closely to its code, so that tests see which one it got."""
    with torch.no_grad():
        net.get_submodule("compress.0").weight.mul_(50)  # type: ignore[operator, union-attr]
    return net


def photo(seed: int = 0, height: int = 61, width: int = 75) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def dark(seed: int = 1) -> np.ndarray:
    return (photo(seed) // 8).astype(np.uint8)


@pytest.fixture(scope="module")
def dasr() -> tuple[nn.Module, nn.Module]:
    return strong(made(DASR_X2)), made(ENCODER, 1)


@pytest.fixture
def run_folder(tmp_path: Path, dasr: tuple[nn.Module, nn.Module]) -> Path:
    """Networks as a training run leaves them."""
    for role, net, spec in (("g", dasr[0], DASR_X2), ("e", dasr[1], ENCODER)):
        write_checkpoint(tmp_path / f"net_{role}_latest.pth", {"params": net.state_dict()}, {"arch": spec, "scale": 2})
    return tmp_path


def test_tiled_equals_whole_with_one_code(dasr: tuple[nn.Module, nn.Module]) -> None:
    image = torch.rand(1, 3, 120, 110, generator=torch.Generator().manual_seed(0))
    image[..., 35:] *= 0.1  # a half that has a code of its own
    whole = Restorer(dasr[0], 2, encoder=dasr[1]).restore_tensor(image)
    tiled = Restorer(dasr[0], 2, encoder=dasr[1], tile=72, overlap=36).restore_tensor(image)
    # its convolutions reach 8.5 pixels, and a quarter of the overlap is 9
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_a_code_for_each_tile_would_differ(dasr: tuple[nn.Module, nn.Module]) -> None:
    image = torch.rand(1, 3, 90, 70, generator=torch.Generator().manual_seed(0))
    image[..., 35:] *= 0.1
    restorer = Restorer(dasr[0], 2, encoder=dasr[1])
    whole = restorer.restore_tensor(image)
    assert (restorer.restore_tensor(image[..., :48])[..., :60] - whole[..., :60]).abs().max() > 1e-3


def test_the_code_of_an_image_is_the_encoders(dasr: tuple[nn.Module, nn.Module]) -> None:
    image = photo()
    code = Restorer(dasr[0], 2, encoder=dasr[1], tile=16).code_of(image)
    with torch.no_grad():
        expected = dasr[1](torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(code.vector, expected.vector)


def test_a_large_image_has_the_mean_code_of_its_squares() -> None:
    class Colour(nn.Module):
        def forward(self, image: Tensor) -> DegradationCode:
            assert max(image.shape[-2:]) <= 8
            return DegradationCode(vector=image.mean((2, 3)), map=image, mask=torch.ones(1, 2, dtype=torch.bool))

    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    code = global_code(Colour(), lambda rows, columns: image[..., rows, columns], (16, 24), torch.device("cpu"), side=8)
    assert code.vector is not None
    assert code.map is not None
    assert code.mask is not None
    torch.testing.assert_close(code.vector, image.mean((2, 3)))
    torch.testing.assert_close(code.map, image.mean((2, 3), keepdim=True))
    assert code.mask.dtype == torch.bool


def test_an_image_of_1024_pixels_a_side_is_seen_whole() -> None:
    class Sizes(nn.Module):
        def forward(self, image: Tensor) -> DegradationCode:
            sizes.append(image.shape[-2])
            return DegradationCode(vector=image.mean((2, 3)))

    for height, expected in ((1024, [1024]), (1025, [1024, 1024])):
        sizes: list[int] = []
        image = torch.zeros(1, 3, height, 8)
        read = partial(_part_of, image)
        global_code(Sizes(), read, (height, 8), torch.device("cpu"))
        assert sizes == expected


def _part_of(image: Tensor, rows: slice, columns: slice) -> Tensor:
    return image[..., rows, columns]


def test_the_mean_of_one_code_is_that_code() -> None:
    code = DegradationCode(vector=torch.rand(1, 3))
    assert mean_code([code]) is code


def test_the_code_of_another_image(dasr: tuple[nn.Module, nn.Module]) -> None:
    restorer = Restorer(dasr[0], 2, encoder=dasr[1])
    own, other = restorer(photo()), restorer(photo(), restorer.code_of(dark()))
    assert not np.array_equal(own, other)
    assert np.array_equal(restorer(photo(), restorer.code_of(photo())), own)
    lq = torch.from_numpy(photo()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        code = dasr[1](torch.from_numpy(dark()).permute(2, 0, 1)[None] / 255)
        expected = dasr[0](lq, code).clamp(0, 1)
    torch.testing.assert_close(restorer.restore_tensor(lq, code), expected)
    pair = restorer.restore_tensor(lq.expand(2, -1, -1, -1), code)  # one code for a batch
    torch.testing.assert_close(pair[1:], expected, atol=1e-5, rtol=0)


def test_a_map_goes_with_the_pixels_of_a_tile() -> None:
    spec = {"type": "DGRN", "n_groups": 1, "n_blocks": 1, "n_feats": 4, "map_channels": 4}
    net, encoder = made(spec), made({"type": "CBDE", "widths": [4, 6, 8]}, 1)
    assert isinstance(net, DGRN)
    assert isinstance(encoder, CBDE)
    image = torch.rand(1, 3, 60, 52, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net(image, encoder(image)).clamp(0, 1)
    whole = Restorer(net, encoder=encoder).restore_tensor(image)
    torch.testing.assert_close(whole, expected)
    tiled = Restorer(net, encoder=encoder, tile=48, overlap=24).restore_tensor(image)
    torch.testing.assert_close(tiled, whole, atol=1e-2, rtol=0)  # deformable offsets may reach beyond any overlap
    restorer = Restorer(net, encoder=encoder)
    small = torch.rand(1, 3, 60, 52, generator=torch.Generator().manual_seed(1)) / 8
    with torch.no_grad():
        code = encoder(small)
        given = net(image, code).clamp(0, 1)
    torch.testing.assert_close(restorer.restore_tensor(image, code), given)  # the given map, not the image's own
    assert not torch.equal(given, expected)


def test_the_encoder_beside_the_backbone_is_found(run_folder: Path, dasr: tuple[nn.Module, nn.Module]) -> None:
    restorer = Restorer.from_pretrained(run_folder / "net_g_latest.pth", tile=32, device="cpu")
    assert isinstance(restorer.network, DASR)
    assert isinstance(restorer.encoder, ConvBN6Encoder)
    assert (restorer.scale, restorer.tile) == (2, 32)
    assert np.array_equal(restorer(photo()), Restorer(dasr[0], 2, encoder=dasr[1], tile=32)(photo()))


def test_what_was_trained_on_zeros_is_restored_by_zeros(run_folder: Path, dasr: tuple[nn.Module, nn.Module]) -> None:
    card = {"arch": DASR_X2, "scale": 2, "code": "zero"}
    write_checkpoint(run_folder / "net_g_latest.pth", {"params": dasr[0].state_dict()}, card)
    restorer = Restorer.from_pretrained(run_folder / "net_g_latest.pth", device="cpu")
    own = Restorer(dasr[0], 2, encoder=dasr[1])
    assert np.array_equal(restorer(photo()), own(photo(), own.code_of(photo()).zeros_like()))
    assert not np.array_equal(restorer(photo()), own(photo()))


def test_what_was_trained_on_codes_of_others_is_refused(run_folder: Path, dasr: tuple[nn.Module, nn.Module]) -> None:
    card = {"arch": DASR_X2, "scale": 2, "code": "shuffled"}
    write_checkpoint(run_folder / "net_g_latest.pth", {"params": dasr[0].state_dict()}, card)
    with pytest.raises(CheckpointError, match=r"trained with `code: shuffled`.* `uir test`"):
        Restorer.from_pretrained(run_folder / "net_g_latest.pth", device="cpu")


class Tinted(nn.Module):
    """A backbone of one's own, which does not say how wide its code is."""

    def __init__(self) -> None:
        super().__init__()
        self.tint = nn.Linear(8, 3)

    def forward(self, lq: Tensor, code: DegradationCode) -> Tensor:
        return lq + self.tint(code.vector)[:, :, None, None]


def test_a_backbone_that_says_no_width_is_steered_too(dasr: tuple[nn.Module, nn.Module]) -> None:
    backbone = Tinted()
    with pytest.raises(ValueError, match="Tinted restores by a degradation code; give the encoder"):
        Restorer(backbone)
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = backbone(image, dasr[1](image)).clamp(0, 1)
    torch.testing.assert_close(Restorer(backbone, encoder=dasr[1]).restore_tensor(image), expected)


def test_a_baseline_needs_no_encoder() -> None:
    assert np.array_equal(Restorer(made({"type": "Identity"}))(photo()), photo())


def test_an_encoder_of_another_name_is_given(run_folder: Path) -> None:
    elsewhere = run_folder / "encoder.pth"
    (run_folder / "net_e_latest.pth").rename(elsewhere)
    with pytest.raises(CheckpointError, match=r"--encoder.*net_e_latest\.pth"):
        Restorer.from_pretrained(run_folder / "net_g_latest.pth")
    assert Restorer.from_pretrained(run_folder / "net_g_latest.pth", encoder=elsewhere).encoder is not None


def test_the_option_file_names_networks_and_the_encoders_weights(
    run_folder: Path, dasr: tuple[nn.Module, nn.Module]
) -> None:
    for role, net in zip("ge", dasr, strict=True):
        torch.save({"params": net.state_dict()}, run_folder / f"plain_{role}.pth")
    options = run_folder / "options"
    options.mkdir()
    file = options / "test.yml"
    file.write_text(
        f"scale: 2\nnetwork_g: {DASR_X2}\nnetwork_e: {ENCODER}\npath: {{pretrain_network_e: plain_e.pth}}\n"
    )
    restorer = Restorer.from_pretrained(run_folder / "plain_g.pth", opt=file)
    assert np.array_equal(restorer(photo()), Restorer(dasr[0], 2, encoder=dasr[1])(photo()))


def test_an_option_file_need_not_say_the_width_of_the_code(run_folder: Path) -> None:
    """As in training, it is that of the encoder beside it."""
    unsized = {key: value for key, value in DASR_X2.items() if key != "code_channels"}
    file = run_folder / "dasr.yml"
    file.write_text(f"scale: 2\nnetwork_g: {unsized}\nnetwork_e: {ENCODER}\n")
    restorer = Restorer.from_pretrained(run_folder / "net_g_latest.pth", opt=file)
    assert restorer.network.code_channels == 8


def test_a_published_file_holds_both_networks(run_folder: Path, dasr: tuple[nn.Module, nn.Module]) -> None:
    both = {f"G.{key}": value for key, value in dasr[0].state_dict().items()}
    both |= {f"E.encoder_q.{key}": value for key, value in dasr[1].state_dict().items()}
    torch.save(both, run_folder / "model_600.pt")
    file = run_folder / "dasr.yml"
    file.write_text(f"scale: 2\nnetwork_g: {DASR_X2}\nnetwork_e: {ENCODER}\n")
    restorer = Restorer.from_pretrained(run_folder / "model_600.pt", opt=file)
    assert np.array_equal(restorer(photo()), Restorer(dasr[0], 2, encoder=dasr[1])(photo()))


def test_a_backbone_without_its_encoder_is_refused(dasr: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(ValueError, match="give the encoder"):
        Restorer(dasr[0], 2)


def test_a_network_that_takes_no_code_refuses_one() -> None:
    restorer = Restorer(nn.Identity())
    with pytest.raises(ValueError, match="Identity takes no degradation code"):
        restorer.code_of(photo())
    with pytest.raises(ValueError, match="Identity takes no degradation code"):
        restorer(photo(), DegradationCode(vector=torch.zeros(1, 8)))


@pytest.mark.parametrize(
    ("declared", "takes"),
    [
        ({}, True),
        ({"code_channels": 4}, False),
        ({"map_channels": 4}, True),
        ({"code_channels": 4, "map_channels": 4}, True),
        ({"map_channels": 4, "condition": "vector"}, False),
        ({"condition": "vector"}, False),
    ],
)
def test_which_networks_use_a_value_for_every_position(declared: dict[str, Any], takes: bool) -> None:
    network = nn.Identity()
    for name, value in declared.items():
        setattr(network, name, value)
    assert takes_map(network) is takes


def test_an_encoder_that_is_not_needed_is_refused(tmp_path: Path) -> None:
    spec = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
    write_checkpoint(tmp_path / "net_g_1.pth", {"params": made(spec).state_dict()}, {"arch": spec, "scale": 1})
    with pytest.raises(CheckpointError, match="NAFNet takes no degradation code"):
        Restorer.from_pretrained(tmp_path / "net_g_1.pth", encoder=tmp_path / "net_g_1.pth")


@pytest.mark.thorough
def test_the_command_restores_in_tiles_by_the_code_of_another_image(
    run_folder: Path, dasr: tuple[nn.Module, nn.Module]
) -> None:
    cv2.imwrite(str(run_folder / "photo.png"), photo()[:, :, ::-1])
    cv2.imwrite(str(run_folder / "other.png"), dark()[:, :, ::-1])
    common = ["restore", str(run_folder / "photo.png"), "--model", str(run_folder / "net_g_latest.pth"), "--tile", "32"]
    run([*common, "-o", str(run_folder / "own")])
    run([*common, "-o", str(run_folder / "coded"), "--code_from", str(run_folder / "other.png"), "--overlap", "16"])
    restorer = Restorer(dasr[0], 2, encoder=dasr[1], tile=32, overlap=16)
    for folder, expected in (("own", restorer(photo())), ("coded", restorer(photo(), restorer.code_of(dark())))):
        assert np.array_equal(cv2.imread(str(run_folder / folder / "photo.png"))[:, :, ::-1], expected)


def test_a_tile_that_does_not_fit_is_the_users_mistake(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(run_folder / "photo.png"), photo())
    command = ["restore", str(run_folder / "photo.png"), "-o", str(run_folder / "out"), "--tile", "0"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--model", str(run_folder / "net_g_latest.pth")])
    assert stopped.value.code == 2
    assert "tile: expected a multiple of 1" in capsys.readouterr().err
