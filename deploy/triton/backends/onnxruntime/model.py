"""Python-based Triton backend that answers for ``backend: "onnxruntime"`` on a CPU.

Triton starts one process of this backend per model version and hands every dynamic batch to
``execute``. A model repository needs nothing for it: the same ``config.pbtxt`` and ``model.onnx``
run on NVIDIA's container with the native backend. Runs inside the server's own environment
(numpy below 2, onnxruntime), never inside EchoLoop's.

Understood ``parameters`` of config.pbtxt, named as in NVIDIA's backend: ``intra_op_thread_count``,
``inter_op_thread_count``. Environment defaults: ``ECHOLOOP_TRITON_INTRA_OP_THREADS`` (0 = all the
processors this process may use), ``ECHOLOOP_TRITON_INTER_OP_THREADS`` (1) and
``ECHOLOOP_TRITON_ALLOW_SPINNING`` (0).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Array = NDArray[Any]

DEFAULT_MODEL_FILENAME = "model.onnx"

# ONNX Runtime's type names by Triton's. What is absent (strings, bfloat16) is refused at load.
ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}


class ContractError(ValueError):
    """The ONNX file does not offer what config.pbtxt promises."""


@dataclass(frozen=True)
class Pending:
    """One request of a batch that waits for its answer."""

    index: int  # position in the batch Triton handed over
    feeds: dict[str, Array]  # each [b, ...], or [...] for a model without batching
    outputs: frozenset[str]  # requested names


class TritonPythonModel:
    """One loaded version: an ONNX Runtime session and the contract of its config."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load ``<version>/model.onnx`` and check it against the config.

        Raises:
            TritonModelException: the file is corrupt or breaks the contract; Triton then refuses
                the load and keeps the versions it has.
        """
        config = json.loads(args["model_config"])
        self._title = f"{args['model_name']} version {args['model_version']}"
        self._batching = int(config.get("max_batch_size", 0)) > 0
        filename = config.get("default_model_filename") or DEFAULT_MODEL_FILENAME
        path = Path(args["model_repository"], args["model_version"], filename)
        try:
            self._session = ort.InferenceSession(
                str(path), session_options(config), providers=["CPUExecutionProvider"]
            )
            check_contract(config, self._session, batching=self._batching)
        except Exception as exc:
            raise pb_utils.TritonModelException(f"{self._title}: {exc}") from exc
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer one dynamic batch, in order, one response for every request."""
        responses: list[Any] = [None] * len(requests)
        groups: dict[tuple[Any, ...], list[Pending]] = {}
        for index, request in enumerate(requests):
            try:
                pending = self._read(index, request)
            except Exception as exc:
                responses[index] = failure(f"{self._title}: {exc}", invalid=True)
                continue
            # Only same-shaped requests can share a run; with fixed dims that is all of them.
            signature = tuple(array.shape[1:] for array in pending.feeds.values())
            key = signature if self._batching else (index,)
            groups.setdefault(key, []).append(pending)
        for group in groups.values():
            self._answer(group, responses)
        return responses

    def finalize(self) -> None:
        """Release the session when Triton unloads the version."""
        del self._session

    def _read(self, index: int, request: Any) -> Pending:
        """Take inputs (views into shared memory, no copy) and requested outputs of a request."""
        feeds = {}
        for name in self._inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                raise ValueError(f"input '{name}' is missing")
            feeds[name] = tensor.as_numpy()
        requested = frozenset(request.requested_output_names()) or frozenset(self._outputs)
        return Pending(index, feeds, requested)

    def _answer(self, group: list[Pending], responses: list[Any]) -> None:
        """Run a group as one batch; when that fails, one by one, so that only the bad one fails."""
        try:
            answers = self._run(group)
        except Exception as exc:
            if len(group) > 1:
                for pending in group:
                    self._answer([pending], responses)
                return
            responses[group[0].index] = failure(
                f"{self._title}: {exc}", invalid=type(exc).__name__ == "InvalidArgument"
            )
            return
        for pending, answer in zip(group, answers, strict=True):
            tensors = [pb_utils.Tensor(name, array) for name, array in answer.items()]
            responses[pending.index] = pb_utils.InferenceResponse(output_tensors=tensors)

    def _run(self, group: list[Pending]) -> list[dict[str, Array]]:
        """Compute the union of the requested outputs in one session run.

        Returns:
            For each request the outputs that it asked for, split along the batch axis.
        """
        first = group[0]
        names = [name for name in self._outputs if any(name in p.outputs for p in group)]
        if len(group) == 1:
            feeds = first.feeds
        else:
            feeds = {name: np.concatenate([p.feeds[name] for p in group]) for name in first.feeds}
        results = dict(zip(names, self._session.run(names, feeds), strict=True))
        if len(group) == 1:
            return [{name: results[name] for name in names}]
        sizes = [len(next(iter(p.feeds.values()))) for p in group]
        ends = np.cumsum(sizes)
        for name, array in results.items():
            if len(array) != ends[-1]:
                raise ValueError(f"output '{name}' has {len(array)} rows for {ends[-1]} inputs")
        return [
            {name: results[name][end - size : end] for name in names if name in pending.outputs}
            for pending, size, end in zip(group, sizes, ends, strict=True)
        ]


