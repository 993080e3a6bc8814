/*
 * Connections: a foreign server says where Temporal is, a user mapping with
 * which credentials a role goes there.
 */

CREATE FUNCTION temporal_internal.temporal_complete_fdw_validator(options text[], catalog oid)
RETURNS void
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'temporal_complete_fdw_validator';
COMMENT ON FUNCTION temporal_internal.temporal_complete_fdw_validator(text[], oid) IS
    'internal: checks the options of foreign servers and user mappings';
REVOKE ALL ON FUNCTION temporal_internal.temporal_complete_fdw_validator(text[], oid) FROM PUBLIC;

/*
 * Nobody is granted its use: who may say where requests go is for the DBA to
 * decide (GRANT USAGE ON FOREIGN DATA WRAPPER).
 */
CREATE FOREIGN DATA WRAPPER temporal_complete
    NO HANDLER
    VALIDATOR temporal_internal.temporal_complete_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER temporal_complete IS
    'Temporal: its servers are where activities are completed';
