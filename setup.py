"""Packaging of uir. Lower bounds stand here, the exact versions that are tested in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"


def version() -> str:
    """The version of the package, read from its source without importing it."""
    source = (HERE / "uir" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    if match is None:
        raise ValueError('uir/__init__.py: there is no line __version__ = "..."')
    return match.group(1)


CORE = [
    "torch>=2.6",
    "numpy>=1.26",
    "einops>=0.7",
    "opencv-python>=4.8",
    "pillow>=10.1",
    "tifffile>=2024.1.30",
    "pyyaml>=6.0",
    "pydantic>=2.7",
    "typer>=0.12",
    "rich>=13.0",
    "safetensors>=0.4",
    "filelock>=3.12",
]

EXTRAS = {
    # basicsr is built from source, for which it needs torch, numpy, cython, setuptools and wheel beforehand:
    # pip install --no-build-isolation "uir[basicsr]". It cannot be built on Python 3.13.
    "basicsr": ["basicsr==1.4.2; python_version < '3.13'", "torchvision>=0.21", "setuptools>=70"],
    "timm": ["timm>=1.0", "torchvision>=0.21"],
    "lmdb": ["lmdb>=1.4"],
    "tb": ["tensorboard>=2.16"],
    # asks for torchvision: install the torch and torchvision of constraints.txt first
    "spandrel": ["spandrel>=0.4.2", "torchvision>=0.21"],
    "text": ["transformers>=4.44; python_version >= '3.11'"],
    "heif": ["pillow-heif>=0.20"],
    "hub": ["huggingface_hub>=0.26"],
    "metrics": ["torchmetrics>=1.8", "lpips>=0.1.4", "torchvision>=0.21", "scikit-image>=0.22"],
    "analysis": ["scikit-learn>=1.4", "matplotlib>=3.8"],
    "app": ["gradio>=6.0"],
    "export": ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.3"],
    # `make mutate`
    "mutation": ["cosmic-ray>=8.4", "pytest-cov>=6.0"],
    "dev": [
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "ruff>=0.9",
        "mypy>=1.11",
        "types-PyYAML>=6.0",
        "scikit-image>=0.22",
        "jsonschema>=4.18",
        "hypothesis>=6.100",
        "httpx>=0.28",
        "playwright>=1.50",  # drives the Chromium of the system
        "pillow-heif>=0.20",
        "onnx>=1.16",
        "onnxruntime>=1.18",
        "onnxscript>=0.3",
        "PyWavelets>=1.6",  # scikit-image's estimate of noise, which the classics of benchmarks/experiments use
        "spandrel>=0.4.2",  # asks for torchvision: install the torch and torchvision of constraints.txt first
    ],
}

setup(
    name="uir",
    version=version(),
    description="A toolbox for universal image restoration",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["uir", "uir.*"]),
    package_data={"uir": ["py.typed"], "uir.metrics": ["*.npz"], "uir.models": ["*.yml"], "uir.weights": ["*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["uir = uir.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
)
