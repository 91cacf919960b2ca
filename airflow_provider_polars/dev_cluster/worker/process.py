"""The process of a worker: it registers with the scheduler, sends heartbeats, and does what it is told."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import polars as pl

from . import execution, explain, frames, plans

HEARTBEAT_SECONDS = 1.0
MEMORY_CHECK_SECONDS = 0.02
PLANNING_THREADS = 4
Outbox: TypeAlias = "queue.SimpleQueue[bytes | None]"


def main() -> None:
    """Work as the line of JSON on standard input says, until the scheduler ends the connection.

    It holds ``address``, ``token``, ``name``, ``role``, ``memory_limit`` (bytes, or None) and ``parent`` (process id).
    """
    job = json.loads(sys.stdin.readline())
    _die_with(job["parent"])
    outbox: Outbox = queue.SimpleQueue()
    outbox.put(
        frames.pack(
            {
                "is": "hello",
                "name": job["name"],
                "role": job["role"],
                "pid": os.getpid(),
                "polars": pl.__version__,
                "python": platform.python_version(),
                "header": base64.b64encode(plans.header()).decode(),
            }
        )
    )
    channel = grpc.insecure_channel(job["address"], options=frames.CHANNEL_OPTIONS)
    connect = channel.stream_stream(frames.CONNECT)
    threading.Thread(target=_send_heartbeats, args=(outbox,), daemon=True).start()
    runs, planning = ThreadPoolExecutor(1), ThreadPoolExecutor(PLANNING_THREADS)
    try:
        for frame in connect(iter(outbox.get, None), metadata=(("x-worker-token", job["token"]),)):
            message, body = frames.unpack(frame)
            if message["do"] == "plan":
                planning.submit(_plan, outbox, message, body)
            else:
                runs.submit(_run, outbox, message, body, job["memory_limit"])
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            print(f"{job['name']}: the scheduler ended the connection: {error.details()}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)  # a query may still run; nobody wants it any more


def _plan(outbox: Outbox, message: dict[str, Any], body: bytes) -> None:
    try:
        answer = explain.plan(message, body)
    except BaseException as error:
        answer = {"error": execution.describe(error)}
    outbox.put(frames.pack({**answer, "is": "planned", "id": message["id"]}))


def _run(outbox: Outbox, message: dict[str, Any], body: bytes, memory_limit: int | None) -> None:
    ended = threading.Event()
    if memory_limit is not None:
        threading.Thread(target=_watch_memory, args=(outbox, message["id"], memory_limit, ended), daemon=True).start()
    try:
        answer, head = execution.run(message, body)
    except BaseException as error:
        answer, head = {"error": execution.describe(error)}, b""
    ended.set()
    outbox.put(frames.pack({**answer, "is": "done", "id": message["id"]}, head))


def _watch_memory(outbox: Outbox, query_id: str, limit: int, ended: threading.Event) -> None:
    while not ended.wait(MEMORY_CHECK_SECONDS):
        if (used := _resident_bytes()) > limit:
            text = f"MemoryError: the query used {used / 1e9:.2f} GB; each worker may use {limit / 1e9:g} GB"
            outbox.put(frames.pack({"is": "done", "id": query_id, "error": text, "exhausted": True}))
            return


def _send_heartbeats(outbox: Outbox) -> None:
    while True:
        time.sleep(HEARTBEAT_SECONDS)
        outbox.put(frames.pack({"is": "heartbeat", "resident_bytes": _resident_bytes()}))


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
