"""Options that the commands of `tenants` share, and what is made of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stratum.cli.output import progress_console
from stratum.errors import Invalid

if TYPE_CHECKING:
    from stratum.tenants.site import Site
    from stratum.tenants.storage_keys import Source
    from stratum.tenants.wish import Limits

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the tenant, as in the API.", show_default=False)]
ReleaseName = Annotated[str, typer.Option("--release", help="The Helm release.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Of the release.")]
Context = Annotated[str | None, typer.Option("--context", help="Of the kubeconfig.", show_default="the current one")]
Chart = Annotated[Path, typer.Option("--chart", help="Folder or archive of the chart, in the release's version.")]
UpgradeTimeout = Annotated[int, typer.Option("--timeout", metavar="SECONDS", help="For the upgrade of the release.", min=1)]
InFlight = Annotated[
    int | None, typer.Option("--max-in-flight", metavar="N", help="Processes in flight at once.", min=1, show_default=False)
]
Held = Annotated[str | None, typer.Option("--max-held", metavar="N|none", help="Processes that wait.", show_default=False)]
Cores = Annotated[str | None, typer.Option("--max-executor-cores", metavar="N|none", help="Executor cores in flight.", show_default=False)]
Bytes = Annotated[str | None, typer.Option("--max-stored-bytes", metavar="N|none", help="Bytes of sealed data.", show_default=False)]
Quota = Annotated[list[str], typer.Option("--quota", metavar="KEY=VALUE", help="Of a ResourceQuota; may be repeated.", show_default=False)]
CHART = Path("helm/stratum")
TIMEOUT = 600


def site(release: str, namespace: str, context: str | None, chart: Path = CHART, timeout: int = TIMEOUT) -> "Site":
    """The release. What is being done to it is told on a terminal."""
    from stratum.tenants.helm import Helm
    from stratum.tenants.kubectl import Kubectl
    from stratum.tenants.site import Site

    def tell(text: str) -> None:
        progress_console().print(f"{text} …", style="dim")

    return Site(Helm(release, namespace, context, timeout), Kubectl(context), chart, tell)


def limits(max_in_flight: int | None, *typed: str | None) -> "Limits":
    """The limits that were typed.

    Raises:
        Invalid: one is no limit.
    """
    from stratum.tenants.wish import Limits
    from stratum.tenants.wish import limit as checked

    options = ("--max-held", "--max-executor-cores", "--max-stored-bytes")
    return Limits(max_in_flight, *(checked(option, text) for option, text in zip(options, typed, strict=True)))


def source(
    choice: str | None,
    admin_secret: str | None,
    admin_endpoint: str | None,
    access_key: str | None,
    secret_file: Path | None,
    *,
    is_dev: bool,
) -> "Source":
    """Where storage keys come from, as it was typed.

    Raises:
        Invalid: it does not fit together.
    """
    from stratum.tenants import storage_keys
    from stratum.tenants.storage_user import StorageKeys

    if (access_key is None) is not (secret_file is None):
        raise Invalid("--s3-access-key and --s3-secret-key-file belong together.")
    given = None
    if access_key is not None and secret_file is not None:
        try:
            given = StorageKeys(access_key, secret_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeError) as error:
            raise Invalid(f"--s3-secret-key-file cannot be read: {error}.") from error
    return storage_keys.source(choice, is_dev, admin_secret, admin_endpoint, given)
