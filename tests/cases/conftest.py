"""Fixtures of the cases: the stage folders of a small release."""

from tests.release.conftest import finished

__all__ = ["finished"]
