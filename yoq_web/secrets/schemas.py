"""What the routes of secrets take."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr

from yoq_web.schemas import Name


class SecretIn(BaseModel):
    """A secret to set. The value is never readable over HTTP again."""

    name: Name
    value: SecretStr = Field(json_schema_extra={"writeOnly": True})
