"""The option keys that basicsr 1.4.2's dictionary classes read, by class; basicsr itself does not check them."""

from __future__ import annotations

from uir.registry.sources import ModelKeys


def _keys(words: str) -> frozenset[str]:
    return frozenset(words.split())


_IMAGE_DATASET = _keys(
    "dataroot_gt dataroot_lq io_backend filename_tmpl meta_info_file gt_size use_hflip use_rot color mean "
    "std phase scale"
)
_REDS = _keys(
    "dataroot_gt dataroot_lq dataroot_flow meta_info_file val_partition io_backend num_frame gt_size "
    "interval_list random_reverse use_hflip use_rot scale test_mode phase flip_sequence"
)
_VIDEO_TEST = _keys(
    "dataroot_gt dataroot_lq io_backend cache_data num_frame padding meta_info_file use_duf_downsampling scale phase"
)
_REALESRGAN = _keys(
    "dataroot_gt meta_info io_backend use_hflip use_rot gt_size blur_kernel_size kernel_list kernel_prob "
    "blur_sigma betag_range betap_range sinc_prob blur_kernel_size2 kernel_list2 kernel_prob2 blur_sigma2 "
    "betag_range2 betap_range2 sinc_prob2 final_sinc_prob scale phase"
)

DATASET_KEYS: dict[str, frozenset[str]] = {
    "PairedImageDataset": _IMAGE_DATASET,
    "SingleImageDataset": _IMAGE_DATASET,
    "RealESRGANPairedDataset": (_IMAGE_DATASET - {"meta_info_file"}) | {"meta_info"},
    "RealESRGANDataset": _REALESRGAN,
    "FFHQDataset": _keys("dataroot_gt io_backend use_hflip mean std phase scale"),
    "REDSDataset": _REDS,
    "REDSRecurrentDataset": _REDS,
    "Vimeo90KDataset": _REDS,
    "Vimeo90KRecurrentDataset": _REDS,
    "VideoTestDataset": _VIDEO_TEST,
    "VideoTestVimeo90KDataset": _VIDEO_TEST,
    "VideoTestDUFDataset": _VIDEO_TEST,
    "VideoRecurrentTestDataset": _VIDEO_TEST,
}

# Those of them that a class does not read, although files name them.
DEAD_DATASET_KEYS: dict[str, frozenset[str]] = {
    "SingleImageDataset": _keys("dataroot_gt filename_tmpl gt_size use_hflip use_rot"),
    "RealESRGANPairedDataset": _keys("color"),
    "RealESRGANDataset": _keys("gt_size"),
    "REDSDataset": _keys("flip_sequence test_mode"),
    "REDSRecurrentDataset": _keys("dataroot_flow flip_sequence"),
    "Vimeo90KDataset": _keys("dataroot_flow flip_sequence interval_list test_mode val_partition"),
    "Vimeo90KRecurrentDataset": _keys("dataroot_flow interval_list test_mode val_partition"),
    "VideoTestDataset": _keys("use_duf_downsampling"),
    "VideoTestVimeo90KDataset": _keys("padding use_duf_downsampling"),
    "VideoRecurrentTestDataset": _keys("use_duf_downsampling"),
}

_GAN_TRAIN = frozenset({"net_d_iters", "net_d_init_iters"})
_GAN_LOSSES = ("pixel_opt", "perceptual_opt", "ldl_opt", "gan_opt")
_VIDEO_VAL = frozenset({"center_frame_only", "flip_seq"})
_DEGRADATION_ROOT = _keys(
    "high_order_degradation queue_size gt_size gt_usm l1_gt_usm percep_gt_usm gan_gt_usm second_blur_prob "
    "resize_prob resize_range gaussian_noise_prob noise_range poisson_scale_range gray_noise_prob "
    "jpeg_range resize_prob2 resize_range2 gaussian_noise_prob2 noise_range2 poisson_scale_range2 "
    "gray_noise_prob2 jpeg_range2"
)

MODEL_KEYS: dict[str, ModelKeys] = {
    "SRModel": ModelKeys(),
    "SwinIRModel": ModelKeys(),
    "SRGANModel": ModelKeys(("g", "d"), _GAN_LOSSES, _GAN_TRAIN),
    "ESRGANModel": ModelKeys(("g", "d"), _GAN_LOSSES, _GAN_TRAIN),
    "RealESRNetModel": ModelKeys(root=_DEGRADATION_ROOT, dead=_keys("l1_gt_usm percep_gt_usm gan_gt_usm")),
    "RealESRGANModel": ModelKeys(
        ("g", "d"), _GAN_LOSSES, _GAN_TRAIN, root=_DEGRADATION_ROOT, dead=frozenset({"gt_usm"})
    ),
    "HiFaceGANModel": ModelKeys(
        ("g", "d"),
        (*_GAN_LOSSES, "feature_matching_opt"),
        _GAN_TRAIN,
        dead=_keys("train.ldl_opt path.pretrain_network_d path.param_key_d path.strict_load_d"),
    ),
    "StyleGAN2Model": ModelKeys(
        ("g", "d"),
        ("gan_opt",),
        _keys("mixing_prob net_g_reg_every net_d_reg_every path_reg_weight path_batch_shrink r1_reg_weight"),
        frozenset({"num_val_samples"}),
        dead=frozenset({"train.ema_decay"}),
    ),
    "VideoBaseModel": ModelKeys(),
    "VideoGANModel": ModelKeys(("g", "d"), _GAN_LOSSES, _GAN_TRAIN),
    "EDVRModel": ModelKeys(train=frozenset({"tsa_iter", "dcn_lr_mul"})),
    "VideoRecurrentModel": ModelKeys(train=frozenset({"fix_flow", "flow_lr_mul"}), val=_VIDEO_VAL),
    "VideoRecurrentGANModel": ModelKeys(
        ("g", "d"),
        _GAN_LOSSES,
        _GAN_TRAIN | {"fix_flow", "flow_lr_mul", "lr_flow"},
        _VIDEO_VAL,
        dead=frozenset({"train.ldl_opt"}),
    ),
}
