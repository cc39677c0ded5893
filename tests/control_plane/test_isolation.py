"""The second wall: as the role of tenants' requests, other tenants' rows do not exist, whatever a statement says."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

import control_plane.api
from control_plane.database import Database, queries
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation

RELATIONS = """
    SELECT c.relname AS name, c.relkind = 'v' AS is_view, a.attname AS owner FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
        AND a.attname = CASE WHEN c.relname = 'tenants' THEN 'id' ELSE 'tenant' END
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1"""
UNCONFINED = """
    SELECT c.relname FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
        AND (a.attname = 'tenant' OR c.relname = 'tenants' AND a.attname = 'id')
    WHERE c.relnamespace = 'public'::regnamespace AND CASE
        WHEN c.relkind IN ('r', 'p') THEN NOT c.relrowsecurity OR NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
        WHEN c.relkind = 'v' THEN NOT coalesce(c.reloptions @> '{security_invoker=true}', false)
        ELSE c.relkind = 'm' END"""
FAR_SIGHTED = """
    SELECT p.proname, p.proconfig, has_function_privilege('public', p.oid, 'EXECUTE') AS for_all FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND p.prorettype <> 'trigger'::regtype"""


@pytest_asyncio.fixture(loop_scope="session")
async def two(still: Installation) -> AsyncIterator[tuple[Caller, Caller]]:
    """Two tenants with rows in every table."""
    async with still.api() as client, still.sql() as sql:
        callers = (await still.tenant(client, "acme"), await still.tenant(client, "bolt"))
        for caller in callers:
            await caller.ingest()
            await caller.begin_upload("open")
            await caller.ingest("old")
            path = "/v1/entities/cust_8842/versions/v2024.10.05/datasets/old/retire"
            assert (await caller.post(path, {"reason": "old"})).status_code == 200
            await sql.execute("INSERT INTO swept_folders VALUES ($1, 'e', 'v', 'd', 'r', now(), now())", caller.tenant)
            await sql.execute(
                "INSERT INTO stray_jobs (cluster, tenant, process_id, step, attempt, seen_at)"
                " VALUES ('c', $1, gen_random_uuid(), 0, 1, now())",
                caller.tenant,
            )
            hooked = await caller.run(3, output_dataset="c", callback_url="https://hooks.test/h")
            assert hooked.status_code == 202
            assert (await caller.post(f"/v1/processes/{hooked.json()['id']}/cancel")).status_code == 202
            assert (await caller.get("/v1/webhooks/secret")).status_code == 200
            accepted = await caller.run(1, output_dataset="a")
            assert accepted.status_code == 202
            keyed = await caller.post("/v1/processes", _body(2), headers={"Idempotency-Key": "k"})
            assert keyed.status_code == 202, keyed.text
            await queries.refuse_callback(
                sql,
                tenant=caller.tenant,
                process_id=accepted.json()["id"],
                step=0,
                attempt=1,
                run_id="r",
                type="started",
                reason="late",
                most=9,
                most_of_reason=9,
            )
        yield callers


def _body(number: int) -> dict[str, Any]:
    return {
        "entity_id": "cust_8842",
        "data_version": "v2024.10.05",
        "action": "filter",
        "parameters": {"condition": f"delay > {number}"},
        "output_dataset": f"b-{number}",
    }


@asynccontextmanager
async def confined(still: Installation, tenant: str | None) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the role, with every privilege on every relation: policies alone stand between. What is done is undone."""
    async with still.sql() as sql:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO stratum_tenant")
        if tenant is not None:
            await sql.fetchval("SELECT set_config('stratum.tenant', $1, true)", tenant)
        await sql.execute("SET LOCAL ROLE stratum_tenant")
        yield sql
        await transaction.rollback()


async def relations(still: Installation) -> list[asyncpg.Record]:
    async with still.sql() as sql:
        found = await sql.fetch(RELATIONS)
        for row in found:
            seen = await sql.fetch(f"SELECT DISTINCT {row['owner']} AS owner FROM {row['name']}")
            assert {each["owner"] for each in seen} == {"acme", "bolt"}, f"this test makes no rows of both for {row['name']}"
        return list(found)


