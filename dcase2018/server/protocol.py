"""What goes between the process that serves and those that listen, by standard input and output.

Asked is in lines of JSON: first `{"runs": [[path, ...], ...]}`, then each time `{"path": ..., "run": number}`
for an answer of the API, or `{"path": ...}` for what the page shows. `{}` ends the work that is under way.
An answer is a row of messages: a letter, the length of what follows in 4 bytes, and JSON. After any number
of PARTs, and between them how much is DONE, comes one that ends it: the END, or a PROBLEM.
"""

import asyncio
import json
import struct
from typing import Any

PART, DONE, END, PROBLEM = b"+", b"%", b".", b"!"

LONGEST_HOURS = 4  # of a recording

_HEAD = struct.Struct(">cI")


def packed(kind: bytes, values: dict[str, Any]) -> bytes:
    """Make a message."""
    text = json.dumps(values, separators=(",", ":")).encode()
    return _HEAD.pack(kind, len(text)) + text


class Inbox:
    """Reads messages. Who waits for one may give up: the next who does gets it, whole."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.stream = stream
        self.head = b""

    async def read(self) -> tuple[bytes, bytes]:
        """Read a message: its letter and its JSON.

        Raises
        ------
        IncompleteReadError
            If the stream ends.
        """
        self.head = self.head or await self.stream.readexactly(_HEAD.size)
        kind, length = _HEAD.unpack(self.head)
        text = await self.stream.readexactly(length)
        self.head = b""
        return kind, text
