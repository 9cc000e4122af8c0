"""Names of the classes of BasicSR's forks, which an option file can use once they are plugged in."""

from __future__ import annotations

_CLASSES = {
    "Restormer": "Dataset_DefocusDeblur_DualPixel_16bit",
    "NAFSSR": "PairedStereoImageDataset NAFSSR calculate_skimage_ssim",
    "HINet": "HINet",
    "HAT": "HATModel RealHATGANModel RealHATMSEModel ImageNetPairedDataset HAT",
    "DAT": "DATModel DAT",
    "CAT": "CATModel CAT",
    "RGT": "RGTModel RGT",
    "MambaIR": "MambaIRModel MambaIR MambaIRv2",
    "DiffIR": "DiffIRS1Model DiffIRS2Model DiffIRS1 DiffIRS2",
    "X-Restormer": "GaussianNoiseImageDataset DehazingImageDataset SizePairedImageDataset XRestormer",
    "DRSformer": "DRSformer",
    "Retinexformer": "RetinexFormer Dataset_SDSDImage Dataset_SIDImage Dataset_SMIDImage",
    "FFTformer": "fftformer",
    "SAFMN": "SAFMN",
    "GFPGAN": "GFPGANModel FFHQDegradationDataset GFPGANv1",
    "CodeFormer": "CodeFormerModel CodeFormerJointModel CodeFormerIdxModel VQGANModel FFHQBlindDataset CodeFormer",
}
OWNERS: dict[str, str] = {name: owner for owner, names in _CLASSES.items() for name in names.split()}
"""For each name the toolbox that it comes from."""
