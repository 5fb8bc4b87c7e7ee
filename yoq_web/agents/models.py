"""The tables of agents and of their WireGuard peers."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model

ACTIVE = "active"
DRAINING = "draining"
OFFLINE = "offline"


class Agent(Model):
    """An agent. Times are seconds since 1970, but `registered_at`, which is also the order of agents: microseconds."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    agent_api_port: Mapped[int | None]
    status: Mapped[str]
    # As it was before the last beat: a beat answers it, and an UPDATE can return only what it leaves in the row.
    status_before: Mapped[str]
    # When an operator had it drained: it stays so while it is offline.
    draining_since: Mapped[int | None] = mapped_column(BigInteger)
    # When nothing of what a draining agent ran was left on it.
    drained_at: Mapped[int | None] = mapped_column(BigInteger)
    # What a draining agent still runs and why it cannot move, for people.
    waits_for: Mapped[str | None]
    cpu_cores: Mapped[int]
    memory_mb: Mapped[int]
    cpu_used: Mapped[int] = mapped_column(BigInteger)
    memory_used_mb: Mapped[int] = mapped_column(BigInteger)
    containers: Mapped[int] = mapped_column(BigInteger)
    last_heartbeat: Mapped[int] = mapped_column(BigInteger)
    registered_at: Mapped[int] = mapped_column(BigInteger)
    role: Mapped[str]
    region: Mapped[str | None]
    labels: Mapped[str]
    gpu_count: Mapped[int] = mapped_column(BigInteger)
    gpu_used: Mapped[int] = mapped_column(BigInteger)
    gpu_model: Mapped[str | None]
    gpu_vram_mb: Mapped[int | None] = mapped_column(BigInteger)
    gpu_health: Mapped[str]

    def __repr__(self) -> str:
        return f"<Agent {self.id} {self.status}>"


class DepartedAgent(Model):
    """An agent that was removed or forgotten. If it beats again it is told to end; times are seconds since 1970."""

    __tablename__ = "departed_agents"

    id: Mapped[str] = mapped_column(primary_key=True)
    departed_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<DepartedAgent {self.id}>"


class WireguardPeer(Model):
    """An agent's place in the overlay network; its addresses follow from `node_id`."""

    __tablename__ = "wireguard_peers"

    node_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"), unique=True)
    public_key: Mapped[str]
    endpoint: Mapped[str]

    def __repr__(self) -> str:
        return f"<WireguardPeer {self.node_id} {self.agent_id}>"
