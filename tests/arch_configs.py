"""A small configuration of every network in ARCH_REGISTRY; one without an entry fails tests/archs/test_kinds.py."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from uir.archs.nafnet_arch import NAFNet

NAFNET = {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 2], "dec_blk_nums": [2, 1]}

RESTORMER = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 2, 2, 4]}

DIFFIR = {**RESTORMER, "n_encoder_res": 1, "n_feats": 3}

PATCH = {"type": "PatchDiscriminator", "num_feat": 4, "n_layers": 2, "norm": "instance"}
TRANSWEATHER = {"embed_dims": [4, 4, 6, 8], "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "drop_path_rate": 0.0}

WORDS = ["remove", "the", "noise", "rain", "photo"]

WIDTHS = {"widths": [4, 6, 8]}

# What a classifier is fed with: channels and stride of each feature.
FEATURES: dict[str, list[tuple[int, int]]] = {
    "FeatureClassifier": [(6, 2), (4, 1)],
    "PromptIR_DC": [(4, 2), (6, 4)],
    "PromptIR_NoImg_DC": [(4, 1), (6, 2), (6, 4)],
    "TapDecoder": [(4, 2), (6, 4)],
}


def points(name: str) -> list[dict[str, Any]]:
    """The feature points of these features."""
    return [
        {"name": f"stage{index}", "channels": channels, "stride": stride}
        for index, (channels, stride) in enumerate(FEATURES[name])
    ]


def file_of_spandrel() -> str:
    """A file of weights that spandrel knows; it is removed when Python ends."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(NAFNet(**NAFNET).state_dict(), Path(folder) / "nafnet.pth")
    return str(Path(folder) / "nafnet.pth")


