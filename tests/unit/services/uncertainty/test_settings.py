"""Settings from the environment."""

import pytest

from services.platform.settings import load_settings
from services.uncertainty.settings import UncertaintySettings


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load_settings(UncertaintySettings, [])
    assert (settings.listen, settings.metrics_listen) == ("127.0.0.1:7103", "127.0.0.1:9103")
    assert settings.triton == "127.0.0.1:8001"
    assert 2 <= settings.threads <= 8


def test_the_environment_sets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHOLOOP_UNCERTAINTY_TRITON", "triton:8001")
    monkeypatch.setenv("ECHOLOOP_UNCERTAINTY_THREADS", "3")
    settings = load_settings(UncertaintySettings, [])
    assert (settings.triton, settings.threads) == ("triton:8001", 3)


def test_a_wrong_value_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOLOOP_UNCERTAINTY_THREADS", "0")
    with pytest.raises(SystemExit):
        load_settings(UncertaintySettings, [])
    assert capsys.readouterr().err.startswith("ECHOLOOP_UNCERTAINTY_THREADS:")
