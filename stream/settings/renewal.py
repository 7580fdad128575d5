"""Settings of what renews the model: drift, retraining, the gate and the rollout."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stream.settings.group import Group


class DriftSettings(Group):
    """The drift monitor."""

    group: str = "veristream-drift"
    window: Annotated[int, Field(ge=50, description="Embeddings that are judged together")] = 500
    window_age_s: Annotated[float, Field(gt=0, description="A window is judged at the latest when it is this old")] = (
        3600.0
    )
    reference: Annotated[int, Field(ge=100, description="Embeddings a window is compared with")] = 2000
    cooldown_s: Annotated[float, Field(ge=0, description="Least time between two alarms of one model and tenant")] = (
        1800.0
    )
    baseline: Annotated[
        int, Field(ge=300, description="Embeddings that a model without a reference is watched for, to make one")
    ] = 8000
    tenants: Annotated[int, Field(ge=0, description="Tenants of a model that get windows of their own")] = 64
    verdicts: Annotated[int, Field(ge=1, description="Recent verdicts remembered, for labels and suspects")] = 100_000
    hours: Annotated[int, Field(ge=1, description="Hours that verdict shares are kept for")] = 48
    port: Annotated[int, Field(ge=0, le=65535, description="Verdict shares as JSON over HTTP; 0: off")] = 0


class GateSettings(Group):
    """What a challenger must show before it is registered."""

    fpr: Annotated[float, Field(gt=0, le=1, description="Rise of the false-positive rate that is not inferior")] = 0.02
    balanced_accuracy: Annotated[float, Field(gt=0, le=1, description="Loss of balanced accuracy, likewise")] = 0.03
    auc: Annotated[float, Field(gt=0, le=1, description="Loss of AUC, likewise")] = 0.02
    slice_margin: Annotated[float, Field(gt=0, le=1, description="The same for the drifted slice, which is small")] = (
        0.05
    )
    gain: Annotated[Literal["superior", "not_inferior"], Field(description="What is asked on the drifted slice")] = (
        "not_inferior"
    )
    budget: Annotated[float, Field(gt=0, le=1, description="What any one tier, source or tenant may lose")] = 0.05
    fewest: Annotated[int, Field(ge=2, description="Pictures of each class the golden set must have")] = 50
    fewest_drifted: Annotated[int, Field(ge=2, description="Pictures of each class the drifted slice must have")] = 10
    ece: Annotated[float, Field(gt=0, le=1, description="Rise of the calibration error")] = 0.05
    parity: Annotated[float, Field(gt=0, le=1, description="Wider spread of false positives over sources")] = 0.1
    latency: Annotated[float, Field(gt=0, description="Inference time by the champion's, at most")] = 1.5
    size: Annotated[float, Field(gt=0, description="Bytes by the champion's, at most")] = 2.0
    slice_only: Annotated[bool, Field(description="Let challengers pass where no golden set is configured")] = False
    tiers: Annotated[
        tuple[Literal["clean", "web", "hard"], ...], Field(min_length=1, description="Deliveries of golden pictures")
    ] = ("clean", "web")
    per_source: Annotated[int, Field(ge=1, description="Golden pictures of each source that are looked at")] = 500


class RolloutSettings(Group):
    """How a registered challenger comes to speak, and what sends it back."""

    alpha: Annotated[
        float, Field(gt=0, lt=1, description="Chance at most that a harmless challenger is rolled back")
    ] = 0.1
    harm: Annotated[
        float, Field(gt=0, lt=0.5, description="Difference of error rates between the arms that is to be found")
    ] = 0.05
    share: Annotated[float, Field(gt=0, lt=1, description="Of the uploads that the canary speaks for")] = 0.1
    shadow_share: Annotated[float, Field(gt=0, le=1, description="Of the uploads that the shadow is asked about")] = 1.0
    shadow_in_canary: Annotated[
        bool, Field(description="Ask the challenger about the other uploads too, so that labels count in pairs")
    ] = True
    shadow_records: Annotated[int, Field(ge=1, description="Uploads a shadow must have seen")] = 2000
    shadow_labels: Annotated[int, Field(ge=0, description="Labelled ones among them")] = 200
    shadow_s: Annotated[float, Field(gt=0, description="After this time labels are not waited for")] = 86_400.0
    canary_records: Annotated[int, Field(ge=1, description="Uploads a canary must have spoken for")] = 2000
    canary_labels: Annotated[
        int, Field(ge=0, description="Labelled uploads in that time; harm is to be found within as many, at least 100")
    ] = 500
    canary_s: Annotated[float, Field(gt=0, description="After this time labels are not waited for")] = 3 * 86_400.0
    disagreement: Annotated[float, Field(gt=0, lt=1, description="With the champion, beyond what the gate foresaw")] = (
        0.1
    )
    latency: Annotated[float, Field(gt=0, description="Median inference time by the champion's, at most")] = 2.0
    errors: Annotated[float, Field(gt=0, lt=0.5, description="Share of uploads it may fail on")] = 0.01


class RetrainSettings(Group):
    """Retraining, the gate and the rollout."""

    kind: Annotated[Literal["adapt", "train"], Field(description="What a trigger starts")] = "adapt"
    executor: Annotated[Literal["subprocess", "ray"], Field(description="Where jobs run")] = "subprocess"
    folder: Annotated[Path, Field(description="What is remembered between runs; can be rebuilt from the topics")] = (
        Path("~/.cache/veristream/retrain")
    )
    retention_s: Annotated[float, Field(gt=0, description="How long verdicts and labels are remembered")] = (
        31 * 86_400.0
    )
    most_pictures: Annotated[int, Field(ge=10, description="Labelled pictures a job takes at most, newest first")] = (
        2000
    )
    fewest_labels: Annotated[int, Field(ge=2, description="Pictures of each class a job must have to learn from")] = 20
    fewest_held_out: Annotated[
        int, Field(ge=1, description="Pictures of each class a job must have to be judged by")
    ] = 5
    held_out: Annotated[
        float, Field(gt=0, lt=1, description="Share of labelled pictures that is never learned from")
    ] = 0.3
    reviewer_share: Annotated[
        float, Field(gt=0, le=1, description="Most that one person's word may count among all labels")
    ] = 0.25
    recipe: Annotated[str, Field(description="What jobs of kind train follow: a name, or a .yaml file")] = "default"
    start: Annotated[
        Literal["recipe", "champion"],
        Field(description="What jobs of kind train start from: what the recipe says, or the champion's weights"),
    ] = "recipe"
    base: Annotated[
        tuple[Path, ...], Field(description="Zips and folders that jobs of kind train learn from beside the labels")
    ] = ()
    weights: Annotated[Path | None, Field(description="Folder of the weights that jobs of kind train start from")] = (
        None
    )
    keep_after_s: Annotated[
        float | None,
        Field(
            gt=0,
            description="Copy a labelled picture this long after its verdict, before its upload is gone; unset: not",
        ),
    ] = 1800.0
    keep_days: Annotated[
        float, Field(ge=0, description="Days that jobs' pictures and copies of labelled ones stay; 0: for ever")
    ] = 400.0
    threads: Annotated[int, Field(ge=1, description="Of a job")] = 2
    timeout_s: Annotated[float, Field(gt=0, description="A job that takes longer is ended")] = 6 * 3600.0
    workers: Annotated[int, Field(ge=1, description="Processes of a job of kind train on Ray")] = 1
    ray_address: Annotated[str, Field(description="Of the Ray cluster; empty: one on this machine")] = ""
    ray_autoscales: Annotated[
        bool, Field(description="The cluster grows on demand: wait for CPUs that it does not have yet")
    ] = False
    mlflow: Annotated[
        str, Field(pattern=r"^(https?://.+)?$", description="http:// address of an MLflow server; empty: none")
    ] = ""
    experiment: Annotated[str, Field(min_length=1, description="MLflow experiment")] = "veristream-retrain"
    golden: Annotated[
        str, Field(description="Zip of the golden set: a path or URI; empty: none, and the gate refuses")
    ] = ""
    labels: Annotated[int, Field(ge=1, description="New labels of each class that a job waits for")] = 50
    labels_s: Annotated[float, Field(gt=0, description="How long it waits for them before it fails")] = 14 * 86_400.0
    cooldown_s: Annotated[float, Field(ge=0, description="Least time between a job's end and the next trigger")] = (
        6 * 3600.0
    )
    every_s: Annotated[float, Field(ge=0, description="Retrain when nothing was retrained for so long; 0: never")] = (
        14 * 86_400.0
    )
    quota: Annotated[int, Field(ge=0, description="Retrain after so many labelled uploads; 0: never")] = 0
    gate: GateSettings = GateSettings()
    rollout: RolloutSettings = RolloutSettings()
