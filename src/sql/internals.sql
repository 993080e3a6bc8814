/*
 * Functions that the views and the install script need.
 */

CREATE FUNCTION temporal.in_flight_requests()
RETURNS SETOF bigint
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_in_flight_requests';
COMMENT ON FUNCTION temporal.in_flight_requests() IS
    'internal: ids of the requests that the worker of this database has sent and that are not answered yet';
REVOKE ALL ON FUNCTION temporal.in_flight_requests() FROM PUBLIC;

CREATE FUNCTION temporal.writing_transaction()
RETURNS xid
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_writing_transaction';
COMMENT ON FUNCTION temporal.writing_transaction() IS
    'internal: transaction or subtransaction that stores the rows that are written now';
REVOKE ALL ON FUNCTION temporal.writing_transaction() FROM PUBLIC;
