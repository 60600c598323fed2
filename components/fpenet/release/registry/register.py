"""Stage register: register the release in MLflow, and set the alias ``candidate`` if it passed.

Input: the folder of every stage. Does: creates one MLflow run and one version of each registered
model, or reuses those of an earlier registration of the same release. Output: the signed release
manifest release.json. A release that the gate refused is registered too, with the reasons, but the
alias is not set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.core.records import fields_of
from fpenet.data.validation.validation_report import VALIDATION
from fpenet.kpi.gate import GATE
from fpenet.params import RegisterParams
from fpenet.provenance.digest import digest_file
from fpenet.provenance.encryption import VARIABLE, ModelKey, current_model_key
from fpenet.provenance.signing import SigningKey, sign_file, signature_of
from fpenet.release.evidence import (
    CANDIDATE,
    CARD,
    NAME_TAG,
    PUBLISHED,
    REPORT,
    Evidence,
    engine_rows,
    flat_metrics,
    flat_params,
    read_curve,
    read_evidence,
    refusals,
    unfinished_targets,
    version_name,
    version_tags,
)
from fpenet.release.registry.version_description import describe_version, run_page
from fpenet.release.release_manifest import (
    RELEASE_MANIFEST,
    GateSummary,
    KpiSummary,
    ParitySummary,
    ReleaseManifest,
    ReleaseState,
    ReleaseSummary,
    TrainingSummary,
    stored_files,
)
from fpenet.release.report.citations import check_card
from fpenet.release.store.encryption import ENCRYPTION_TAG, encrypt_artifacts, encryption_of

_STEPS = 4


def register_release(
    *,
    inputs: Mapping[str, Path],
    register: RegisterParams,
    signing_key: SigningKey,
    out_dir: Path,
) -> dict[str, Any]:
    """Register the release (see the top of this file).

    Args:
        inputs: stage -> its folder, for every stage before this one.

    Returns:
        the content of release.json.

    Raises:
        InputError: a file or the model key is missing or cannot be read; or the release is already
            registered with another encryption.
        ConnectionError: MLflow cannot be reached or refuses a request; running again continues.
    """
    from fpenet.release.registry import tracking
    from fpenet.release.registry import versions as model_versions

    folders = {name: folder for name, folder in inputs.items() if name != "report"}
    evidence = read_evidence(folders)
    curve = read_curve(inputs["train"])
    reasons = refusals(evidence, register.required_targets)
    key = _required_key() if register.encrypt else None
    encryption = encryption_of(evidence.release_digest, key)
    tags = version_tags(evidence, reasons) | {ENCRYPTION_TAG: encryption}
    card = inputs["report"] / CARD
    if not card.exists():
        raise InputError(f"{card}: missing; stage report writes it")
    check_card(card.read_text(encoding="utf-8"), folders)
    artifacts = [*artifact_files(folders), (card, ""), (inputs["report"] / PUBLISHED, "report")]
    report(0, _STEPS, "steps")
    with tracking.mlflow_errors(), TemporaryDirectory(prefix="fpenet-encrypted-") as scratch:
        plain: dict[str, str] = {}
        if key is not None:
            artifacts, plain = encrypt_artifacts(
                artifacts, evidence.release_digest, key, Path(scratch)
            )
        experiment_id = tracking.find_experiment(register.experiment)
        run = tracking.find_run(experiment_id, evidence.release_digest) or tracking.log_run(
            experiment_id,
            tags=tags,
            params=flat_params(evidence.manifests),
            metrics=flat_metrics(evidence),
            curve=curve,
            artifacts=[tracking.Artifact(path, folder) for path, folder in artifacts],
            description=describe_version(evidence, reasons),
        )
        if run.encryption != encryption:
            raise InputError(
                f"run {run.run_id} contains this release with encryption {run.encryption!r}, not"
                f" {encryption!r}; register with the same encryption, or delete that run and its"
                " versions"
            )
        report(1, _STEPS, "steps")
        page = run_page(run.experiment_id, run.run_id)
        description = describe_version(evidence, reasons, page)
        versions = {
            model: model_versions.register_version(
                model,
                source=f"{run.artifact_uri}/{folder}",
                run_id=run.run_id,
                tags=tags,
                description=description,
            )
            for model, folder in (
                (register.trainable_model, "trainable"),
                (register.deployable_model, "deployable"),
            )
        }
        report(2, _STEPS, "steps")
        version = versions[register.deployable_model]
        names = {
            model: version_name(evidence, kind, version)
            for kind, model in (
                ("trainable", register.trainable_model),
                ("deployable", register.deployable_model),
            )
        }
        for model, number in versions.items():
            # The required targets may have changed since the first registration of this release.
            later_tags = {NAME_TAG: names[model], "fpenet.refused": tags["fpenet.refused"]}
            later_tags["fpenet.signed_by"] = signing_key.public.described
            model_versions.tag_version(model, number, later_tags)
        manifest = ReleaseManifest(
            **fields_of(summarise(evidence, reasons)),
            model=register.deployable_model,
            version=version,
            name=names[register.deployable_model],
            trainable_model=register.trainable_model,
            trainable_version=versions[register.trainable_model],
            signed_by=signing_key.public.described,
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            encryption=encryption,
            files=stored_files(artifacts, plain),
            report=(inputs["report"] / REPORT).as_posix(),
            model_card=card.as_posix(),
            model_card_sha256=digest_file(card),
        )
        path = out_dir / RELEASE_MANIFEST
        manifest.write(path)
        sign_file(path, signing_key)
        for signed in (path, signature_of(path)):
            tracking.add_artifact(run.run_id, tracking.Artifact(signed, ""))
        report(3, _STEPS, "steps")
        if not reasons:  # last, so that the alias points to a complete version
            for model, number in versions.items():
                model_versions.set_alias(model, CANDIDATE, number)
        report(4, _STEPS, "steps")
    return manifest.tree()


def _required_key() -> ModelKey:
    key = current_model_key()
    if key is None:
        raise InputError(
            f"register.encrypt is true and the model key is not set; set {VARIABLE} or the Prefect"
            " Secret block fpenet-model-key"
        )
    return key


def summarise(evidence: Evidence, reasons: Sequence[str]) -> ReleaseSummary:
    """The part of the release manifest that does not depend on the registry.

    Raises:
        InputError: the manifest of stage train lacks a value.
    """
    unfinished = unfinished_targets(evidence.engines)
    training, kpi = evidence.training, evidence.kpi
    return ReleaseSummary(
        release_digest=evidence.release_digest,
        candidate=not reasons,
        alias=None if reasons else CANDIDATE,
        refused=tuple(reasons),
        gate=GateSummary(evidence.verdict.passed, evidence.verdict.reasons),
        state=ReleaseState.PARTIAL if any(unfinished.values()) else ReleaseState.COMPLETE,
        pending=tuple(unfinished["pending"]),
        failed=tuple(unfinished["failed"]),
        training=TrainingSummary(
            net=training.net,
            parameters=training.parameters,
            epochs=training.epochs,
            faces_seen=training.faces_seen,
            minutes=training.minutes,
        ),
        kpi=KpiSummary(
            dataset=kpi.dataset,
            part=kpi.part,
            num_faces=kpi.num_faces,
            num_subjects=kpi.num_subjects,
            num_keypoints=kpi.num_keypoints,
            normaliser=kpi.normaliser,
            metrics=kpi.metrics,
            metric_faces=kpi.metric_faces,
        ),
        parity=tuple(
            ParitySummary(each.name, each.reference, each.mean_px, each.max_px, each.passed)
            for each in evidence.parity
        ),
        engines=tuple(engine_rows(evidence)),
        digests={name: manifest.content for name, manifest in evidence.manifests.items()},
    )


def artifact_files(folders: Mapping[str, Path]) -> list[tuple[Path, str]]:
    """The files of the stage folders that the MLflow run stores, each with its folder in the run.

    They contain no image and no image file name of the labelled set, except the KPI plot and the
    few faces that ``parity.json`` names. The report of ``published`` contains neither.

    Raises:
        InputError: a file is missing.
    """
    files = [
        (folders["train"] / "model.safetensors", "trainable"),
        (folders["train"] / "model.json", "trainable"),
        (folders["train"] / "trainable.safetensors", "trainable"),
        (folders["train"] / "curve.jsonl", "train"),
        (folders["validate"] / VALIDATION, "data"),
        (folders["build"] / "engines.json", "build"),
        (folders["build"] / "parity.json", "build"),
        (folders["benchmark"] / "benchmark.json", "benchmark"),
        (folders["gate"] / GATE, "gate"),
        (folders["bundle"], "deployable"),
        *((path, "kpi") for path in sorted(folders["evaluate"].glob("kpi*"))),
        *(
            (path, f"onnx/{path.parent.name}")
            for stage in ("export", "calibrate")
            for path in sorted(folders[stage].glob("opset*/*.onnx"))
        ),
        *((folder / "manifest.json", f"manifests/{name}") for name, folder in folders.items()),
    ]
    missing = [path for path, _ in files if not path.exists()]
    if missing:
        raise InputError(f"{missing[0]}: missing; a release must contain it")
    return files
