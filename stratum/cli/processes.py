"""`get`, `list`, `cancel`, `retry`."""

from typing import Annotated

import typer

from stratum.cli.options import Json, ProcessId, Timeout, Wait
from stratum.cli.output import ago, print_model, say, show_table, state_text, table
from stratum.cli.process_view import show, wait_and_show
from stratum.cli.session import connect


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(get)
    app.command("list")(list_)
    app.command()(cancel)
    app.command()(retry)


def get(process_id: ProcessId, wait: Wait = False, timeout: Timeout = None, json: Json = False) -> None:
    """Show a process: its state and why, its attempts, what it made."""
    with connect() as client:
        raise typer.Exit(wait_and_show(client, client.get(process_id), wait=wait, timeout=timeout, json=json))


def list_(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only those of this entity.")] = None,
    action: Annotated[str | None, typer.Option(help="Only those of this action.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Continue from `next_cursor` of the page before.")] = None,
    json: Json = False,
) -> None:
    """List processes, newest first."""
    with connect() as client:
        page = client.page(state=state, entity_id=entity, action=action, limit=limit, cursor=cursor)
    if json:
        print_model(page)
        return
    if not page.items:
        say("No processes. Start one: stratum run ENTITY VERSION ACTION")
        return
    found = table("Process", "State", "Action", "Makes", "Created", "Reason", fold=("Reason",))
    for p in page.items:
        made = f"{p.entity_id}/{p.output_data_version}/{p.output_dataset}"
        found.add_row(str(p.id), state_text(p.state), p.action, made, ago(p.created_at), p.reason)
    show_table(found)
    if page.next_cursor:
        say(f"There are more: stratum list --cursor {page.next_cursor}")


def cancel(process_id: ProcessId, wait: Wait = False, timeout: Timeout = None, json: Json = False) -> None:
    """Cancel a process. It ends as soon as its job is seen to be gone."""
    with connect() as client:
        process = client.cancel(process_id)
        if wait:
            process = client.wait(process.id, timeout, check=False)
    show(process, json=json)


def retry(process_id: ProcessId, wait: Wait = False, timeout: Timeout = None, json: Json = False) -> None:
    """Run failed or cancelled work again, as a new process."""
    with connect() as client:
        raise typer.Exit(wait_and_show(client, client.retry(process_id), wait=wait, timeout=timeout, json=json))
