"""`tenants create`, `tenants list`, `tenants show`, `tenants limit`, `tenants remove`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stratum.cli.options import Json, pairs
from stratum.cli.output import print_json, say, show_facts, show_table, table
from stratum.cli.tenant_options import (
    CHART,
    TIMEOUT,
    Bytes,
    Chart,
    Context,
    Cores,
    Held,
    InFlight,
    Name,
    Namespace,
    Quota,
    ReleaseName,
    UpgradeTimeout,
    site,
)
from stratum.cli.tenant_options import limits as typed_limits
from stratum.cli.tenant_options import source as typed_source
from stratum.errors import Invalid, MissingExtra, StratumError

if TYPE_CHECKING:
    from stratum.tenants.storage_keys import Source
    from stratum.tenants.wish import Wish

commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Tenants of a release on Kubernetes, by way of its values; for operators."
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="tenants")


@commands.command()
def create(
    name: Name,
    bucket: Annotated[str | None, typer.Option(help="Its bucket; made if it is missing.", show_default=False)] = None,
    prefix: Annotated[str | None, typer.Option(help="Its key prefix, ending with '/', or empty.", show_default="NAME/")] = None,
    tenant_namespace: Annotated[str | None, typer.Option(help="Of its runs.", show_default="NAMESPACE-NAME")] = None,
    max_in_flight: InFlight = None,
    max_held: Held = None,
    max_executor_cores: Cores = None,
    max_stored_bytes: Bytes = None,
    quota: Quota = [],  # noqa: B006
    queue: Annotated[str | None, typer.Option(help="Kueue LocalQueue of its runs.", show_default=False)] = None,
    priority_class: Annotated[str | None, typer.Option(help="Of its runs.", show_default=False)] = None,
    allow_image: Annotated[list[str], typer.Option(metavar="IMAGE", help="Its actions may run it; may be repeated.")] = [],  # noqa: B006
    s3_credentials: Annotated[
        str | None,
        typer.Option(metavar="minio|aws|existing:SECRET|given", help="Who makes its storage keys.", show_default="minio with dev.enabled"),
    ] = None,
    s3_admin_secret: Annotated[
        str | None, typer.Option(help="Secret with an administrator's keys of the MinIO.", show_default="the chart's with dev.enabled")
    ] = None,
    s3_admin_endpoint: Annotated[str | None, typer.Option(help="The MinIO as seen from here.", show_default="as in the values")] = None,
    s3_access_key: Annotated[str | None, typer.Option(help="With `given`.", show_default=False)] = None,
    s3_secret_key_file: Annotated[Path | None, typer.Option(help="With `given`: a file with the secret key.", show_default=False)] = None,
    release: ReleaseName = "stratum",
    namespace: Namespace = "stratum",
    context: Context = None,
    chart: Chart = CHART,
    timeout: UpgradeTimeout = TIMEOUT,
    only_print: Annotated[bool, typer.Option("--print", help="Only print values, manifests and policy; nothing is asked or made.")] = False,
    local: Annotated[bool, typer.Option("--local", help="On the platform of this machine.")] = False,
    json: Json = False,
) -> None:
    """Make a tenant: namespace, rights, quota, storage prefix, storage keys, API key. Run again, it completes what is missing."""
    from stratum.tenants.wish import Wish
    from stratum.tenants.wish import quota as checked_quota

    limits = typed_limits(max_in_flight, max_held, max_executor_cores, max_stored_bytes)
    hard = checked_quota(pairs("--quota", quota))
    source = (s3_credentials, s3_admin_secret, s3_admin_endpoint, s3_access_key, s3_secret_key_file)

    def wish(bucket_name: str | None) -> Wish:
        if bucket_name is None:
            raise Invalid("It is not said where the tenant's data goes.", "Give --bucket.")
        place = (bucket_name, f"{name}/" if prefix is None else prefix, tenant_namespace or f"{namespace}-{name}")
        return Wish(name, *place, limits, hard, queue, priority_class, tuple(allow_image))

    if local:
        if hard or queue or priority_class or allow_image or tenant_namespace or any(source):
            raise Invalid("--local knows bucket, prefix and limits only.", "Leave the other options out.")
        _create_here(wish(bucket or f"stratum-{name}"), json=json)
        return
    if only_print:
        _print_manifests(wish(bucket), typed_source(*source, is_dev=False), release, namespace, json=json)
        return
    wish(bucket or "stratum")  # judged before the cluster is asked
    from stratum.tenants.create import create as make

    place = site(release, namespace, context, chart, timeout)
    found = place.release
    wanted = wish(bucket or (f"{found.dev_bucket}-{name}" if found.is_dev else None))
    made = make(place, wanted, typed_source(*source, is_dev=found.is_dev))
    document = {
        "name": name,
        "changed": made.changed,
        "namespace": made.names.namespace,
        "storage": wanted.root.uri,
        "api_key_secret": made.names.api_key_secret,
        "s3_secret": made.storage_secret,
        "s3_user": made.storage_user,
    }
    if json:
        print_json(document)
        return
    say(f"The tenant {name} is there." if made.changed else f"The tenant {name} is there already; nothing was changed.", "bold")
    show_facts([(key.replace("_", " "), value) for key, value in document.items() if key not in ("name", "changed")])
    secret = f"kubectl --namespace {namespace} get secret {made.names.api_key_secret} -o jsonpath='{{.data.api-key}}' | base64 -d"
    say(f"Its API key: {secret}", "dim")


@commands.command("list")
def list_(release: ReleaseName = "stratum", namespace: Namespace = "stratum", context: Context = None, json: Json = False) -> None:
    """List the tenants of a release, as its values have them."""
    from stratum.tenants import listed

    place = site(release, namespace, context)
    found = listed.tenants(place.release)
    if json:
        print_json({"items": found})
        return
    shown = table(
        "Tenant", "Namespace", "Storage", "In flight", "Held", "Cores", "Bytes", "Quota", right=("In flight", "Held", "Cores", "Bytes")
    )
    for each in found:
        numbers = (each["max_in_flight"], each["max_held"], each["max_executor_cores"], each["max_stored_bytes"])
        storage = f"s3://{each['bucket']}/{each['prefix']}"
        shown.add_row(each["name"], each["namespace"], storage, *(_limit_text(number) for number in numbers), _quota_text(each["quota"]))
    show_table(shown)


@commands.command()
def show(
    name: Name, release: ReleaseName = "stratum", namespace: Namespace = "stratum", context: Context = None, json: Json = False
) -> None:
    """Show a tenant: what the values say, and what of it is on the cluster. Never a key."""
    from stratum.tenants import listed

    place = site(release, namespace, context)
    entry = place.release.tenant(name)
    found = {**listed.tenant(place.release, entry), **listed.state(place.release, entry, place.kubectl)}
    if json:
        print_json(found)
        return
    show_facts([(key.replace("_", " "), _quota_text(value) if key == "quota" else value) for key, value in found.items()])


@commands.command()
def limit(
    name: Name,
    max_in_flight: InFlight = None,
    max_held: Held = None,
    max_executor_cores: Cores = None,
    max_stored_bytes: Bytes = None,
    quota: Quota = [],  # noqa: B006
    release: ReleaseName = "stratum",
    namespace: Namespace = "stratum",
    context: Context = None,
    chart: Chart = CHART,
    timeout: UpgradeTimeout = TIMEOUT,
    json: Json = False,
) -> None:
    """Change limits of a tenant. One that is not named stays; `none` takes it away, also with --quota KEY=none."""
    from stratum.tenants import listed
    from stratum.tenants.values import Release
    from stratum.tenants.wish import quota as checked_quota

    limits = typed_limits(max_in_flight, max_held, max_executor_cores, max_stored_bytes)
    hard = checked_quota(pairs("--quota", quota), may_end=True)
    if not limits.values() and not hard:
        raise Invalid("No limit is named.", "Give --max-in-flight, --max-held, --max-executor-cores, --max-stored-bytes or --quota.")
    place = site(release, namespace, context, chart, timeout)
    values = place.release.with_limits(name, limits, hard)
    place.require_chart()
    if values != place.release.values:
        place.rehearse(values)
    changed = place.upgrade(values)
    after = Release(release, namespace, values)
    found = listed.tenant(after, after.tenant(name))
    if json:
        print_json({**found, "changed": changed})
        return
    say(f"The limits of {name} are changed." if changed else f"The limits of {name} are so already.")


@commands.command()
def remove(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Although processes have not ended.")] = False,
    delete_namespace: Annotated[bool, typer.Option("--delete-namespace", help="And all that lies in it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    release: ReleaseName = "stratum",
    namespace: Namespace = "stratum",
    context: Context = None,
    chart: Chart = CHART,
    timeout: UpgradeTimeout = TIMEOUT,
    json: Json = False,
) -> None:
    """Take a tenant away: its keys, rights, storage user and Secrets. Its data in the bucket always stays."""
    from stratum.tenants import remove as removal
    from stratum.tenants.wish import tenant_name

    tenant_name(name)
    place = site(release, namespace, context, chart, timeout)
    leaving = removal.find(place, name)
    typer.echo(f"The tenant {name} in {leaving.names.namespace}; its data in {leaving.root.uri} stays.", err=True)
    if not yes and typer.prompt("Its name, to remove it", err=True) != name:
        raise Invalid("That is not its name.", "Nothing was changed.")
    done = removal.remove(place, leaving, force=force, delete_namespace=delete_namespace)
    if json:
        print_json(asdict(done))
        return
    say(f"The tenant {name} is removed; {done.keys_ended} API keys were ended.")
    say(f"Its data stays in {done.data}." + ("" if done.namespace_deleted else f" Its namespace {done.namespace} stays, too."))


def _print_manifests(wish: "Wish", source: "Source", release: str, namespace: str, *, json: bool) -> None:
    from stratum.tenants import printed
    from stratum.tenants.manifests import Names

    of = Names(release, namespace, wish.name, wish.namespace)
    if json:
        print_json(printed.document(of, wish, source))
    else:
        typer.echo(printed.text(of, wish, source), nl=False)


def _create_here(wish: "Wish", *, json: bool) -> None:
    from stratum.client.settings import home
    from stratum.tenants.wish import LIMITS

    try:
        from stratum.local import tenants as local_tenants
        from stratum.local.errors import LocalError
    except ModuleNotFoundError as error:
        raise MissingExtra("local") from error
    limits = {name: getattr(wish.limits, name) for name in ("max_in_flight", *LIMITS)}
    named = {name: str(value) for name, value in limits.items() if value is not None}
    try:
        made = local_tenants.create(home(), wish.name, wish.bucket, wish.prefix, named)
    except LocalError as error:
        raise StratumError(error.message, error.remedy) from error
    if json:
        print_json({**asdict(made), "changed": made.key is not None})
        return
    say(f"The tenant {wish.name} is there." if made.key else f"The tenant {wish.name} is there already.", "bold")
    show_facts([("storage", wish.root.uri), ("API", made.url), ("key", made.key), ("key file", made.key_file)])
    say("On this machine all tenants' jobs run as one user with the same storage keys: the API keeps them apart, nothing else does.", "dim")


def _limit_text(value: Any) -> str:
    return "" if value is None else str(value)


def _quota_text(quota: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in quota.items())
