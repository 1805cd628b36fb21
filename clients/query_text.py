"""How a campaign chooses its batches, in words."""

from echoloop.v1 import coordinator_pb2

__all__ = ["cold_start_text", "limits_text", "strategy_text"]


def strategy_text(config: coordinator_pb2.CampaignConfig) -> str:
    """Return how a phase's batch is chosen, such as `coverage among 5 x K`."""
    query = config.query
    match query.strategy:
        case coordinator_pb2.QUERY_STRATEGY_POWER:
            return f"power, exponent {query.power:g}"
        case coordinator_pb2.QUERY_STRATEGY_COVERAGE:
            return f"coverage among {query.shortlist} x K"
        case _:
            return "topk"


def cold_start_text(config: coordinator_pb2.CampaignConfig) -> str:
    """Return how the initial frames are chosen."""
    typical = config.query.cold_start == coordinator_pb2.COLD_START_TYPICAL
    return "typical" if typical else "random"


def limits_text(config: coordinator_pb2.CampaignConfig) -> str:
    """Return what limits a batch and what of it is drawn at random; empty for neither."""
    query = config.query
    parts = []
    if query.max_per_patient:
        parts.append(f"at most {query.max_per_patient} a patient")
    if query.max_per_clip:
        parts.append(f"at most {query.max_per_clip} a clip")
    if query.control_share:
        parts.append(f"{query.control_share:.0%} drawn at random as control")
    return ", ".join(parts)
