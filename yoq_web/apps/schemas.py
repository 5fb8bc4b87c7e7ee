"""What the routes of apps take and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yoq_web.http.pages import PageQuery
from yoq_web.names import Name

ReleaseId = Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
"""What can be the id of a release."""


class ManifestIn(BaseModel):
    """An app's manifest as the yoq CLI sends it. Further members are kept and not looked at."""

    model_config = ConfigDict(extra="allow")

    app_name: Name
    services: list[dict[str, Any]] = Field(default_factory=list, description="Each needs a name and an image")
    workers: list[dict[str, Any]] = Field(default_factory=list)
    crons: list[dict[str, Any]] = Field(default_factory=list)
    training_jobs: list[dict[str, Any]] = Field(default_factory=list)


class PartQuery(BaseModel):
    """Which part of a manifest to apply; all of it unless told."""

    services: list[Name] = Field(
        [],
        alias="service",
        description="Only this service, or these, and what they depend on; the app's others stay as they are",
    )


class RollbackIn(BaseModel):
    """Which release to go back to; the newest completed one before the newest if none is named."""

    release_id: ReleaseId | None = Field(None, description="A release of this app")


class ForceQuery(BaseModel):
    """Whether to do it whatever is lost by it."""

    force: Literal["0", "1"] = Field("0", description="`1` to do it whatever becomes of what the agent runs")

    @property
    def forced(self) -> bool:
        """Whether it is to be done all the same."""
        return self.force == "1"


class Departed(BaseModel):
    """What became of what an agent ran: each as app, workload and id."""

    status: str
    moved: list[str] = Field(description="What found a place, and on which agent")
    ended: list[str] = Field(description="What was stopped, since there was no place for it")
    waiting: list[str] = Field(description="What waits for a place; of a draining agent it is said why")


class Drained(Departed):
    """What becomes of what a draining agent runs."""

    drained: bool = Field(description="Whether nothing is left on it")


class HistoryQuery(PageQuery):
    """Which part of an app's history to list."""

    limit: int = Field(50, ge=1, le=500, description="How many releases; a Link header leads on")
    before: ReleaseId | None = Field(None, description="Only releases older than this one")


class ReportIn(BaseModel):
    """What an agent says of an assignment."""

    status: Literal["running", "stopped", "failed"]
    reason: str | None = Field(None, max_length=128, description="Why it stopped or failed")


class Reported(BaseModel):
    """An agent's word was taken."""

    ok: bool
    status: str


class Controlled(BaseModel):
    """How a rollout stands after an operator's command."""

    app_name: str
    release_id: str
    rollout_control_state: str


class Ran(BaseModel):
    """Whether a worker found its place."""

    app_name: str
    worker: str
    placed: int
    failed: int
    message: str


class Document(BaseModel):
    """A release in yoq's words: these members and others, in yoq's order."""

    model_config = ConfigDict(extra="allow")

    status: str
    rollout_state: str
    rollout_control_state: str
    completed_targets: int
    failed_targets: int
    remaining_targets: int
    message: str


class Applied(Document):
    """The answer to an apply or a rollback, as the release then stands."""

    app_name: str
    release_id: str
    placed: int
    failed: int


class AppStatus(Document):
    """An app with its newest release, and the newest other one that was completed."""

    app_name: str
    release_id: str
    manifest_hash: str
    created_at: int


class HistoryEntry(Document):
    """A release of an app."""

    id: str
    app: str
    manifest_hash: str
    created_at: int
    is_current: bool
    is_previous_successful: bool


class Summary(BaseModel):
    """How many workloads change in which way."""

    create: int
    update: int
    delete: int
    unchanged: int


class Change(BaseModel):
    """What becomes of one workload."""

    kind: str
    name: str
    change: str


class Diff(BaseModel):
    """What an apply would change."""

    app_name: str
    proposed_manifest_hash: str
    current_release_id: str | None
    current_manifest_hash: str | None
    summary: Summary
    changes: list[Change]


class AssignmentOut(BaseModel):
    """Something that an agent is to run; members that are not set are left out."""

    model_config = ConfigDict(extra="allow")

    id: str
    agent_id: str
    image: str
    command: str
    status: str
    cpu_limit: int
    memory_limit_mb: int
