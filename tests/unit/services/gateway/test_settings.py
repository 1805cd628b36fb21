"""Settings from the environment."""

import pytest

from services.gateway.settings import GatewaySettings
from services.platform.settings import load_settings


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load_settings(GatewaySettings, [])
    assert (settings.listen, settings.metrics_listen) == ("127.0.0.1:7104", "127.0.0.1:9104")
    assert settings.triton == "127.0.0.1:8001"


def test_the_environment_sets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHOLOOP_GATEWAY_TRITON", "triton:8001")
    monkeypatch.setenv("ECHOLOOP_GATEWAY_THREADS", "3")
    settings = load_settings(GatewaySettings, [])
    assert (settings.triton, settings.threads) == ("triton:8001", 3)


def test_a_wrong_value_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOLOOP_GATEWAY_THREADS", "0")
    with pytest.raises(SystemExit):
        load_settings(GatewaySettings, [])
    assert capsys.readouterr().err.startswith("ECHOLOOP_GATEWAY_THREADS:")
