"""What the routes of agents take and answer, with yoq's limits."""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from yoq_web.http.pages import PageQuery
from yoq_web.http.validation import is_lenient
from yoq_web.names import is_plain_text, is_storable
from yoq_web.problems import Problem

MAX_INTEGER = 2**63 - 1

HEALTH_BYTES = 16
"""A longer word for a GPU's health is cut."""


def _read_integer(value: object, info: ValidationInfo) -> int | None:
    """Read a JSON number as yoq does: without its decimal part, and nothing else is a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return int(value)
    if value is None or is_lenient(info):
        return None
    raise PydanticCustomError("int_type", "not a number")


def _require_integer(value: object, info: ValidationInfo) -> int:
    found = _read_integer(value, info)
    if found is None:
        raise PydanticCustomError("int_type", "not a number")
    return found


def _read_text(value: object, info: ValidationInfo) -> object:
    return value if isinstance(value, str) or not is_lenient(info) else None


def _read_count(value: object, info: ValidationInfo) -> int:
    found = _read_integer(value, info) or 0
    if found < 0 and not is_lenient(info):
        raise ValueError("it is negative")
    return max(0, found)


def _read_health(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) and not is_lenient(info):
        return value
    text = value.replace("\0", "") if isinstance(value, str) else ""
    return text.encode()[:HEALTH_BYTES].decode(errors="ignore") or "healthy"


def _bound(low: int, high: int) -> dict[str, Any]:
    return {"minimum": low, "maximum": high}


Count = Annotated[int, BeforeValidator(_read_count)]
"""A number; on yoq's own routes what is none counts as 0, as does a negative one."""


class Registration(BaseModel):
    """An agent that registers. On yoq's own route optional fields of another type than theirs count as absent."""

    token: SecretStr = Field(
        description="The join token again, as in the header", json_schema_extra={"writeOnly": True}
    )
    address: str = Field(description="What the agent takes for its own address")
    cpu_cores: Annotated[int, BeforeValidator(_require_integer)] = Field(json_schema_extra=_bound(1, 10_000))
    memory_mb: Annotated[int, BeforeValidator(_require_integer)] = Field(json_schema_extra=_bound(1, 10_000_000))
    agent_api_port: Annotated[int | None, BeforeValidator(_read_integer)] = None
    wg_public_key: Annotated[str | None, BeforeValidator(_read_text)] = Field(
        None, description="With it the agent gets a place in the overlay network"
    )
    wg_listen_port: Annotated[int | None, BeforeValidator(_read_integer)] = None
    role: Annotated[str | None, BeforeValidator(_read_text)] = Field(None, description="`server`, `agent` or `both`")
    region: Annotated[str | None, BeforeValidator(_read_text)] = None
    labels: Annotated[str | None, BeforeValidator(_read_text)] = Field(None, description="Words separated by commas")
    gpu_count: Count = 0
    gpu_vram_mb: Annotated[int | None, BeforeValidator(_read_integer)] = None
    gpu_model: Annotated[str | None, BeforeValidator(_read_text)] = None

    def check(self, join_token: str | None) -> None:
        """Raise a 400 for the first thing wrong with this registration, in yoq's order."""
        given = self.token.get_secret_value().encode()
        wireguard = self.wg_public_key is not None
        rules = (
            ("cpu_cores", 1 <= self.cpu_cores <= 10_000),
            ("memory_mb", 1 <= self.memory_mb <= 10_000_000),
            ("agent_api_port", self.agent_api_port is None or 1 <= self.agent_api_port <= 65_535),
            ("address", is_plain_text(self.address)),
            ("token", hmac.compare_digest(given, (join_token or "").encode()) and join_token is not None),
            ("wg_public_key", self.wg_public_key is None or is_plain_text(self.wg_public_key)),
            ("wg_listen_port", not wireguard or 1 <= (self.wg_listen_port or 1) <= 65_535),
            ("role", self.role is None or is_storable(self.role, 32)),
            ("region", self.region is None or is_storable(self.region, 128)),
            ("labels", self.labels is None or is_storable(self.labels, MAX_LABELS)),
            ("gpu_model", self.gpu_model is None or is_storable(self.gpu_model, 128)),
        )
        for name, kept in rules:
            if not kept:
                raise Problem(400, f"invalid {name}")
        if self.gpu_count > 2**32 - 1:
            raise Problem(400, "gpu_count too large")


MAX_LABELS = 512
"""Bytes of an agent's labels."""


class Registered(BaseModel):
    """A new agent's id, and its place in the overlay network if it asked for one."""

    id: str
    node_id: int | None = Field(default=None, exclude_if=lambda value: value is None)
    overlay_ip: str | None = Field(default=None, exclude_if=lambda value: value is None)
    peers: list[Peer] | None = Field(default=None, exclude_if=lambda value: value is None)


class Peer(BaseModel):
    """A member of the overlay network."""

    node_id: int
    agent_id: str
    public_key: str
    endpoint: str
    overlay_ip: str
    container_subnet: str


class PeersQuery(PageQuery):
    """Which peers to list."""

    servers_only: Literal["0", "1"] = Field("0", description="`1` for those alone whose agents are servers, too")


class Beat(BaseModel):
    """What an agent reports of itself with each heartbeat. What is absent counts as 0."""

    cpu_used: Count = 0
    memory_used_mb: Count = 0
    containers: Count = 0
    gpu_used: Count = 0
    gpu_health: Annotated[str, BeforeValidator(_read_health)] = "healthy"


class Beaten(BaseModel):
    """How the agent stood before this heartbeat, and how many members the overlay network has."""

    status: str
    peers_count: int


class LabelsIn(BaseModel):
    """The labels that replace an agent's."""

    labels: str = Field(description=f"Words separated by commas, at most {MAX_LABELS} bytes")


class AgentOut(BaseModel):
    """An agent. Members that were never set are absent; times are seconds since 1970."""

    id: str
    address: str
    status: str = Field(description="`active`, `draining` or `offline`")
    agent_api_port: int | None = None
    cpu_cores: int
    memory_mb: int
    cpu_used: int
    memory_used_mb: int
    containers: int
    last_heartbeat: int
    node_id: int | None = None
    wg_public_key: str | None = None
    overlay_ip: str | None = None
    role: str
    region: str | None = None
    labels: str
    gpu_count: int = 0
    gpu_used: int = 0
    gpu_model: str | None = None
    gpu_vram_mb: int | None = None
    registered_at: int
    drained: bool = Field(description="Whether it was drained and nothing of what it ran is left on it")
    waits_for: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="What a draining agent still runs, and why no other can take it",
    )
