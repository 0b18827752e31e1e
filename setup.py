"""The one thing that pyproject.toml has no words for: weights/ travels as bitconv/weights."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["bitconv", "bitconv.*"]), "bitconv.weights"],
    package_dir={"bitconv.weights": "weights"},
    package_data={"bitconv": ["data/*"], "bitconv.weights": ["*.h5"]},
)
