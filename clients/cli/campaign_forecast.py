"""`echoloop campaign forecast`: labels to come and labels saved."""

import typer

from clients.cli.campaign import CampaignArgument
from clients.cli.session import Session, session_command
from clients.forecast_words import forecast_sentences, savings_sentences

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    session_command(app, "forecast")(forecast)


def forecast(session: Session, campaign: CampaignArgument) -> None:
    """Say how many labels reach the target IoU, and how many were saved; 90 % intervals."""
    with session.client() as client:
        answer = client.campaigns.forecast(campaign)
    session.output.result(answer, *forecast_sentences(answer), *savings_sentences(answer))