async def leaks(still: Installation, relation: asyncpg.Record) -> list[str]:
    """Ways in which acme gets at rows of bolt."""
    name, owner = relation["name"], relation["owner"]
    found = []
    async with confined(still, "acme") as sql:
        seen = {row["owner"] for row in await sql.fetch(f"SELECT {owner} AS owner FROM {name}")}
        found += [f"{name}: sees {other}" for other in seen - {"acme"}]
        assert "acme" in seen, f"{name}: does not see its own"
    attempts = {
        "changes": f"UPDATE {name} SET {owner} = {owner} WHERE {owner} = 'bolt'",
        "takes": f"UPDATE {name} SET {owner} = 'acme' WHERE {owner} = 'bolt'",
        "gives away": f"UPDATE {name} SET {owner} = 'bolt' WHERE {owner} = 'acme'",
        "removes": f"DELETE FROM {name} WHERE {owner} = 'bolt'",
        "inserts": f"INSERT INTO {name} OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(NULL::{name}, $1)).*",
    }
    async with still.sql() as sql:
        foreign = await sql.fetchval(f"SELECT to_jsonb(r)::text FROM {name} r WHERE {owner} = 'bolt' LIMIT 1")
    for way, statement in attempts.items():
        async with confined(still, "acme") as sql:
            try:
                status = await sql.execute(statement, *([foreign] if way == "inserts" else []))
            except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError):
                continue  # the policy; or a view that cannot be written at all
            except asyncpg.FeatureNotSupportedError:
                continue  # a column of a view that is computed
            except (asyncpg.RaiseError, asyncpg.IntegrityConstraintViolationError) as error:
                found.append(f"{name}: {way} rows of bolt ({error})")  # stopped by something behind the policy
            else:
                found += [f"{name}: {way} rows of bolt"] if status.split()[-1] != "0" else []
    return found


async def test_rows_of_others_are_neither_seen_nor_changed_nor_inserted(still: Installation, two: tuple[Caller, Caller]) -> None:
    del two
    names = await relations(still)
    assert len(names) >= 14
    # its own rows, and the trigger forbids that before the policy does
    append_only = {f"{table}: gives away" for table in ("events", "datasets", "refused_callbacks", "retirements")}
    for relation in names:
        found = [leak for leak in await leaks(still, relation) if leak.split(" rows")[0] not in append_only]
        assert found == []


async def test_without_the_policies_the_check_above_fails(still: Installation, two: tuple[Caller, Caller]) -> None:
    del two
    names = await relations(still)
    async with still.sql() as sql:
        for relation in names:
            if not relation["is_view"]:
                await sql.execute(f"ALTER TABLE {relation['name']} DISABLE ROW LEVEL SECURITY")
    for relation in names:
        assert f"{relation['name']}: sees bolt" in await leaks(still, relation)
        if not relation["is_view"]:
            assert any("inserts" in leak for leak in await leaks(still, relation))


async def test_without_a_tenant_nothing_is_seen(still: Installation, two: tuple[Caller, Caller]) -> None:
    for tenant in (None, ""):
        async with confined(still, tenant) as sql:
            for relation in await relations(still):
                assert await sql.fetchval(f"SELECT count(*) FROM {relation['name']}") == 0, relation["name"]
            for caller in two:
                waiting = (await caller.ok("GET", "/v1/processes"))["items"][0]["id"]
                assert await sql.fetch("SELECT * FROM queue_place($1)", waiting) == []


