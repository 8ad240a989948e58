"""Where the ranks of a training run, and what is done when they end too early."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from training.settings import Settings

Launcher = Literal["local", "ssh", "slurm", "kubernetes", "torchrun"]


def time_limit_seconds(time: str) -> int:
    """What Slurm takes from minutes, minutes:seconds, hours:minutes:seconds, days-hours, ...; 0 is no limit."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class SshSettings(Settings):
    """Nodes that DeepSpeed reaches by pdsh and ssh. Python, code and folders lie at the same paths on all of them."""

    hostfile: str | None = Field(
        None, description="DeepSpeed's hostfile: a line 'name slots=8' for each node; those at the end are spare."
    )
    options: list[str] = Field(
        default_factory=list,
        description="More arguments of ssh, such as -F and a configuration file, or -p and a port.",
    )
    connect_seconds: int = Field(10, ge=1, description="A node that does not answer within this time is left out.")
    silent_seconds: int = Field(30, ge=3, description="A node that is silent for this time is given up.")
    look_again_seconds: float = Field(60.0, gt=0, description="How often a node that was left out is asked again.")
    pass_on: list[str] = Field(
        default_factory=list,
        description="Variables that nodes get besides those of PyTorch, NCCL, gloo, CUDA and DeepSpeed; they can "
        "be seen in the nodes' process lists.",
    )


class SlurmSettings(Settings):
    """What a job asks Slurm for."""

    partition: str | None = Field(None, description="Partition; None is the cluster's own default, as below.")
    account: str | None = Field(None, description="Account that pays.")
    qos: str | None = Field(None, description="Quality of service.")
    time: str | None = Field(
        None,
        pattern=r"^(\d+-)?\d+(:\d+){0,2}$",
        description="Time limit, as 12:00:00; before it a checkpoint is written and the job queued again.",
    )
    before_limit_seconds: int = Field(
        180, ge=1, le=65535, description="How long before the time limit ranks are asked to write a checkpoint."
    )
    gpus: int = Field(0, ge=0, description="GPUs of each node.")
    cpus: int | None = Field(None, ge=1, description="Cores for each rank.")
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?$", description="Memory of each node, as 500G; 0 is all.")
    options: list[str] = Field(default_factory=list, description="More options of sbatch, as --constraint=h100.")
    setup: list[str] = Field(default_factory=list, description="Lines of shell before the ranks, as module load cuda.")
    python: str | None = Field(None, description="Python on the nodes; None is the path of this one.")
    code: str | None = Field(None, description="Folder of Corpusline on the nodes; None is the path of this one.")
    poll_seconds: float = Field(10.0, gt=0, description="How often Slurm is asked about the job.")

    @model_validator(mode="after")
    def _leaves_time_to_train(self) -> Self:
        if self.time is not None and 0 < time_limit_seconds(self.time) <= self.before_limit_seconds:
            raise ValueError(
                f"'time' = {self.time} is no longer than 'before_limit_seconds' = {self.before_limit_seconds}: the job "
                "would be queued again as soon as it starts"
            )
        return self


class TorchrunSettings(Settings):
    """One agent of torchrun here, and on every other node one that is started there by ``join.sh``."""

    endpoint: str | None = Field(
        None, pattern=r"^[^\s:]+:\d+$", description="host:port where nodes meet; one of them has to be that host."
    )
    join_seconds: int = Field(600, ge=1, description="Time for 'min_nodes' to come together.")


class KubernetesSettings(Settings):
    """What a job asks Kubernetes for."""

    kind: Literal["trainjob", "jobset"] = Field("trainjob", description="Of Kubeflow Trainer 2, or of JobSet alone.")
    image: str | None = Field(None, description="Image with Corpusline in it; see infra/Containerfile.")
    namespace: str = Field("default", min_length=1, description="Namespace of the job.")
    runtime: str = Field("torch-distributed", min_length=1, description="trainjob: the cluster's training runtime.")
    claims: dict[str, str] = Field(
        default_factory=dict,
        description="Where each persistent volume claim is mounted; one has to hold CORPUSLINE_HOME at its own path.",
    )
    gpus: int = Field(0, ge=0, description="GPUs of each node.")
    gpu_resource: str = Field("nvidia.com/gpu", min_length=1, description="What the cluster calls them.")
    cpu: str | None = Field(None, description="Cores of each node, as 16 or 500m.")
    memory: str | None = Field(None, description="Memory of each node, as 200Gi.")
    shared_memory: str = Field("16Gi", description="Size of /dev/shm, through which ranks of a node talk.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels that nodes must have.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the job, as kueue.x-k8s.io/queue-name for Kueue."
    )
    service_account: str | None = Field(None, description="Service account of the pods.")
    environment: dict[str, str] = Field(default_factory=dict, description="Variables of the ranks.")
    python: str = Field("python", min_length=1, description="Python in the image.")
    code: str = Field("/opt/corpusline", min_length=1, description="Folder of Corpusline in the image.")
    context: str | None = Field(
        None, description="Context of the kubeconfig; None is its present one, or the pod's own."
    )
    poll_seconds: float = Field(10.0, gt=0, description="How often Kubernetes is asked about the job.")


