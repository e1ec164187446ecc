"""What PostgreSQL is given: tables, functions, triggers. What each is for: see the package.

In the text, {name} is filled in by `install`. `routers.owned` is the account that was looked up
last in this transaction, which holds its lock: a savepoint that is rolled back takes both away.
"""

__all__ = ["FUNCTIONS", "OPEN_FUNCTIONS", "TABLES", "TRIGGERS"]

TABLES = """
CREATE TABLE IF NOT EXISTS routers_owner_slot (
    slot integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 4095),
    state text NOT NULL CHECK (state IN ('owner', 'captured', 'moved')),
    epoch bigint NOT NULL DEFAULT 1,
    moved_to text,
    CHECK ((state = 'moved') = (moved_to IS NOT NULL))
);
CREATE TABLE IF NOT EXISTS routers_owner_account (
    account_id bigint PRIMARY KEY CHECK (account_id > 0),
    state text NOT NULL CHECK (state IN ('owner', 'captured', 'moved', 'incoming')),
    epoch bigint NOT NULL DEFAULT 1,
    moved_to text,
    CHECK ((state = 'moved') = (moved_to IS NOT NULL))
);
CREATE TABLE IF NOT EXISTS routers_owner_captured (
    number bigserial PRIMARY KEY,
    account_id bigint NOT NULL,
    table_name text NOT NULL,
    id bigint NOT NULL
);
"""

# The constants. Not const-folded as IMMUTABLE would be but inlined, so that every plan that holds
# one is known to depend on it, and is made anew when it is replaced.
OPEN_FUNCTIONS = """
CREATE FUNCTION routers_open_slots() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    AS $$SELECT decode(repeat('ff', 512), 'hex')$$;
CREATE FUNCTION routers_open_accounts() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE
    AS $$SELECT '{{}}'::bigint[]$$;
"""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION routers_compile_owner() RETURNS void LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = {schema}, pg_temp AS $owner$
DECLARE
    slots bytea := decode(repeat('ff', 512), 'hex');
    accounts bigint[];
    closed integer;
    made constant text := 'CREATE OR REPLACE FUNCTION %s() RETURNS %s LANGUAGE sql STABLE'
        ' PARALLEL SAFE AS $open$SELECT %L::%s$open$';
BEGIN
    PERFORM pg_advisory_xact_lock({lock_class}, {compiling});
    FOR closed IN
        SELECT number FROM generate_series(0, 4095) number
            LEFT JOIN routers_owner_slot ON slot = number
            WHERE state IS DISTINCT FROM 'owner' AND EXISTS (SELECT FROM routers_owner_slot)
        UNION SELECT (account_id & 4095)::integer FROM routers_owner_account
    LOOP
        slots := set_bit(slots, closed, 0);
    END LOOP;
    accounts := ARRAY(SELECT account_id FROM routers_owner_account WHERE state = 'owner'
                      ORDER BY account_id LIMIT 200);
    IF slots IS DISTINCT FROM routers_open_slots() THEN
        EXECUTE format(made, 'routers_open_slots', 'bytea', slots, 'bytea');
    END IF;
    IF accounts IS DISTINCT FROM routers_open_accounts() THEN
        EXECUTE format(made, 'routers_open_accounts', 'bigint[]', accounts, 'bigint[]');
    END IF;
END $owner$;

CREATE OR REPLACE FUNCTION routers_refuse_account(account bigint, state text, shard text)
    RETURNS void LANGUAGE plpgsql AS $owner$
BEGIN
    IF state = 'moved' AND shard IS NOT NULL THEN
        RAISE EXCEPTION 'account % has moved to %', account, shard
            USING ERRCODE = '{moved}', DETAIL = shard;
    END IF;
    RAISE EXCEPTION 'account % is not on this shard', account USING ERRCODE = '{not_here}',
        HINT = 'Compare with the map: manage.py shards check';
END $owner$;

