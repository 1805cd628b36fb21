"""What a service may be told, and how a wrong setting is reported."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.platform.settings import ServiceSettings, is_loopback, load_settings, split_address


class DemoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_DEMO_")

    listen: str = "127.0.0.1:7999"


def test_the_environment_overrides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DemoSettings().listen == "127.0.0.1:7999"
    monkeypatch.setenv("ECHOLOOP_DEMO_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("ECHOLOOP_DEMO_DRAIN_TIMEOUT_S", "2.5")
    settings = DemoSettings()
    assert (settings.listen, settings.drain_timeout_s) == ("127.0.0.1:0", 2.5)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7101", ("127.0.0.1", 7101)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:5", ("::1", 5)),
    ],
)
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", ":7101", "host:", "host:x", "host:65536", "::1:5", "host:²"]
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|outside|brackets"):
        split_address(address)
    with pytest.raises(ValidationError):
        DemoSettings(listen=address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_is_recognized(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.evil.org"])
def test_everything_else_can_be_reached(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("field", ["listen", "metrics_listen"])
def test_an_open_address_without_tls_is_refused_with_the_way_out(field: str) -> None:
    with pytest.raises(ValidationError, match="Set tls_cert and tls_key, or listen on 127"):
        DemoSettings.model_validate({field: "0.0.0.0:7101"})


def test_an_open_address_with_tls_is_allowed() -> None:
    settings = DemoSettings(
        listen="0.0.0.0:7101", tls_cert=Path("cert.pem"), tls_key=Path("key.pem")
    )
    assert settings.tls is not None
    assert settings.tls.cert == Path("cert.pem")
    assert DemoSettings().tls is None


@pytest.mark.parametrize("given", [{"tls_cert": "c"}, {"tls_key": "k"}, {"tls_ca": "a"}])
def test_half_of_tls_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="tls_"):
        DemoSettings.model_validate(given)


def test_main_takes_the_ready_file_from_the_command_line(tmp_path: Path) -> None:
    settings = load_settings(
        DemoSettings, ["--ready-file", str(tmp_path / "ready"), "--die-with-parent"]
    )
    assert settings.ready_file == tmp_path / "ready"
    assert settings.die_with_parent


def test_a_wrong_setting_ends_main_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOLOOP_DEMO_LISTEN", "nonsense")
    monkeypatch.setenv("ECHOLOOP_DEMO_DRAIN_TIMEOUT_S", "-1")
    with pytest.raises(SystemExit) as caught:
        load_settings(DemoSettings, [])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("ECHOLOOP_DEMO_LISTEN: 'nonsense' is not host:port")
    assert lines[1].startswith("ECHOLOOP_DEMO_DRAIN_TIMEOUT_S: ")


def test_an_open_address_ends_main_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOLOOP_DEMO_LISTEN", "0.0.0.0:7101")
    with pytest.raises(SystemExit):
        load_settings(DemoSettings, [])
    assert capsys.readouterr().err.startswith("listen is 0.0.0.0:7101, which other machines")
