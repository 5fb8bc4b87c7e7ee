"""What the routes of secrets take."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from yoq_web.names import NewName


def _check_encodable(value: SecretStr) -> SecretStr:
    # JSON never gets this far with half a character; a command line can.
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("not valid UTF-8") from None
    return value


class SecretIn(BaseModel):
    """A secret to set. The value is never readable over HTTP again."""

    name: NewName
    value: Annotated[SecretStr, AfterValidator(_check_encodable)] = Field(json_schema_extra={"writeOnly": True})
