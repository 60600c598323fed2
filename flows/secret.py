"""The model load key of a flow run: of the environment, or of a Prefect Secret block."""

import os

from prefect.blocks.system import Secret

from fpenet.provenance.encryption import ModelKey, key_in

BLOCK = "fpenet-model-key"


def model_key() -> ModelKey | None:
    """The key that the worker's environment or the block holds; None where neither does.

    Raises:
        ValueError: it is too short.
    """
    key = key_in(os.environ)
    if key is not None:
        return key
    try:
        secret = Secret.load(BLOCK)
    except ValueError:  # there is no such block
        return None
    assert isinstance(secret, Secret)
    return ModelKey(str(secret.get()))
