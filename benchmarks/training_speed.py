"""How much of a training epoch is not network, and how fast is it against a plain PyTorch loop?

    python -m benchmarks.training_speed [--data FOLDER] [--encoder E --decoder D] [--image-size 128]
                                        [--batch-size 8] [--threads 2] [--frames 240] [--rounds 5]
                                        [--variants]

The claim: at most 10 % of an epoch passes outside of forward and backward.

How it is taken. FOLDER holds a study as CAMUS is delivered (`images/`, `masks/`, `index.csv`);
without one, synthetic frames are drawn. Two ways to train the same network, from the same random
weights, with the same loss, on the same frames, as many steps an epoch and the same batch size:

- `ours`: the loop that every training of the trainer runs (`training_loop.fit`), with a spec of the
  architecture search, which also averages its weights and writes a checkpoint after every epoch.
- `plain`: what one writes first: a Dataset that reads and decodes the PNGs, resizes and applies the
  same albumentations, a DataLoader, float32 in NCHW, AdamW as it comes. Once with
  num_workers=0 and once with 2 persistent workers; the ratio is against the better of the two.

After each epoch of `ours` one of either `plain` runs, in a process of its own that waits meanwhile;
the first of each is warm-up. Ratios are medians over the rounds, so that what else the machine does
falls on all three. An epoch of `ours` lasts from the end of one report to the next, so nothing
between epochs is left out: reports come in the first step of the next epoch, when the checkpoint
that is written meanwhile is complete. `forward` is network and loss; `backward` is backward;
`waiting` is for the next batch; `checkpoint` is what training waits for it; `optimizer` and
`averaging` are what they say; `rest` is all else: metrics, Lightning, schedules. `cpu_ratio`
compares processor time (with that of the DataLoader's workers), which says more than wall time
where other work shares the machine.

--variants measures single steps with float32, bfloat16 and torch.compile in turn, and how long
compiling takes. What it said is under `FINDINGS`.
"""

import argparse
import copy
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.results import machine, write_result
from clients.study_folder import StudyFrame, read_mask, read_study
from clients.synthetic import StudySize, write_study
from services.platform.masks import encode_mask_png
from trainer.adapters import training_module
from trainer.adapters.augmentations import Augmenter
from trainer.adapters.checkpoint_file import CheckpointFile
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.adapters.smp_models import build_network
from trainer.adapters.training_loop import fit
from trainer.adapters.training_module import TrainingModule, segmentation_loss
from trainer.domain.specs import AugmentationPreset, ModelSpec, Schedule, TrainingSpec

TARGET = 0.10
NETWORKS = (("Linknet", "resnet18"), ("Unet", "resnet34"))
PARTS = ("forward", "backward", "waiting", "optimizer", "averaging", "checkpoint", "rest")
EXTRA_EPOCHS = 2
"""The first and the last, which are not compared."""
WAYS = ("ours", "plain_0", "plain_2")

FINDINGS = {
    "conditions": "single steps of Linknet-resnet18 at 128 x 128, batches of 8, one thread of an "
    "EPYC with AVX512_BF16, torch 2.13; processor time, median of 3, load average 6",
    "torch.compile": "does not pay: 305 instead of 327 ms a step in float32, 213 instead of 206 in "
    "bfloat16, and the first step takes 23 to 32 s of processor time, more than the 27 epochs of a "
    "small trial could win back; a restarted trial would pay it again",
    "bfloat16": "pays where the processor multiplies it: 206 instead of 327 ms a step. Validation "
    "IoU after 8 epochs on 160 CAMUS frames at 96 x 96: 0.800 and 0.791 (two seeds) against 0.787 "
    "and 0.790 in float32",
    "page faults": "keeping freed memory takes 8,000 faults a step to none and 208 ms of processor "
    "time to 184 (batches of 4; in bfloat16 139 to 129)",
    "augmentation": "0.12 ms a frame (light) and 0.13 (document) at 128 x 128, of which Compose "
    "takes 0.004; a training step takes 30 a frame",
}
"""What was measured once and decided on; `--variants` repeats the single steps."""


