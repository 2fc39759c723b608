"""OPA's Wasm ABI 1.2+, spoken directly: one instance, its memory, the one-shot ``opa_eval``.

Rules (openpolicyagent.org/docs/wasm):

* the host owns the memory, bounded by its type and by the store; growth past the bound aborts the evaluation;
* data is parsed once; each evaluation starts again from the heap pointer saved after that, so nothing of one
  evaluation can be seen by the next, and memory does not grow with their number;
* a module that needs a builtin of its host is refused: no clock, randomness or network can come in that way;
* after any trap the instance is never used again (the owner makes a new one).

Not thread-safe: ``sidecar.policy.engine`` holds a lock around it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import wasmtime

from contracts.errors import NotTrusted
from sidecar.policy.deadline import Ticker
from sidecar.policy.errors import PolicyFailed

ABI_VERSION = 1
ABI_MINOR_MIN = 2
"""The one-shot ``opa_eval`` came with 1.2."""

PAGE_BYTES = 65536
LOAD_TIMEOUT_MS = 10_000
"""Instantiate and parse the data of the largest environment: 100,000 agents take 0.1 s."""

ANSWER_BYTES_MAX = 8 * 1024 * 1024
ANSWER_CHUNK_BYTES = 16 * 1024
MODULES_HELD_MAX = 4
"""Compiled policies kept: the active release's, the one before, a candidate's."""

ABORT_TEXT_BYTES_MAX = 512
HEAP_ALIGNMENT = 16
_BUILTIN_ARGUMENTS_MAX = 4
_I32 = wasmtime.ValType.i32
_UNFIT = (wasmtime.WasmtimeError, TypeError, ValueError, IndexError)
"""What the runtime raises when a module's functions or addresses are not those of the ABI."""


@cache
def engine() -> wasmtime.Engine:
    """The process's compiler: deadlines by epoch, no threads or other proposals that a policy has no use for."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.wasm_threads = False
    return wasmtime.Engine(config)


@cache
def ticker() -> Ticker:
    """The process's ticker."""
    return Ticker(engine())


@lru_cache(maxsize=MODULES_HELD_MAX)
def compile_module(wasm: bytes) -> wasmtime.Module:
    """Compile (0.1 to 0.3 s), once for the releases that share a policy. Raises ``NotTrusted RELEASE_ENGINE``."""
    try:
        return wasmtime.Module(engine(), wasm)
    except (wasmtime.WasmtimeError, ValueError) as error:
        raise NotTrusted("RELEASE_ENGINE", f"policy.wasm does not compile: {str(error)[:200]}") from error


