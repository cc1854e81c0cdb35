"""``manifest.json`` of an adapter folder: what was trained, from what, and how that went."""

from typing import Any

from pydantic import Field

from toolkit.frozen import Frozen


class Calibration(Frozen):
    """The bias that serving adds to the logit of ``token_id`` in requests with tools, and how it did on validation."""

    token_id: int
    bias: float
    auc: float
    call_accuracy: float
    no_call_accuracy: float
    n_call: int
    n_no_call: int


class Metrics(Frozen):
    """Losses are nats per target token; ``tokens_saved`` is what sharing prefixes left out. ``rows_refused`` counts the
    rows of the dataset that were no lessons, because the model's chat template does not take their conversation."""

    loss_first: float
    loss_last: float
    loss_valid: float | None = None
    steps: int
    best_step: int | None = None
    """Step of which the weights are: the one with the lowest validation loss during training."""
    stopped_early: bool = False
    lessons: int
    lessons_too_long: int = 0
    rows_refused: int = 0
    epochs_done: float
    tokens_computed: int
    tokens_saved: int
    target_tokens: int


class Environment(Frozen):
    """Software and hardware on which the bytes of an adapter depend.

    ``deterministic``: the same seed, threads and processes give the same bytes; on a GPU they need not, nor where the
    time budget cut the plan.
    ``unshared``: why no prefixes were shared, if none were.
    """

    device: str
    threads: int
    processes: int
    deterministic: bool
    unshared: str | None = None
    halvings: int = 0
    recomputes: bool = False


class Probe(Frozen):
    """Log-probabilities of a fixed text under the trainer's model: that (nats) of each token but the first, given those
    before it, with the adapter and without."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]


class Manifest(Frozen):
    """``manifest.json``. Hashes are sha256 in hex; ``files`` maps names to hashes."""

    name: str
    files: dict[str, str]
    base_model: str
    base_sha256: str
    template_sha256: str
    dataset_sha256: str
    tenant: str = ""
    """The tenant that it is for, and was made from the rows of; "" where it is for everybody."""
    tenants: dict[str, int] = Field(default_factory=dict)
    """Number of logged turns in the dataset by tenant ("" without a tenant); empty if no turn has a tenant."""
    parent: str | None = None
    parent_sha256: str | None = None
    hyper_parameters: dict[str, Any]
    seed: int
    metrics: Metrics
    calibration: Calibration | None = None
    environment: Environment | None = None
    probe: Probe | None = None
    wall_seconds: float
    created_at: float = Field(description="seconds since the epoch, UTC")
    versions: dict[str, str]

    @property
    def logit_bias(self) -> dict[str, float] | None:
        """The calibration as ``logit_bias`` of a request with tools; None where there is none."""
        return None if self.calibration is None else {str(self.calibration.token_id): self.calibration.bias}
