"""Benchmarks. The first import makes torch's threads wait here as they do in a training."""

import fpenet.model as components_model

__all__ = ["components_model"]