CREATE OR REPLACE FUNCTION routers_lock_account(account bigint, key bigint)
    RETURNS void LANGUAGE plpgsql AS $owner$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(key # {lock_space}) THEN
        RAISE EXCEPTION 'account % is being moved, try again', account USING ERRCODE = '{moving}';
    END IF;
END $owner$;

CREATE OR REPLACE FUNCTION routers_check_owner(account bigint) RETURNS text LANGUAGE plpgsql
    AS $owner$
DECLARE
    seen text;
    shard text;
    latest constant boolean := current_setting('transaction_isolation') = 'read committed';
BEGIN
    PERFORM routers_lock_account(account, account);
    IF latest THEN
        SELECT state, moved_to INTO seen, shard FROM routers_owner_account
            WHERE account_id = account;
    ELSE
        SELECT state, moved_to INTO seen, shard FROM routers_owner_account
            WHERE account_id = account FOR SHARE;
    END IF;
    IF NOT FOUND THEN
        PERFORM routers_lock_account(account, -1 - (account & 4095));
        IF latest THEN
            SELECT state, moved_to INTO seen, shard FROM routers_owner_slot
                WHERE slot = (account & 4095);
        ELSE
            SELECT state, moved_to INTO seen, shard FROM routers_owner_slot
                WHERE slot = (account & 4095) FOR SHARE;
        END IF;
        IF NOT FOUND AND NOT EXISTS (SELECT FROM routers_owner_slot) THEN
            RETURN 'owner'; -- never told
        END IF;
    END IF;
    IF seen IN ('owner', 'captured') THEN
        RETURN seen;
    END IF;
    PERFORM routers_refuse_account(account, seen, shard);
END $owner$;

CREATE OR REPLACE FUNCTION routers_require_owner(account bigint) RETURNS void LANGUAGE plpgsql
    AS $owner$
BEGIN
    IF get_bit(routers_open_slots(), (account & 4095)::integer) = 0
            AND account <> ALL (routers_open_accounts()) THEN
        PERFORM routers_check_owner(account);
    END IF;
END $owner$;

CREATE OR REPLACE FUNCTION routers_require_readable(account bigint) RETURNS void LANGUAGE plpgsql
    AS $owner$
DECLARE
    seen text;
    shard text;
BEGIN
    IF get_bit(routers_open_slots(), (account & 4095)::integer) = 1
            OR account = ANY (routers_open_accounts()) THEN
        RETURN;
    END IF;
    SELECT state, moved_to INTO seen, shard FROM routers_owner_account WHERE account_id = account;
    IF NOT FOUND THEN
        SELECT state, moved_to INTO seen, shard FROM routers_owner_slot
            WHERE slot = (account & 4095);
        IF NOT FOUND AND NOT EXISTS (SELECT FROM routers_owner_slot) THEN
            RETURN; -- never told
        END IF;
    END IF;
    IF seen IS NULL OR seen NOT IN ('owner', 'captured') THEN
        PERFORM routers_refuse_account(account, seen, shard);
    END IF;
END $owner$;

CREATE OR REPLACE FUNCTION routers_guard_write() RETURNS trigger LANGUAGE plpgsql AS $owner$
BEGIN
    IF get_bit(routers_open_slots(), (NEW.account_id & 4095)::integer) = 1 THEN
        RETURN NEW;
    ELSIF NEW.account_id = ANY (routers_open_accounts()) OR NEW.account_id IS NULL THEN
        RETURN NEW;
    ELSIF current_setting('routers.owned', true) = NEW.account_id::text THEN
        RETURN NEW;
    ELSIF routers_check_owner(NEW.account_id) = 'captured' THEN
        INSERT INTO routers_owner_captured (account_id, table_name, id)
            SELECT NEW.account_id, TG_TABLE_NAME, NEW.id UNION
            SELECT NEW.account_id, TG_TABLE_NAME, OLD.id WHERE TG_OP = 'UPDATE';
    ELSE
        PERFORM set_config('routers.owned', NEW.account_id::text, true);
    END IF;
    RETURN NEW;
END $owner$;

CREATE OR REPLACE FUNCTION routers_guard_delete() RETURNS trigger LANGUAGE plpgsql AS $owner$
BEGIN
    IF get_bit(routers_open_slots(), (OLD.account_id & 4095)::integer) = 1 THEN
        RETURN OLD;
    ELSIF OLD.account_id = ANY (routers_open_accounts()) THEN
        RETURN OLD;
    ELSIF current_setting('routers.owned', true) = OLD.account_id::text THEN
        RETURN OLD;
    ELSIF routers_check_owner(OLD.account_id) = 'captured' THEN
        INSERT INTO routers_owner_captured (account_id, table_name, id)
            VALUES (OLD.account_id, TG_TABLE_NAME, OLD.id);
    ELSE
        PERFORM set_config('routers.owned', OLD.account_id::text, true);
    END IF;
    RETURN OLD;
END $owner$;
"""

TRIGGERS = {
    "routers_owner_write": "INSERT OR UPDATE",
    "routers_owner_delete": "DELETE",
}
"""Name → events; each calls the function routers_guard_… of the same end."""