def folder_of_clip() -> str:
    """A folder that says that it holds a CLIP, for the message that transformers is missing."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "config.json").write_text("{}")
    return folder


ARCH_CONFIGS: dict[str, dict[str, Any]] = {
    "AdaIR": {**RESTORMER, "frequency_grid": 1, "gate_reduction": 4},
    "Baseline": NAFNET,
    "Bicubic": {"scale": 2},
    "CBDE": WIDTHS,
    "CLIPEncoder": {"folder": folder_of_clip()},
    "CRLSR": {"scale": 2, "map_channels": 5, "num_feat": 6, "num_block": 2, "growth": 3},
    "CRLSREncoder": {"num_feat": 6, "num_block": 1, "growth": 3, "num_local": 5},
    "CDSR": {"scale": 2, "nf": 8, "nb": 1, "gc": 4, "code_channels": 6},
    "CDSREncoder": {**WIDTHS, "codebook_size": 12},
    "ConditionedNet": {"scale": 3, "body": "nafnet", "num_feat": 8, "num_block": 2, "code_channels": 6},
    "ConvBN6Encoder": WIDTHS,
    "DAAEncoder": {**WIDTHS, "ranker_widths": [12, 10, 8]},
    "DACLIPUNet": {
        "nf": 16,
        "ch_mult": [2, 2],
        "code_channels": 6,
        "content_channels": 6,
        "context_level": 1,
        "timesteps": 10,
    },
    "DASR": {"scale": 2, "n_groups": 2, "n_blocks": 1, "n_feats": 8, "code_channels": 6},
    "DGRN": {"n_groups": 1, "n_blocks": 1, "n_feats": 6, "map_channels": 5},
    "DegradationPredictor": {"nf": 4, "num_networks": 3},
    "Degradation_Predictor": {"nf": 4, "num_networks": 3},
    "DiffIRS1": DIFFIR,
    "DiffIRS2": DIFFIR,
    "ConditionalNAFNet": {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1], "timesteps": 5},
    "ConditionalUNet": {"nf": 4, "depth": 2, "timesteps": 5},
    "DiffUIR": {"dim": 8, "dim_mults": [1, 2]},
    "ExpertNet": {"experts": 3, "backbone": {"type": "NAFNet", **NAFNET}},
    "FeatureClassifier": {
        "feature_points": points("FeatureClassifier"),
        "num_classes": 3,
        "max_params": 2000,
    },
    "GainNet": {"levels": 3, "backbone": {"type": "NAFNet", **NAFNET}},
    "HalfNAFNet": NAFNET,
    "IDR": {**RESTORMER, "num_keys": 4, "key_dim": 12},
    "IKCPredictor": {"nf": 4, "num_params": 3},
    "IMDN": {"nf": 8, "upscale": 2, "reduction": 2},
    "IMDNAdapted": {"nf": 8, "upscale": 2, "reduction": 2, "code_channels": 6},
    "Identity": {},
    "InstructIR": {**NAFNET, "txtdim": 6},
    "LIPSPADENet": {"num_feat": 4, "num_down": 2},
    "MSRResNet": {"num_feat": 8, "num_block": 2, "upscale": 4},
    "MSRResNetDynamic": {"num_feat": 8, "num_block": 2, "num_models": 3, "upscale": 2},
    "MultiScaleDiscriminator": {"num_feat": 4, "n_layers": 2},
    "PairDiscriminator": {"discriminator": PATCH},
    "PatchDiscriminator": {"num_feat": 4, "n_layers": 2},
    "Pix2PixUNet": {"num_feat": 4, "num_downs": 3},
    "MoCEIR": {
        "dim": 8,
        "levels": 3,
        "num_blocks": [1, 1, 1],
        "num_dec_blocks": [1, 1],
        "heads": [1, 2, 2],
        "num_refinement_blocks": 1,
        "topk": 4,  # so that every expert gets every image
    },
    "NAFNet": NAFNET,
    "NAFNetLocal": {**NAFNET, "train_size": [1, 3, 16, 16]},
    "LatentUNet": {"ch": 4, "ch_mult": [1, 2], "embed_dim": 4},
    "OneRestore": {"channels": 4, "heads": 2, "num_middle_blocks": 1, "code_channels": 9},
    "PromptIR": {**RESTORMER, "prompt_dims": [4, 6, 8], "prompt_len": 3, "prompt_sizes": [12, 8, 4]},
    "PromptIR_DC": {"feature_dims": [4, 6], "num_res_blocks": 1, "num_classes": 3},
    "PromptIR_NoImg_DC": {"feature_dims": [4, 6, 6], "num_res_blocks": 1, "num_classes": 3},
    "PromptEncoder": {"tasks": ["noise", "rain"], "words": WORDS, "embedding_dim": 8, "hidden_dim": 6},
    "ResidualDiscriminator": {"discriminator": PATCH},
    "Restormer": RESTORMER,
    "RestormerDCPT": RESTORMER,
    "SpandrelNet": {"file": file_of_spandrel()},
    "SceneEmbedder": {"scenes": ["low", "haze", "low_haze"], "code_channels": 9, "hidden": 8},
    "SwinIR": {
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "window_size": 4,
        "mlp_ratio": 2,
        "upscale": 2,
        "upsampler": "pixelshuffle",
        "num_feat": 8,
    },
    "TapDecoder": {"feature_points": points("TapDecoder"), "width": 6, "reach": 8},
    "TimmEncoder": {"trunk": "resnet18"},
    "UNetDiscriminatorSN": {"num_in_ch": 3, "num_feat": 4},
    "VGGStyleDiscriminator": {"num_in_ch": 3, "num_feat": 2, "input_size": None},
    "WaveletDiscriminator": {"discriminator": {**PATCH, "n_layers": 1}},
    "WeatherDiff": {
        "ch": 8,
        "ch_mult": [1, 2],
        "num_res_blocks": 1,
        "groups": 4,
        "resolution": 16,
        "attn_resolutions": [8],
        "timesteps": 50,
    },
    "TransWeather": {**TRANSWEATHER, "decoder_depth": 1, "decoder_heads": 2, "num_queries": 6},
    "TransWeatherBase": TRANSWEATHER,
}
