/*
 * Functions that the views and the install script need.
 */

CREATE FUNCTION temporal_internal.in_flight_requests()
RETURNS SETOF bigint
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_in_flight_requests';
COMMENT ON FUNCTION temporal_internal.in_flight_requests() IS
    'internal: ids of the requests that the worker of this database has sent and that are not answered yet';
REVOKE ALL ON FUNCTION temporal_internal.in_flight_requests() FROM PUBLIC;

CREATE FUNCTION temporal_internal.writing_transaction()
RETURNS xid
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_writing_transaction';
COMMENT ON FUNCTION temporal_internal.writing_transaction() IS
    'internal: transaction or subtransaction that stores the rows that are written now';
REVOKE ALL ON FUNCTION temporal_internal.writing_transaction() FROM PUBLIC;

/*
 * What could be taken for more than a name is a JSON string: on one line, and
 * without the semicolon that stands between two decisions.
 */
CREATE FUNCTION temporal_internal.name_in_text(name text)
RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT CASE WHEN $1 COLLATE "C" ~ '^[A-Za-z0-9_.-]+$' THEN $1 ELSE replace(to_json($1)::text, ';', E'\\u003b') END;
END;
COMMENT ON FUNCTION temporal_internal.name_in_text(text) IS 'internal: a name that somebody else has chosen, as a part of a text';
REVOKE ALL ON FUNCTION temporal_internal.name_in_text(text) FROM PUBLIC;
