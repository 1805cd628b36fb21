"""A search space and a network of it, as people read them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from clients import words

__all__ = ["network_lines", "space_lines"]

_EXPORTS: Final = {
    "segmenter": "ONNX export",
    "head_dropout": "Head dropout",
    "decoder_dropout": "Decoder dropout",
}
_KINDS: Final = {
    "measured": "this very network was exported",
    "by_parts": "its decoder and its encoder's family were exported",
}


def space_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a space holds: its size, its values, and what cannot be built of it."""
    size = summary["image_size"]
    invalid, excluded = summary["invalid_pairs"], summary["excluded_pairs"]
    pairs = summary["valid_pairs"] + len(invalid) + len(excluded)
    yield (
        f"{summary['configurations']} configurations, at {size} x {size} pixels: "
        f"{_many(pairs, 'pair')} of decoder and encoder x "
        f"{_many(len(summary['learning_rates']), 'learning rate')} x "
        f"{_many(len(summary['batch_sizes']), 'batch size')}."
    )
    if summary["valid_pairs"] < pairs:
        yield (
            f"{summary['valid_configurations']} of them can be tried, of "
            f"{_many(summary['valid_pairs'], 'pair')}: {_left_out(invalid, excluded)}."
        )
    yield ""
    yield from _wrapped(f"Decoders ({len(summary['decoders'])})", summary["decoders"])
    yield from _wrapped(f"Encoders ({len(summary['encoders'])})", summary["encoders"])
    yield from _wrapped("Learning rates", map(words.learning_rate, summary["learning_rates"]))
    yield from _wrapped("Batch sizes", map(str, summary["batch_sizes"]))
    for reason, by_decoder in _by_reason(invalid).items():
        yield ""
        yield f"Cannot be built: {reason}"
        for decoder, encoders in by_decoder.items():
            yield from _wrapped(f"  {decoder} +", encoders)
    if excluded:
        yield ""
        yield f"Left out: more than {words.count(summary['max_parameters'])} parameters."
        by_decoder = {}
        for pair in excluded:
            by_decoder.setdefault(pair["decoder"], []).append(
                f"{pair['encoder']} ({words.count(pair['parameters'])})"
            )
        for decoder, encoders in by_decoder.items():
            yield from _wrapped(f"  {decoder} +", encoders)


def network_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is known of a network."""
    side = found["multiply_adds_image_size"]
    layers = found["dropout_layers"]
    yield f"{found['decoder']}+{found['encoder']} ({found['family']})"
    yield (
        f"  Parameters        {found['parameters']:,}, of them the encoder "
        f"{found['encoder_parameters']:,}"
    )
    work = words.count(found["multiply_adds"])
    yield f"  Multiply-adds     {work} for one frame of {side} x {side}"
    yield f"  Smallest frame    {found['min_image_size']} x {found['min_image_size']}"
    evidence = found["evidence"]
    for graph, works, count in (
        ("segmenter", found["onnx_export"], None),
        ("head_dropout", found["head_dropout"], layers["head"]),
        ("decoder_dropout", found["decoder_dropout"], layers["decoder"]),
    ):
        where = f" at {_many(count, 'place')}" if count is not None else ""
        yield (
            f"  {_EXPORTS[graph]:<17} {'works' + where if works else 'does NOT work'}"
            f"{_evidence(evidence.get(graph))}"
        )
    if "verified" in found:
        yield from _verified_lines(found["verified"])


def _verified_lines(verified: Mapping[str, Any]) -> Iterator[str]:
    measured = verified["measured"]
    yield "Built just now:"
    if "parameters" in measured:
        yield f"  Parameters        {measured['parameters']:,}"
        yield f"  Multiply-adds     {words.count(measured['multiply_adds'])}"
    else:
        yield f"  It cannot be built: {measured['reason']}"
    for export in verified["exports"]:
        label = _EXPORTS.get(export["graph"], export["graph"])
        outcome = (
            f"FAILED: {export['failure']}"
            if export["failure"]
            else f"works (differs from PyTorch by {export['max_difference']:.1e})"
        )
        yield f"  {label:<17} {outcome}"


def _evidence(evidence: Mapping[str, Any] | None) -> str:
    if evidence is None:
        return ""
    how = _KINDS.get(evidence["kind"], evidence["kind"])
    difference = evidence.get("max_difference")
    if difference is None:
        return f" ({how})"
    return f" ({how}; differs from PyTorch by at most {difference:.1e})"


def _left_out(invalid: Sequence[Any], excluded: Sequence[Any]) -> str:
    parts = []
    if invalid:
        parts.append(f"{len(invalid)} cannot be built")
    if excluded:
        parts.append(f"{len(excluded)} have too many parameters")
    return " and ".join(parts)


def _many(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _by_reason(invalid: Sequence[Mapping[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Return encoders by decoder by reason, the reason told without the two names."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for pair in invalid:
        reason = pair["reason"]
        for part in ("decoder", "encoder"):
            reason = re.sub(rf"(?<!\w){re.escape(pair[part])}(?!\w)", f"the {part}", reason)
        reason = reason[:1].upper() + reason[1:]
        grouped.setdefault(reason, {}).setdefault(pair["decoder"], []).append(pair["encoder"])
    return grouped


def _wrapped(label: str, names: Any, width: int = 96) -> Iterator[str]:
    """Yield a label and names in a hanging paragraph."""
    indent = 18
    line = f"{label:<{indent}}"
    fresh = True
    for name in names:
        if not fresh and len(line) + len(name) + 2 > width:
            yield line + ","
            line, fresh = " " * indent, True
        line += name if fresh else f", {name}"
        fresh = False
    yield line
