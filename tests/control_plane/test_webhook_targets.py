"""Which URLs and addresses deliveries may go to."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.http import ProcessRequest
from control_plane.settings import WebhookTargetSettings
from control_plane.webhooks.targets import TargetRefused, TargetRules


def rules(allow: str = "", ports: str = "443") -> TargetRules:
    return WebhookTargetSettings.model_validate({"webhook_allow": allow, "webhook_ports": ports}).target_rules


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("fd12::1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("192.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("198.51.100.1", "reserved"),
        ("203.0.113.1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
        ("169.254.169.254", "a metadata address"),
        ("100.100.100.200", "a metadata address"),
        ("168.63.129.16", "a metadata address"),
        ("192.0.0.192", "a metadata address"),
        ("fd00:ec2::254", "a metadata address"),
        ("fd20:ce::254", "a metadata address"),
        ("::ffff:127.0.0.1", "mapped"),
        ("::ffff:8.8.8.8", "mapped"),
        ("::ffff:169.254.169.254", "mapped"),
        ("::ffff:0:7f00:1", "mapped"),
        ("::127.0.0.1", "compatible"),
        ("::808:808", "compatible"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b:1::a00:1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2002:0808:0808::1", "6to4"),
        ("192.88.99.1", "6to4"),
        ("2001:0:53aa:64c:0:0:f5ff:fffe", "Teredo"),
    ],
)
def test_addresses_that_are_not_public(address: str, kind: str) -> None:
    with pytest.raises(TargetRefused, match=kind.replace("(", r"\(")):
        rules().check_address("example.com", ip_address(address))
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(TargetRefused, match=kind):
        rules().target(f"https://{literal}/")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "2001:4860::8888"]
)
def test_addresses_that_are(address: str) -> None:
    rules().check_address("example.com", ip_address(address))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "must be https"),
        ("ftp://example.com/", "must be https"),
        ("file:///etc/passwd", "must be https"),
        ("https:///path", "must be https"),
        ("https://user:secret@example.com/", "credentials"),
        ("https://user@example.com/", "credentials"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com:8443/", "port 8443"),
        ("https://2130706433/", "unusual spelling"),
        ("https://134744072/", "unusual spelling"),
        ("https://0x7f000001/", "unusual spelling"),
        ("https://0x08.0x08.0x08.0x08/", "unusual spelling"),
        ("https://127.1/", "unusual spelling"),
        ("https://8.8.8/", "unusual spelling"),
        ("https://example.0x7f/", "unusual spelling"),
        ("https://1.2.3.4.5/", "unusual spelling"),
        ("https://0177.0.0.1/", "cannot be read"),
        ("https://127.0.0.1./", "loopback"),
        ("https://[fe80::1%25eth0]/", "zone"),
        ("https://localhost/", "this machine"),
        ("https://LOCALHOST./", "this machine"),
        ("https://x.localhost/", "this machine"),
        ("https://example.com:99999/", "port 99999"),
        ("https://xn--ls8h.la/", "cannot be read"),
        ("https://xn--a/", "cannot be read"),
        ("https://xn--/", "cannot be read"),
        ("https://example.com/" + "a" * 2048, "at most 2048"),
    ],
)
def test_urls_that_are_refused(url: str, reason: str) -> None:
    with pytest.raises(TargetRefused, match=reason) as caught:
        rules().target(url)
    assert "secret" not in str(caught.value)


@given(
    st.lists(
        st.one_of(
            st.text("abcxn-0129._", min_size=1, max_size=8),
            st.text("abcdefghijklmnop-0123456789", max_size=12).map(lambda text: f"xn--{text}"),
            st.text(max_size=6),
            st.sampled_from(["", "-", "xn--", "ß", "\u200d", "\u0660", "İ", "%00", "%", "[", "]", "[::", "1" * 70]),
        ),
        min_size=1,
        max_size=4,
    ).map(".".join)
)
def test_whatever_the_host_is_the_url_is_taken_or_refused(host: str) -> None:
    try:
        target = rules().target(f"https://{host}/")
    except TargetRefused:
        return
    assert target.netloc.isascii()


def test_a_url_in_its_parts() -> None:
    target = rules(ports="443,8000-8999").target("https://Bücher.example:8443/a b?c=d#e")
    assert (target.host, target.port, target.path, target.netloc) == (
        "xn--bcher-kva.example",
        8443,
        b"/a%20b?c=d",
        "xn--bcher-kva.example:8443",
    )
    assert rules().target("https://example.com").netloc == "example.com"
    assert rules().target("https://[2606:4700::1111]/").netloc == "[2606:4700::1111]"


def test_an_allowed_name_may_be_private_and_nothing_worse() -> None:
    inside = rules("svc.cluster.local, .corp.example", "1-65535")
    assert inside.target("http://hook.acme.svc.cluster.local:8080/").scheme == "http"
    inside.check_address("hook.acme.svc.cluster.local", ip_address("10.0.0.7"))
    inside.check_address("corp.example", ip_address("fd12::7"))
    for address in ("127.0.0.1", "169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::ffff:10.0.0.7", "224.0.0.1"):
        with pytest.raises(TargetRefused):
            inside.check_address("hook.acme.svc.cluster.local", ip_address(address))
    for other in ("evilcorp.example", "corp.example.evil.com"):
        with pytest.raises(TargetRefused):
            inside.check_address(other, ip_address("10.0.0.7"))
        with pytest.raises(TargetRefused, match="must be https"):
            inside.target(f"http://{other}/")


def test_an_allowed_network_is_that_and_no_more() -> None:
    inside = rules("10.1.0.0/16,::1/128", "1-65535")
    assert inside.target("http://10.1.2.3/").port == 80
    inside.check_address("anything.example", ip_address("10.1.2.3"))
    for url in ("http://10.2.0.1/", "https://10.2.0.1/", "http://127.0.0.1/", "http://[::ffff:10.1.2.3]/"):
        with pytest.raises(TargetRefused):
            inside.target(url)
    with pytest.raises(TargetRefused, match="must be https"):
        inside.target("http://anything.example/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook_allow", "10.0.0.1/8"),
        ("webhook_allow", "exa mple"),
        ("webhook_allow", "*.example.com"),
        ("webhook_allow", "https://example.com"),
        ("webhook_ports", ""),
        ("webhook_ports", "0"),
        ("webhook_ports", "9-8"),
        ("webhook_ports", "443,70000"),
        ("webhook_ports", "https"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        WebhookTargetSettings.model_validate({name: value})


@pytest.mark.parametrize("host", ["0x7f.1", "0177.0.0.1", "2130706433", "127.1", "010.8.8.8", "8.8.8.8.", "0x8080808", "a.0x7f"])
def test_odd_spellings_are_seen_before_they_are_mended(host: str) -> None:
    """Reading the URL would make an ordinary address of most of them."""
    body: dict[str, Any] = {"entity_id": "e", "data_version": "v", "action": "a"}
    with pytest.raises(ValidationError, match="callback_url"):
        ProcessRequest.model_validate({**body, "callback_url": f"https://{host}:443/x"})
    assert ProcessRequest.model_validate({**body, "callback_url": "https://8.8.8.8:443/x"}).callback_url
    assert ProcessRequest.model_validate({**body, "callback_url": "https://4.example.com2/1.2"}).callback_url