def session_options(config: dict[str, Any]) -> ort.SessionOptions:
    """Build the session options from config parameters, then environment, then defaults.

    Threads that spin while they wait for each other are faster on idle processors (3 % for a
    27 ms model, 25 % for a 2 ms one) and slower by more than half on busy ones, because they take
    the processors from other versions and from training. So it is a choice, off by default; when
    on, it ends with each run, so that an idle version costs nothing.
    """
    options = ort.SessionOptions()
    usable = len(os.sched_getaffinity(0))
    intra = thread_count(config, "intra_op_thread_count", "ECHOLOOP_TRITON_INTRA_OP_THREADS", 0)
    options.intra_op_num_threads = intra or usable
    options.inter_op_num_threads = thread_count(
        config, "inter_op_thread_count", "ECHOLOOP_TRITON_INTER_OP_THREADS", 1
    )
    spinning = os.environ.get("ECHOLOOP_TRITON_ALLOW_SPINNING") == "1"
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A plan of the memory is kept for every batch size beside what the first run took: 1.7 instead
    # of 1.1 GiB for thirty passes of Unet-resnet18 at batch 8, and no faster.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


def thread_count(config: dict[str, Any], parameter: str, variable: str, default: int) -> int:
    """Return a thread count from the config, else from the environment, else the default.

    Raises:
        ContractError: not a whole number of at least 0.
    """
    configured = config.get("parameters", {}).get(parameter, {}).get("string_value")
    text = configured if configured is not None else os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise ContractError(f"{parameter} must be a whole number of at least 0, found '{text}'")
    return int(text)


def check_contract(
    config: dict[str, Any], session: ort.InferenceSession, *, batching: bool
) -> None:
    """Compare names, types and shapes of the config with those of the ONNX graph.

    Raises:
        ContractError: says which tensor differs and how.
    """
    offered_inputs = {entry.name: entry for entry in session.get_inputs()}
    offered_outputs = {entry.name: entry for entry in session.get_outputs()}
    promised_inputs = {entry["name"] for entry in config["input"]}
    if extra := set(offered_inputs) - promised_inputs:
        raise ContractError(f"the graph wants inputs that the config lacks: {sorted(extra)}")
    for kind, entries, offered in (
        ("input", config["input"], offered_inputs),
        ("output", config["output"], offered_outputs),
    ):
        for entry in entries:
            name = entry["name"]
            if name not in offered:
                raise ContractError(f"{kind} '{name}' is not in the graph: {sorted(offered)}")
            expected = ONNX_TYPES.get(entry["data_type"])
            if expected != offered[name].type:
                raise ContractError(
                    f"{kind} '{name}' is {offered[name].type} in the graph, "
                    f"{entry['data_type']} in the config"
                )
            dims = [int(d) for d in entry["dims"]]
            dims = [-1, *dims] if batching else dims
            if not compatible(offered[name].shape, dims):
                raise ContractError(
                    f"{kind} '{name}' has shape {offered[name].shape} in the graph, "
                    f"{dims} in the config"
                )


def compatible(graph: list[int | str | None], config: list[int]) -> bool:
    """Tell whether a graph shape (symbols and None are free) can satisfy a config shape."""
    if len(graph) != len(config):
        return False
    for offered, wanted in zip(graph, config, strict=True):
        if isinstance(offered, int) and offered > 0 and offered != wanted:
            return False
    return True


def failure(message: str, *, invalid: bool) -> Any:
    """Build the error response of one request."""
    code = pb_utils.TritonError.INVALID_ARG if invalid else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message, code))
