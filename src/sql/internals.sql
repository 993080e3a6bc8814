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