@dataclass
class Clock:
    """Adds up the seconds of parts; a part does not count those it contains."""

    seconds: defaultdict[str, float] = field(default_factory=partial(defaultdict, float))
    _running: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs inside."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a part."""
        self._settle()
        self._running.append(name)

    def leave(self) -> None:
        """End the part that began last."""
        self._settle()
        self._running.pop()

    def take(self) -> defaultdict[str, float]:
        """Return what was counted and begin anew; what is running goes on after `resume`."""
        self._settle()
        seconds, self.seconds = self.seconds, defaultdict(float)
        return seconds

    def resume(self) -> None:
        """Count on from now, after a pause that began with `take`."""
        self._since = time.perf_counter()

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class TimedModule(TrainingModule):
    """The module that is trained, with a clock at every part of a step."""

    def __init__(self, spec: TrainingSpec, data: FrameCache, clock: Clock) -> None:
        super().__init__(spec, data, warm_start=None)
        self._clock = clock
        self.network.register_forward_pre_hook(lambda *_: clock.enter("forward"))
        self.network.register_forward_hook(lambda *_: clock.leave())

    def train_dataloader(self) -> Any:
        """The epoch's batches, timed."""
        return TimedBatches(super().train_dataloader(), self._clock)

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward, timed."""
        with self._clock.part("backward"):
            super().backward(loss, *args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """The optimizer's step, timed without the forward and backward that it calls."""

        def closure() -> Any:
            with self._clock.part("rest"):  # without the forward and backward inside
                return optimizer_closure()

        with self._clock.part("optimizer"):
            super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def on_train_batch_end(self, *args: Any) -> None:
        """Averaging, timed."""
        with self._clock.part("averaging"):
            super().on_train_batch_end(*args)


