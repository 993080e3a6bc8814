/*
 * What is not to be sent for the time being.
 */

CREATE FUNCTION temporal.pause(server text DEFAULT NULL, namespace text DEFAULT NULL, requested_by text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_pause';
COMMENT ON FUNCTION temporal.pause(text, text, text) IS
    'requests to a server, or only those into one of its namespaces, are not sent until resume(), when the transaction commits: those of a role, by default the caller''s own, or for the owner of the extension those of all; false if that was so before';

CREATE FUNCTION temporal.resume(server text DEFAULT NULL, namespace text DEFAULT NULL, requested_by text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_resume';
COMMENT ON FUNCTION temporal.resume(text, text, text) IS
    'ends pauses of a server, or only that of one of its namespaces, when the transaction commits: of the same requests as with pause(); false if there was none';

REVOKE ALL ON FUNCTION temporal.pause(text, text, text), temporal.resume(text, text, text) FROM PUBLIC;
/* they look at the rights of who calls them */
GRANT EXECUTE ON FUNCTION temporal.pause(text, text, text), temporal.resume(text, text, text) TO PUBLIC;

/* Everybody's, for the function below only: granted to nobody. */
CREATE VIEW temporal_internal.every_pause AS
SELECT temporal_internal.present_server_name(h.made_here, p.server, p.server_name) AS server, p.namespace,
       CASE WHEN p.requested_by <> 0
            THEN temporal_internal.present_role_name(p.system_identifier, p.requested_by, p.requested_by_name) END AS requested_by,
       CASE WHEN p.requested_by <> 0
            THEN temporal_internal.role_here(p.system_identifier, p.requested_by, p.requested_by_name) END AS role,
       p.paused_at, p.paused_by, p.by_operator, h.made_here IS NOT TRUE AS held
  FROM temporal_internal.queue_pause p
       CROSS JOIN LATERAL temporal_internal.made_here(p.system_identifier, p.database) AS h(made_here);
COMMENT ON VIEW temporal_internal.every_pause IS 'internal: pauses of requests of all roles';
REVOKE ALL ON TABLE temporal_internal.every_pause FROM PUBLIC;

CREATE FUNCTION temporal_internal.visible_pauses(
    OUT server text, OUT namespace text, OUT requested_by text, OUT paused_at timestamptz, OUT paused_by text,
    OUT by_operator boolean, OUT held boolean)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tc_visible_pauses';
COMMENT ON FUNCTION temporal_internal.visible_pauses() IS 'internal: pauses that the reader may see';
REVOKE ALL ON FUNCTION temporal_internal.visible_pauses() FROM PUBLIC;
/* the view calls it with the rights of who looks */
GRANT EXECUTE ON FUNCTION temporal_internal.visible_pauses() TO PUBLIC;

CREATE VIEW temporal.pause AS
SELECT p.server, p.namespace, p.requested_by, p.paused_at, p.paused_by, p.by_operator, p.held
  FROM temporal_internal.visible_pauses() p;
COMMENT ON VIEW temporal.pause IS 'what was paused with pause(), and is not sent until resume()';
COMMENT ON COLUMN temporal.pause.server IS 'foreign server, as it is called now';
COMMENT ON COLUMN temporal.pause.namespace IS 'only requests that go into this Temporal namespace; NULL: all';
COMMENT ON COLUMN temporal.pause.requested_by IS 'only requests of this role; NULL: of all';
COMMENT ON COLUMN temporal.pause.paused_at IS 'since when';
COMMENT ON COLUMN temporal.pause.paused_by IS 'user of the session that paused them';
COMMENT ON COLUMN temporal.pause.by_operator IS 'by somebody with the privileges of the extension''s owner: only such may resume';
COMMENT ON COLUMN temporal.pause.held IS 'it was made in another cluster or database, and counts after adopt()';

REVOKE ALL ON TABLE temporal.pause FROM PUBLIC;
GRANT SELECT ON TABLE temporal.pause TO PUBLIC;