class LaunchSettings(Settings):
    """How ranks are started, stopped, and started again."""

    launcher: Launcher = Field(
        "local",
        description="Where they run: local is this machine; ssh the nodes of a hostfile; slurm and kubernetes a job of "
        "theirs; torchrun this machine and others that join it.",
    )
    nodes: int = Field(1, ge=1, description="Machines.")
    min_nodes: int | None = Field(
        None, ge=1, description="ssh, torchrun: the fewest to go on with where some are away, with the same batch."
    )
    max_nodes: int | None = Field(
        None, ge=1, description="ssh, torchrun: the most to use where more are there, with the same batch."
    )
    processes: int = Field(
        1, ge=1, description="Ranks of each machine: one an accelerator, or a share of the CPU's cores each."
    )
    port: int = Field(
        0, ge=0, le=65535, description="local, ssh, slurm: TCP port of the ranks' rendezvous; 0 takes a free one."
    )
    interface: str | None = Field(
        None, description="Network interface between nodes, for gloo and NCCL; None lets them choose."
    )
    grace_seconds: float = Field(
        120.0, gt=0, description="Time for the ranks to write a checkpoint when the run is cancelled."
    )
    restarts: int = Field(
        3,
        ge=0,
        description="Times that a training which fails is started again from its newest checkpoint, until it has made "
        "a newer one, from where they are counted anew; 0 is never.",
    )
    ssh: SshSettings = Field(default_factory=SshSettings, description="launcher ssh.")
    slurm: SlurmSettings = Field(default_factory=SlurmSettings, description="launcher slurm.")
    torchrun: TorchrunSettings = Field(default_factory=TorchrunSettings, description="launcher torchrun.")
    kubernetes: KubernetesSettings = Field(default_factory=KubernetesSettings, description="launcher kubernetes.")

    @field_validator("interface")
    @classmethod
    def _one_word(cls, value: str | None) -> str | None:
        if value is not None and not value.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError("the name of an interface, as eth0")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.launcher == "local" and self.nodes != 1:
            raise ValueError(
                f"'nodes' = {self.nodes}, but 'launcher' = 'local' is one machine: write ssh, slurm, kubernetes or "
                "torchrun"
            )
        if not self.fewest <= self.nodes <= self.most:
            raise ValueError(
                f"'nodes' = {self.nodes} is not between 'min_nodes' = {self.fewest} and 'max_nodes' = {self.most}"
            )
        if self.fewest != self.most and self.launcher not in ("ssh", "torchrun"):
            raise ValueError(
                f"'min_nodes' and 'max_nodes' are for the launchers ssh and torchrun; {self.launcher} gives as many as "
                "were asked for, or waits"
            )
        if self.port and self.launcher in ("kubernetes", "torchrun"):
            raise ValueError(
                f"'port' = {self.port} is for the launchers local, ssh and slurm; {self.launcher} has ports of its own"
                ": leave 'port' out"
            )
        needed = {
            "ssh": ("ssh.hostfile", self.ssh.hostfile),
            "kubernetes": ("kubernetes.image", self.kubernetes.image),
            "torchrun": ("torchrun.endpoint", self.torchrun.endpoint if self.most > 1 else "this machine alone"),
        }
        key, value = needed.get(self.launcher, ("", "nothing"))
        if not value:
            raise ValueError(f"'{key}' is missing, which 'launcher' = '{self.launcher}' needs")
        return self

    @property
    def ranks(self) -> int:
        """Ranks in all where every node is there."""
        return self.nodes * self.processes

    @property
    def fewest(self) -> int:
        """Nodes without which the training does not start."""
        return self.min_nodes or self.nodes

    @property
    def most(self) -> int:
        """Nodes beyond which none is used."""
        return self.max_nodes or self.nodes
