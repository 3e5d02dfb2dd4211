from __future__ import annotations

from pathlib import Path

import pytest

from moorage.cluster.settings import ClusterSettings, without_password
from moorage.config.load import resolve
from moorage.config.model import ConfigError
from moorage.config.text import render


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("nats://127.0.0.1:4222", ("nats://127.0.0.1:4222",)),
        ("nats://a:1,nats://b:2", ("nats://a:1", "nats://b:2")),
        ("nats://a:1 nats://b", ("nats://a:1", "nats://b")),
        ('["nats://user:secret@a:1"]', ("nats://user:secret@a:1",)),
        ("tls://a:1", ("tls://a:1",)),
        (["nats://[::1]:4222"], ("nats://[::1]:4222",)),
    ],
)
def test_one_or_several_servers(text: object, urls: tuple[str, ...]) -> None:
    assert resolve(None, {}, {"cluster.nats_url": text}).config.cluster.nats_url == urls


@pytest.mark.parametrize(
    "text", ["127.0.0.1:4222", "http://a", "ws://a:1", "nats://", "nats://a:0", "nats://a/x", 3]
)
def test_anything_else_is_refused_with_the_setting(text: object) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.nats_url: expected a list of NATS servers"):
        resolve(None, {}, {"cluster.nats_url": text})


@pytest.mark.parametrize("name", ["a.b", "a b", "*", ">", "x" * 65])
def test_a_name_is_one_word_of_a_subject(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.name: expected a name"):
        resolve(None, {}, {"cluster.name": name})


def test_a_region_and_the_address_of_the_node() -> None:
    found = resolve(None, {}, {"cluster.region": "eu-1", "cluster.advertise": "http://10.0.0.1:8080/"})
    assert found.config.cluster.region == "eu-1"
    assert found.config.cluster.advertise == "http://10.0.0.1:8080"


@pytest.mark.parametrize("url", ["10.0.0.1:8080", "nats://a", "http://a/path", "http://user@a"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.advertise: expected an http"):
        resolve(None, {}, {"cluster.advertise": url})


def test_files_of_the_login_are_relative_to_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "moorage.yaml"
    path.write_text("cluster:\n  nats_ca: ca.pem\n  nats_credentials: /run/node.creds\n  wait: 1m\n")
    found = resolve(path, {}, {}).config.cluster
    assert (found.nats_ca, found.nats_credentials) == (str(tmp_path / "ca.pem"), "/run/node.creds")
    assert found.wait == 60.0


def test_settings_of_the_login_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.nats_key: a key needs its certificate"):
        resolve(None, {}, {"cluster.nats_key": "a"})
    with pytest.raises(ConfigError, match=r"cluster\.nats_nkey: cluster\.nats_credentials is set too"):
        resolve(None, {}, {"cluster.nats_nkey": "a", "cluster.nats_credentials": "b"})


def test_passwords_are_never_shown() -> None:
    found = resolve(None, {}, {"cluster.nats_url": "nats://user:hidden@a:1 nats://hidden@b"})
    assert "hidden" not in repr(found.config)
    assert "hidden" not in render(found.config)
    assert without_password("tls://user:hidden@a:1") == "tls://a:1"


def test_a_node_without_a_name_has_one_for_people() -> None:
    assert ClusterSettings().shown_name
    assert ClusterSettings(node_name="n").shown_name == "n"
