"""`webhooks list|show|replay|secret`."""

from typing import TYPE_CHECKING, Annotated

import typer

from stratum.cli.options import Json
from stratum.cli.output import ago, print_json, print_model, say, show_facts, show_table, table
from stratum.cli.session import connect
from stratum.errors import Invalid

if TYPE_CHECKING:
    from contracts.webhook import WebhookDelivery

DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="Id of a delivery: its `webhook-id`.", show_default=False)]
_DAY = 86_400


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What callback URLs were told: see it, send it again, sign it.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(replay)
    group.command()(secret)
    app.add_typer(group, name="webhooks")


def list_(
    state: Annotated[str | None, typer.Option(help="Only those that are waiting, delivered or given_up.")] = None,
    process: Annotated[str | None, typer.Option(help="Only that of this process.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Continue from `next_cursor` of the page before.")] = None,
    json: Json = False,
) -> None:
    """List deliveries, newest first."""
    with connect() as client:
        page = client.webhooks(state=state, process_id=process, limit=limit, cursor=cursor)
    if json:
        print_model(page)
        return
    if not page.items:
        say("No deliveries. A process has one when it was requested with a callback_url and has ended.")
        return
    found = table("Delivery", "State", "Event", "URL", "Tries", "Status", "Created", "Error", right=("Tries",), fold=("Error",))
    for each in page.items:
        status = str(each.last_status or "")
        found.add_row(
            str(each.id), each.state, each.type, each.url, str(each.attempts), status, ago(each.created_at), each.last_error or ""
        )
    show_table(found)
    if page.next_cursor:
        say(f"There are more: stratum webhooks list --cursor {page.next_cursor}")


def show(delivery_id: DeliveryId, json: Json = False) -> None:
    """Show one delivery: where it stands, and what its last attempt met."""
    with connect() as client:
        _show(client.webhook(delivery_id), json=json)


def replay(delivery_id: DeliveryId, json: Json = False) -> None:
    """Send a delivery again, now, under the same id."""
    with connect() as client:
        _show(client.replay_webhook(delivery_id), json=json)


def secret(
    rotate: Annotated[bool, typer.Option("--rotate", help="Put a new one in its place.")] = False,
    keep: Annotated[int | None, typer.Option(help="With --rotate: seconds for which the replaced one still signs. A day.", min=0)] = None,
    json: Json = False,
) -> None:
    """Print the secret that signs deliveries; an older one too, while it still signs. For admins."""
    if keep is not None and not rotate:
        raise Invalid("--keep says how long a replaced secret still signs: it needs --rotate.")
    with connect() as client:
        found = client.rotate_webhook_secret(_DAY if keep is None else keep) if rotate else client.webhook_secrets()
    if json:
        print_json({"items": [each.model_dump(mode="json") for each in found]})
        return
    for each in found:
        say(each.secret if each.retires_at is None else f"{each.secret}  signs until {each.retires_at:%Y-%m-%d %H:%M:%S %Z}")


def _show(delivery: "WebhookDelivery", *, json: bool) -> None:
    if json:
        print_model(delivery)
    else:
        show_facts([(name.replace("_", " "), value) for name, value in delivery])
