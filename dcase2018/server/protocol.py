"""Messages between the server and its worker processes, over standard input and output.

A request is a line of JSON. The first one is `{"runs": [[path, ...], ...]}`. Each later one is
`{"path": path, "response": kind, "run": index}`, where `kind` is `TAG`, `STREAM`, `CLIP` or `AUDIO`. The run
counts for `TAG` and `CLIP`. `{}` cancels the current request.

A response is a sequence of messages: one byte for the kind, 4 bytes for the length, and JSON. It has any
number of `RESULT` and `PROGRESS` messages, then one `END` or `ERROR`.
"""

import asyncio
import json
import struct
from typing import Any

RESULT, PROGRESS, END, ERROR = b"+", b"%", b".", b"!"

TAG, STREAM, CLIP, AUDIO = "tag", "stream", "clip", "audio"

MAX_HOURS = 4  # maximum duration of a recording

_HEADER = struct.Struct(">cI")


class RequestError(Exception):
    """A request failed. `status` is the HTTP status, `message` the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def encode(kind: bytes, values: dict[str, Any]) -> bytes:
    """Encode a message."""
    payload = json.dumps(values, separators=(",", ":")).encode()
    return _HEADER.pack(kind, len(payload)) + payload


class MessageReader:
    """Read messages. A cancelled `read` loses no data: the next one returns the whole message."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.stream = stream
        self._header = b""

    async def read(self) -> tuple[bytes, bytes]:
        """Return the kind and the JSON of the next message.

        Raises
        ------
        IncompleteReadError
            If the stream ends.
        """
        self._header = self._header or await self.stream.readexactly(_HEADER.size)
        kind, length = _HEADER.unpack(self._header)
        payload = await self.stream.readexactly(length)
        self._header = b""
        return kind, payload