class Machine:
    """One instance of a policy module with its data."""

    def __init__(self, module: wasmtime.Module, data: bytes, *, memory_bytes_max: int) -> None:
        self._store = wasmtime.Store(engine())
        self._store.set_limits(memory_size=memory_bytes_max, instances=1, memories=1)
        try:
            with ticker().deadline(self._store, LOAD_TIMEOUT_MS):
                self._instantiate(module, memory_bytes_max // PAGE_BYTES)
                self._load(data)
        except (wasmtime.Trap, PolicyFailed, *_UNFIT) as error:
            raise NotTrusted("RELEASE_ENGINE", f"the policy does not load: {str(error)[:300]}") from error

    def evaluate(self, document: bytes, deadline_ms: int) -> bytes:
        """The JSON result set for a JSON input. Raises ``PolicyFailed``; then this instance is spent."""
        try:
            with ticker().deadline(self._store, deadline_ms):
                address, heap = self._place(document)
                answer = self._call("opa_eval", 0, 0, self._data, address, len(document), heap, 0)
            return self._text(answer, ANSWER_BYTES_MAX)
        except wasmtime.Trap as trap:
            late = trap.trap_code == wasmtime.TrapCode.INTERRUPT
            raise PolicyFailed(f"no answer in {deadline_ms} ms" if late else f"trap: {trap.message[:200]}") from trap
        except _UNFIT as error:
            raise PolicyFailed(f"evaluation failed: {str(error)[:200]}") from error

    def _instantiate(self, module: wasmtime.Module, pages_max: int) -> None:
        limits = wasmtime.Limits(_memory_pages_min(module), pages_max)
        self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(limits))
        linker = wasmtime.Linker(engine())
        linker.define(self._store, "env", "memory", self._memory)
        self._define(linker, "opa_abort", 1, _weakly(self._abort), answers=False)
        self._define(linker, "opa_println", 1, _nothing, answers=False)
        for count in range(_BUILTIN_ARGUMENTS_MAX + 1):
            self._define(linker, f"opa_builtin{count}", count + 2, _no_builtin, answers=True)
        self._exports = linker.instantiate(self._store, module).exports(self._store)
        self._functions: dict[str, wasmtime.Func] = {}
        self._check_abi()

    def _define(self, linker: wasmtime.Linker, name: str, arguments: int, function: Any, *, answers: bool) -> None:
        kind = wasmtime.FuncType([_I32()] * arguments, [_I32()] if answers else [])
        linker.define(self._store, "env", name, wasmtime.Func(self._store, kind, function))

    def _check_abi(self) -> None:
        major, minor = (self._global(f"opa_wasm_abi_{part}version") for part in ("", "minor_"))
        if major != ABI_VERSION or minor < ABI_MINOR_MIN:
            raise PolicyFailed(f"Wasm ABI {major}.{minor}, not {ABI_VERSION}.{ABI_MINOR_MIN} or later")
        asked = json.loads(self._text(self._call("opa_json_dump", self._call("builtins")), ANSWER_CHUNK_BYTES))
        if asked:
            raise PolicyFailed(f"the policy needs builtins of its host, which has none: {sorted(asked)}")

    def _load(self, data: bytes) -> None:
        address = self._call("opa_malloc", len(data))
        self._memory.write(self._store, data, address)
        self._data = self._call("opa_json_parse", address, len(data))
        if self._data == 0:
            raise PolicyFailed("the data is not JSON")
        self._heap = _aligned(self._call("opa_heap_ptr_get"))

    def _place(self, document: bytes) -> tuple[int, int]:
        """Write the input at the saved heap pointer; (its address, the heap pointer behind it)."""
        end = self._heap + len(document)
        if end >= self._memory.data_len(self._store):
            self._call("opa_heap_ptr_set", self._heap)
            self._call("opa_malloc", len(document) + HEAP_ALIGNMENT)
        self._memory.write(self._store, document, self._heap)
        return self._heap, _aligned(end)

    def _text(self, address: int, bytes_max: int) -> bytes:
        """The bytes from an address up to their NUL, read in chunks and bounded."""
        size, out = self._memory.data_len(self._store), bytearray()
        while len(out) < bytes_max and address < size:
            chunk = self._memory.read(self._store, address, min(address + ANSWER_CHUNK_BYTES, size))
            end = chunk.find(0)
            if end >= 0:
                return bytes(out + chunk[:end])
            out += chunk
            address += len(chunk)
        raise PolicyFailed(f"no readable answer within {bytes_max} bytes")

    def _call(self, name: str, *arguments: int) -> int:
        function = self._functions.get(name)
        if function is None:
            exported = self._exports.get(name)
            if not isinstance(exported, wasmtime.Func):
                raise PolicyFailed(f"the module has no function {name}")
            function = self._functions[name] = exported
        result = function(self._store, *arguments)
        return int(result) & 0xFFFFFFFF if result is not None else 0

    def _global(self, name: str) -> int:
        exported = self._exports.get(name)
        if not isinstance(exported, wasmtime.Global):
            raise PolicyFailed(f"the module has no {name}: it was not made by opa build -t wasm")
        return int(exported.value(self._store))

    def _abort(self, address: int) -> None:
        text = self._text(address & 0xFFFFFFFF, ABORT_TEXT_BYTES_MAX).decode("utf-8", "replace")
        raise PolicyFailed(f"the policy aborted: {text[:200]}")


def _memory_pages_min(module: wasmtime.Module) -> int:
    for wanted in module.imports:
        if wanted.module == "env" and wanted.name == "memory" and isinstance(wanted.type, wasmtime.MemoryType):
            return wanted.type.limits.min
    raise PolicyFailed("the module does not import its memory: it was not made by opa build -t wasm")


def _weakly(method: Callable[[int], None]) -> Callable[[int], None]:
    """A callback that does not keep its instance: the runtime holds callbacks until the store, which the instance
    owns, is gone; a strong one would keep each spent instance and its memory for ever.
    """
    reference = weakref.WeakMethod(method)

    def call(argument: int) -> None:
        held = reference()
        if held is not None:
            held(argument)

    return call


def _aligned(pointer: int) -> int:
    return -(-pointer // HEAP_ALIGNMENT) * HEAP_ALIGNMENT


def _nothing(_: int) -> None:
    return None


def _no_builtin(*_: int) -> int:
    raise PolicyFailed("the policy called a builtin of its host, which has none")
