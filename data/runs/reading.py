"""The run behind course_gpt/definitions: the course GPT, pretrained on WordNet's definitions and examples.

In a file of its own, since worker processes import it. A run that was killed goes on where it last saved itself.
"""

import io
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from transfer_utils import backbones, data, machine
from transfer_utils.backbones import GPT
from transfer_utils.training import language
from transfer_utils.training.language import Reading

HOW = Reading()
SAVE_EVERY = 100  # steps
LOOKS = (0, 10, 30, 100, 300, 1000, 3000, 6000)  # steps after which it writes something
BEGINNINGS = ("a small", "a person who", "the act of", "an edible")


def pretrain(folder: Path, name: str = "definitions", how: Reading = HOW) -> str:
    """Pretrain the course GPT, write <folder>/<name> with its card, and say how good it is."""
    torch.set_num_threads(1)
    tokens, valid = (language.stream(data.load_lines(split)) for split in ("train", "valid"))
    model = backbones.course_gpt(how.seed)
    looks = list(run(model, tokens, how, folder / f"{name}.run", valid))
    card = {
        "name": name,
        "architecture": "course_gpt",
        "lines_from": "data/texts/train.txt.xz",
        "tokens": len(tokens),
        "recipe": asdict(how),
        "looks": looks,
        "valid_loss": looks[-1]["valid_loss"],
        "seconds": looks[-1]["seconds"],
        "machine": "one thread of a two-core x86-64 server",
        "torch": torch.__version__,
        "licence": "MIT, as the course; the lines are WordNet 3.0's, see data/texts/WORDNET_LICENCE.txt",
    }
    backbones.save_checkpoint(folder / name, model, card)
    return f"{name}: valid loss {card['valid_loss']:.3f} after {card['seconds']:.0f} s"


def run(model: GPT, tokens: torch.Tensor, how: Reading, saved: Path, valid: torch.Tensor) -> Iterator[dict[str, Any]]:
    """Train from where `saved` left off, and save there; yields every look of LOOKS, those of earlier calls too."""
    optimiser = language.reader(model, how)
    done, seconds, looks = resume(model, optimiser, saved)
    started = time.perf_counter() - seconds
    yield from looks
    if not looks:
        looks.append(look(model, valid, 0, 0.0))
        yield looks[-1]
    for step, _ in enumerate(language.read(model, tokens, how, optimiser, done), start=done + 1):
        if step in LOOKS or step == how.steps:
            looks.append(look(model, valid, step, time.perf_counter() - started))
            yield looks[-1]
        if step % SAVE_EVERY == 0:
            keep(model, optimiser, step, time.perf_counter() - started, looks, saved)


def look(model: GPT, valid: torch.Tensor, step: int, seconds: float) -> dict[str, Any]:
    """What is kept of a moment of the run: the loss on lines that it never reads, and how it goes on."""
    written = [backbones.write(model, beginning, seed=0) for beginning in BEGINNINGS]
    loss = language.surprise(model, valid)
    return {"step": step, "seconds": round(seconds, 1), "valid_loss": round(loss, 4), "written": written}


def keep(
    model: GPT, optimiser: torch.optim.Optimizer, step: int, seconds: float, looks: list[dict[str, Any]], saved: Path
) -> None:
    """Save all that a run is."""
    content = io.BytesIO()
    parts = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**parts, "step": step, "seconds": seconds, "looks": looks}, content)
    saved.parent.mkdir(parents=True, exist_ok=True)
    machine.write_atomically(saved, content.getvalue())


def resume(model: GPT, optimiser: torch.optim.Optimizer, saved: Path) -> tuple[int, float, list[dict[str, Any]]]:
    """Fill model and optimiser with what was saved; the steps that were done, their seconds, and the looks so far."""
    if not saved.exists():
        return 0, 0.0, []
    parts = torch.load(saved, map_location="cpu", weights_only=True)
    model.load_state_dict(parts["model"])
    optimiser.load_state_dict(parts["optimiser"])
    return parts["step"], parts["seconds"], parts["looks"]
