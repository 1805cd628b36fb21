"""Answers of GetForecast, as a coordinator gives them."""

from echoloop.v1 import coordinator_pb2 as pb


def estimate(median: float, low: float, high: float | None = None) -> pb.Estimate:
    return pb.Estimate(median=median, low=low, high=high)


def points(first: int, step: int, *ious: float) -> list[pb.CurvePoint]:
    return [
        pb.CurvePoint(phase=n + 1, labels=first + n * step, iou=iou) for n, iou in enumerate(ious)
    ]


def curve(first: int, last: int, rise: float) -> list[pb.FittedPoint]:
    places = [first + n * (last - first) / 9 for n in range(10)]
    ious = [0.88 - rise * first / at for at in places]
    return [
        pb.FittedPoint(labels=at, iou=estimate(iou, iou - 0.01, iou + 0.01))
        for at, iou in zip(places, ious, strict=True)
    ]


def running() -> pb.GetForecastResponse:
    """A campaign some way before its target, with a control arm."""
    return pb.GetForecastResponse(
        active=points(40, 50, 0.8, 0.83, 0.85, 0.858, 0.862),
        control=points(40, 10, 0.8, 0.81, 0.82, 0.83, 0.834),
        target_iou=0.87,
        forecast=pb.LabelForecast(
            labels_to_target=estimate(313.0, 262.0, 424.0),
            plateau_iou=estimate(0.881, 0.874, 0.89),
            reachable=0.97,
            curve=curve(40, 400, 0.08),
            batches_to_target=estimate(2, 1, 4),
        ),
        savings=pb.LabelSavings(
            share=estimate(0.38, 0.22, 0.49),
            random_labels=estimate(391.0, 300.0, 470.0),
            extrapolated=True,
            curve=curve(40, 320, 0.08),
            measured_share=estimate(0.21, 0.05, 0.35),
            measured_iou=0.834,
            measured_labels=estimate(63.0, 55.0, 76.0),
            control_labels=80,
            newest_iou=0.861,
            labels=240,
        ),
    )