async def test_a_statement_without_its_tenant_gets_nothing_foreign(still: Installation, two: tuple[Caller, Caller]) -> None:
    acme, bolt = two
    theirs = [item["id"] for item in (await bolt.ok("GET", "/v1/processes"))["items"]]
    items = (await acme.ok("GET", "/v1/processes"))["items"]
    own = [item["id"] for item in items]
    waiting = {item["id"] for item in items if item["state"] == "accepted"}
    database = Database(still.api_settings)
    try:
        async with database.tenant("acme") as connection:
            assert {str(row["id"]) for row in await connection.fetch("SELECT id FROM processes")} == set(own)
            assert await queries.get_process(connection, tenant="bolt", id=theirs[0], counted=None) is None
            assert await queries.lock_process(connection, id=theirs[0], tenant=None) is None
            assert await connection.fetch("SELECT * FROM queue_place($1)", theirs[0]) == []
            assert await connection.fetch("SELECT process_id FROM queue_places($1)", own + theirs) != []
            seen = await connection.fetch("SELECT process_id::text AS id FROM queue_places($1)", own + theirs)
            assert {row["id"] for row in seen} == waiting
            assert await queries.hold_acceptance(connection, tenant="bolt") == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.fetch("SELECT * FROM admission_queue(NULL)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.fetch("SELECT * FROM api_keys")
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT current_user") != "stratum_tenant", "the role ends with the transaction"
            assert await connection.fetchval("SELECT count(*) FROM processes") == len(own + theirs)
    finally:
        await database.close()


async def test_a_temporary_table_does_not_fool_what_sees_further(still: Installation, two: tuple[Caller, Caller]) -> None:
    """A function that runs as the owner looks tables up in its own order: one that the caller makes is not among them."""
    mine = (await two[0].ok("GET", "/v1/processes"))["items"][0]["id"]
    async with confined(still, "acme") as sql:
        before = await sql.fetch("SELECT * FROM queue_place($1)", mine)
        await sql.execute("CREATE TEMPORARY TABLE processes AS SELECT * FROM public.processes WHERE false")
        await sql.execute("GRANT ALL ON pg_temp.processes TO PUBLIC")
        assert await sql.fetch("SELECT * FROM queue_place($1)", mine) == before != []


async def test_every_relation_with_a_tenant_has_its_policy(still: Installation) -> None:
    """`SELECT confine('the_table', 'SELECT, INSERT')` in a migration is what a new table needs; views need `security_invoker`."""
    async with still.sql() as sql:
        assert await sql.fetch(UNCONFINED) == []
        await sql.execute("CREATE TABLE forgotten (tenant text NOT NULL)")
        await sql.execute("CREATE VIEW forgotten_too AS SELECT tenant FROM forgotten")
        assert {row["relname"] for row in await sql.fetch(UNCONFINED)} == {"forgotten", "forgotten_too"}
        await sql.execute("SELECT confine('forgotten', 'SELECT')")
        assert [row["relname"] for row in await sql.fetch(UNCONFINED)] == ["forgotten_too"]


async def test_few_functions_see_further_than_their_caller(still: Installation) -> None:
    async with still.sql() as sql:
        rows = await sql.fetch(FAR_SIGHTED)
        role = await sql.fetchrow("SELECT rolcanlogin, rolbypassrls, rolsuper FROM pg_roles WHERE rolname = 'stratum_tenant'")
    assert {row["proname"] for row in rows} == {"more_wait_than", "queue_place", "queue_places"}
    assert all(row["proconfig"] == ["search_path=public, pg_temp"] and not row["for_all"] for row in rows)
    assert tuple(role) == (False, False, False)


OWNER = {
    "authentication.py",  # whose credential it is tells which tenant it is
    "last_use.py",  # notes the use of credentials, of many tenants at once
    "looks.py",  # probes and metrics concern no tenant
    "health.py",  # database time
}


async def test_keys_are_the_tenants_own(still: Installation, two: tuple[Caller, Caller]) -> None:
    del two
    database = Database(still.api_settings)
    try:
        async with database.tenant("acme") as connection:
            assert {row["tenant"] for row in await connection.fetch("SELECT tenant FROM api_keys")} == {"acme"}
            assert await connection.execute("UPDATE api_keys SET revoked_at = now() WHERE tenant = 'bolt'") == "UPDATE 0"
            for statement in (
                "SELECT key_hash FROM api_keys",
                "UPDATE api_keys SET role = 'admin'",
                "UPDATE api_keys SET key_hash = sha256('x')",
                "DELETE FROM api_keys",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with connection.transaction():
                        await connection.execute(statement)
    finally:
        await database.close()


def test_handlers_enter_their_tenant() -> None:
    """A handler works as the owner of the tables in these places alone."""
    folder = Path(control_plane.api.__file__).parent
    as_owner = {path.name for path in folder.glob("*.py") if re.search(r"database\.(connection|transaction)\(", path.read_text())}
    assert as_owner == OWNER
