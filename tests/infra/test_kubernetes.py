"""The manifest of the training on a cluster says what torchrun and our command understand."""

from pathlib import Path
from typing import Any

import typer
import yaml
from torch.distributed.run import get_args_parser

from fpenet.cli.main import command_line

MANIFEST = Path(__file__).parents[2] / "infra/kubernetes/train.yaml"


def test_the_job_starts_one_training_with_a_pod_a_node() -> None:
    service, job = yaml.safe_load_all(MANIFEST.read_text())
    spec: dict[str, Any] = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    options = get_args_parser().parse_args(container["args"])
    assert container["command"] == ["torchrun"]
    assert options.module
    assert options.training_script == "fpenet"
    assert int(options.nnodes) == spec["completions"] == spec["parallelism"]
    assert int(options.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    host = options.rdzv_endpoint.split(":")[0]
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    name, *words = options.training_script_args
    group = typer.main.get_command(command_line())
    assert isinstance(group, typer.core.TyperGroup)
    with group.commands[name].make_context(name, words) as context:
        assert context.params["preset"] == "full"
        assert context.params["root"] == Path("dvc")
    assert name == "train"
