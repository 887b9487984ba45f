"""Scalar summaries for TensorBoard, with any Keras backend."""

import os
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoardWriter:
    """An event file that continues after `step`; TensorBoard drops later steps of earlier files."""

    def __init__(self, folder: Path, step: int) -> None:
        self.writer = EventFileWriter(os.fspath(folder))
        start = SessionLog(status=SessionLog.START)
        self.writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def write(self, step: int, **scalars: float) -> None:
        """Write scalars of a step to disk, so that a checkpoint never precedes its events."""
        for tag, value in scalars.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
