"""Which images may run."""

import pytest
from pydantic import ValidationError

from contracts.errors import ImageRefused
from contracts.images import ImageSettings, is_pinned

DIGEST = "sha256:" + "a" * 64


def test_without_rules_every_image_may_run() -> None:
    ImageSettings().check_image("acme", "anything:latest")


@pytest.mark.parametrize(
    ("tenant", "image"),
    [
        ("acme", f"registry.example.com/jobs@{DIGEST}"),
        ("acme", f"registry.example.com/team/deep/job@{DIGEST}"),
        ("acme", "exactly:1"),
        ("globex", "shared:2"),
    ],
)
def test_allowed(tenant: str, image: str) -> None:
    lists = {"acme": ("registry.example.com/jobs@*", "registry.example.com/team/*", "exactly:1"), "*": ("shared:*",)}
    ImageSettings(allowed_images=lists).check_image(tenant, image)


@pytest.mark.parametrize(
    ("tenant", "image"),
    [
        ("acme", "registry.example.com/jobs:1"),
        ("acme", f"registry.example.com/jobs-of-another@{DIGEST}"),
        ("acme", "registry.example.com/team-of-another/job:1"),
        ("acme", f"exactly:1@{DIGEST}"),
        ("acme", "shared:2"),  # a list of its own replaces that of the others
        ("globex", "exactly:1"),
        ("none", "shared:2"),  # an empty list allows nothing
    ],
)
def test_refused(tenant: str, image: str) -> None:
    lists = {"acme": ("registry.example.com/jobs@*", "registry.example.com/team/*", "exactly:1"), "*": ("shared:*",), "none": ()}
    with pytest.raises(ImageRefused, match=tenant):
        ImageSettings(allowed_images=lists).check_image(tenant, image)


def test_a_tenant_that_nobody_named_may_run_nothing() -> None:
    with pytest.raises(ImageRefused):
        ImageSettings(allowed_images={"acme": ("*",)}).check_image("globex", "any:1")


def test_obligatory_digests() -> None:
    rules = ImageSettings(require_image_digest=True)
    rules.check_image("acme", f"jobs:1@{DIGEST}")
    for image in ("jobs:1", "jobs", f"jobs@{DIGEST[:-1]}", f"jobs@{DIGEST}x", f"@{DIGEST}", f"a b@{DIGEST}", f"jobs@{DIGEST}\n"):
        assert not is_pinned(image)
        with pytest.raises(ImageRefused, match="not pinned"):
            rules.check_image("acme", image)


@pytest.mark.parametrize("entry", ["", "registry.example.com/team*", "*/job", "a*b", "a b", "team/**", "/*"])
def test_beginnings_that_would_allow_more_than_they_seem_to(entry: str) -> None:
    with pytest.raises(ValidationError, match="neither an image"):
        ImageSettings(allowed_images={"acme": (entry,)})


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATUM_ALLOWED_IMAGES", '{"acme": ["team/*"]}')
    monkeypatch.setenv("STRATUM_REQUIRE_IMAGE_DIGEST", "true")
    rules = ImageSettings()
    assert rules.allowed_images == {"acme": ("team/*",)}
    assert rules.require_image_digest