class TimedBatches:
    """Batches of an epoch, with a clock at the wait for each."""

    def __init__(self, batches: Any, clock: Clock) -> None:
        self._batches = batches
        self._clock = clock

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        with self._clock.part("waiting"):
            batches = iter(self._batches)
        while True:
            with self._clock.part("waiting"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class PngFrames(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Frames read, decoded, resized and augmented anew in every epoch."""

    def __init__(self, study: list[StudyFrame], size: int, preset: AugmentationPreset) -> None:
        self._study = study
        self._size = (size, size)
        self._augment = Augmenter(preset, seed=0)

    def __len__(self) -> int:
        return len(self._study)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        frame = self._study[index]
        image = cv2.imread(str(frame.image), cv2.IMREAD_GRAYSCALE)
        labels = cv2.imread(str(frame.mask), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert labels is not None
        mask = (labels == 1).astype(np.uint8)
        image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, self._size, interpolation=cv2.INTER_NEAREST)
        varied, varied_mask = self._augment(
            np.asarray(image, dtype=np.uint8), np.asarray(mask, dtype=np.uint8)
        )
        return (
            torch.from_numpy(varied.astype(np.float32))[None],  # the network scales it to [0, 1]
            torch.from_numpy(varied_mask.astype(np.float32))[None],
        )


class PlainLoop:
    """Training as one writes it first."""

    def __init__(self, study: list[StudyFrame], spec: TrainingSpec, workers: int) -> None:
        torch.manual_seed(spec.seed)
        self._network = build_network(spec.model, spec.dropout, spec.image_size).train()
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )
        self._loader = DataLoader(
            PngFrames(study, spec.image_size, spec.augmentation),
            batch_size=spec.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="fork" if workers > 0 else None,  # the default of Linux
        )

    def epoch(self) -> float:
        """Train an epoch and return its mean loss."""
        total = 0.0
        for images, masks in self._loader:
            self._optimizer.zero_grad()
            loss = segmentation_loss(self._network(images), masks)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            total += loss.item()
        return total / len(self._loader)


@dataclass(frozen=True, slots=True)
class PlainEpoch:
    """What an epoch of the plain loop took."""

    loss: float
    wall_s: float
    cpu_s: float


class PlainProcess:
    """A plain loop in a process of its own, whose libraries keep their settings."""

    def __init__(
        self, study: list[StudyFrame], spec: TrainingSpec, workers: int, threads: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run_plain, args=(theirs, study, spec, workers, threads)
        )
        self._process.start()
        theirs.close()

    def epoch(self) -> PlainEpoch:
        """Train an epoch."""
        self._pipe.send(True)
        epoch: PlainEpoch = self._pipe.recv()
        return epoch

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _run_plain(
    pipe: Connection, study: list[StudyFrame], spec: TrainingSpec, workers: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    loop = PlainLoop(study, spec, workers)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        started, cpu = time.perf_counter(), processor_seconds()
        loss = loop.epoch()
        pipe.send(PlainEpoch(loss, time.perf_counter() - started, processor_seconds() - cpu))


def processor_seconds() -> float:
    """Return the processor time of this process and of the workers it has started."""
    total = 0.0
    for process in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


class Rounds:
    """An epoch of each way, in turn.

    Attributes:
        rounds: For each round, seconds and processor seconds of each way, and parts of `ours`.
        losses: Mean loss of the plain loops' last epoch.
    """

    def __init__(self, plain: Mapping[str, PlainProcess], clock: Clock, epochs: int) -> None:
        self.rounds: list[dict[str, float]] = []
        self.losses: dict[str, float] = {}
        self._plain = plain
        self._clock = clock
        self._epochs = epochs
        self._start()

    def after_epoch(self, done: int) -> None:
        """Note the epoch of `ours` and run one of each plain way."""
        numbers = {
            "ours_s": time.perf_counter() - self._started,
            "ours_cpu_s": time.process_time() - self._cpu,
        }
        parts = self._clock.take()
        parts["rest"] += numbers["ours_s"] - sum(parts.values())
        numbers |= {f"{name}_s": parts[name] for name in PARTS}
        for name, loop in self._plain.items():
            epoch = loop.epoch()
            self.losses[name] = epoch.loss
            numbers[f"{name}_s"], numbers[f"{name}_cpu_s"] = epoch.wall_s, epoch.cpu_s
        if 1 < done < self._epochs:  # the first is warm-up; the last ends before a step
            self.rounds.append(numbers)
        print("  ".join(f"{k} {v:.2f}" for k, v in numbers.items()), file=sys.stderr)
        self._start()

    def _start(self) -> None:
        self._clock.resume()
        self._cpu = time.process_time()
        self._started = time.perf_counter()


def measure(
    study: list[StudyFrame], spec: TrainingSpec, arguments: argparse.Namespace
) -> dict[str, object]:
    """Compare one network with one augmentation."""
    clock = Clock()
    threads = arguments.threads
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = time.perf_counter()
        data = FrameCache.build(folder / "frames", spec.image_size, sources(study))
        build_s = time.perf_counter() - started
        module = TimedModule(spec, data, clock)
        plain = {
            f"plain_{workers}": stack.enter_context(
                closing(PlainProcess(study, spec, workers, threads))
            )
            for workers in (0, 2)
        }
        epochs = arguments.rounds + EXTRA_EPOCHS
        rounds = Rounds(plain, clock, epochs)

        def timed_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            with clock.part("forward"):
                return segmentation_loss(logits, masks)

        stack.enter_context(mock.patch.object(training_module, "segmentation_loss", timed_loss))
        for waited_for in ("save_checkpoint", "finish"):
            timed = timed_as(clock, "checkpoint", getattr(CheckpointFile, waited_for))
            stack.enter_context(mock.patch.object(CheckpointFile, waited_for, timed))
        fit(module, folder / "output", epochs, rounds.after_epoch, num_threads=threads)
    return {
        "network": str(spec.model),
        "augmentation": str(spec.augmentation),
        "cache_ms_per_frame": 1e3 * build_s / len(study),
        **summarize(rounds.rounds, len(study)),
        "losses_after_last_epoch": {"ours": module.loss, **rounds.losses},
        "rounds": rounds.rounds,
    }


def timed_as(clock: Clock, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its time counted as a part."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        with clock.part(part):
            return function(*args, **kwargs)

    return timed


def sources(study: list[StudyFrame]) -> list[FrameSource]:
    """Return the frames as a job gets them."""

    def mask_png(path: Path) -> bytes:
        return encode_mask_png(read_mask(path))

    return [
        FrameSource(frame.name, frame.image.read_bytes, partial(mask_png, frame.mask))
        for frame in study
        if frame.mask is not None
    ]


def summarize(rounds: list[dict[str, float]], n_frames: int) -> dict[str, object]:
    """Return shares and ratios as medians over the rounds."""

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return round(statistics.median(of(numbers) for numbers in rounds), 4)

    def best(numbers: dict[str, float], what: str) -> float:
        return min(numbers[f"plain_0_{what}"], numbers[f"plain_2_{what}"])

    return {
        "share_outside_forward_backward": median(
            lambda r: 1.0 - (r["forward_s"] + r["backward_s"]) / r["ours_s"]
        ),
        "target": TARGET,
        "shares": {
            name: median(lambda r, name=name: r[f"{name}_s"] / r["ours_s"])  # type: ignore[misc]
            for name in PARTS
        },
        "frames_per_s": {
            way: median(lambda r, way=way: n_frames / r[f"{way}_s"])  # type: ignore[misc]
            for way in WAYS
        },
        "ratio": median(lambda r: best(r, "s") / r["ours_s"]),
        "cpu_ratio": median(lambda r: best(r, "cpu_s") / r["ours_cpu_s"]),
        "cpu_ms_per_frame": {
            way: median(lambda r, way=way: 1e3 * r[f"{way}_cpu_s"] / n_frames)  # type: ignore[misc]
            for way in WAYS
        },
    }


def step_variants(spec: TrainingSpec, rounds: int) -> dict[str, object]:
    """Return milliseconds of wall and processor time of a step, and seconds of compiling."""
    size = (spec.batch_size, 1, spec.image_size, spec.image_size)
    images = torch.randint(0, 256, size, dtype=torch.uint8)
    masks = (torch.rand(size) > 0.9).float()
    network = build_network(spec.model, None, spec.image_size).train()
    last = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    variants: dict[str, tuple[Any, bool]] = {
        "float32": (last, False),
        "bfloat16": (copy.deepcopy(last), True),
        "float32_compiled": (torch.compile(copy.deepcopy(last)), False),
        "bfloat16_compiled": (torch.compile(copy.deepcopy(last)), True),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, (model, mixed) in variants.items():
            started, cpu = time.perf_counter(), time.process_time()
            with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
                logits = model(images)
            segmentation_loss(logits.float(), masks).backward()  # type: ignore[no-untyped-call]
            model.zero_grad()
            times[name].append((time.perf_counter() - started, time.process_time() - cpu))
            print(name, times[name][-1], file=sys.stderr)
    return {
        name: {
            "first_step_s": round(values[0][0], 2),
            "step_ms": round(1e3 * statistics.median(wall for wall, _ in values[1:]), 2),
            "step_cpu_ms": round(1e3 * statistics.median(cpu for _, cpu in values[1:]), 2),
        }
        for name, values in times.items()
    }


def read_frames(folder: Path, count: int, batch_size: int) -> list[StudyFrame]:
    """Return the first frames that have masks."""
    study = [frame for frame in read_study(folder) if frame.mask is not None]
    study = study[: min(len(study), count) // batch_size * batch_size]  # equal steps on all sides
    if not study:
        raise SystemExit(f"{folder} holds too few frames with a mask.")
    return study


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="a study in CAMUS's form; else synthetic")
    parser.add_argument("--decoder")
    parser.add_argument("--encoder")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    parser.add_argument("--frames", type=int, default=240, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", action="store_true", help="also measure single steps")
    arguments = parser.parse_args()
    networks = [
        (arguments.decoder or decoder, arguments.encoder or encoder)
        for decoder, encoder in (NETWORKS[:1] if arguments.encoder else NETWORKS)
    ]
    before = machine()
    cases, variants = [], {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data is None:
            write_study(Path(folder), StudySize(patients=-(-arguments.frames // 4)))
        study = read_frames(arguments.data or Path(folder), arguments.frames, arguments.batch_size)
        for decoder, encoder in networks:
            spec = TrainingSpec(
                ModelSpec(decoder, encoder),
                image_size=arguments.image_size,
                batch_size=arguments.batch_size,
                epochs=arguments.rounds + EXTRA_EPOCHS,
                schedule=Schedule.CONSTANT,
                averaging=True,
            )
            for preset in (AugmentationPreset.LIGHT, AugmentationPreset.DOCUMENT):
                case = measure(study, replace(spec, augmentation=preset), arguments)
                cases.append(case)
                print(
                    f"{case['network']}, {preset}: {case['share_outside_forward_backward']:.1%} "
                    f"outside forward and backward (target {TARGET:.0%}); "
                    f"{case['ratio']:.2f} times the frames a second of a plain loop, "
                    f"{case['cpu_ratio']:.2f} in processor time"
                )
            if arguments.variants:
                variants[str(spec.model)] = step_variants(spec, arguments.rounds)
    settings = {**vars(arguments), "data": arguments.data.name if arguments.data else "synthetic"}
    path = write_result(
        "training_speed",
        {
            "benchmark": "training_speed",
            "settings": settings,
            "machine": before,
            "cases": cases,
            "step_variants": variants,
            "findings": FINDINGS,
        },
    )
    print(path.name)


if __name__ == "__main__":
    main()
