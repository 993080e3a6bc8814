/*
 * Ready-made triggers: a row that changes finishes its activity.
 */

CREATE FUNCTION temporal.complete_activity_trigger()
RETURNS trigger
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'tc_complete_activity_trigger';
COMMENT ON FUNCTION temporal.complete_activity_trigger() IS
    'for CREATE TRIGGER ... AFTER ... FOR EACH ROW: completes the activity that the row names; arguments are name=value';

CREATE FUNCTION temporal.fail_activity_trigger()
RETURNS trigger
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'tc_fail_activity_trigger';
COMMENT ON FUNCTION temporal.fail_activity_trigger() IS
    'for CREATE TRIGGER ... AFTER ... FOR EACH ROW: fails the attempt of the activity that the row names; arguments are name=value';

CREATE FUNCTION temporal.report_cancellation_trigger()
RETURNS trigger
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'tc_report_cancellation_trigger';
COMMENT ON FUNCTION temporal.report_cancellation_trigger() IS
    'for CREATE TRIGGER ... AFTER ... FOR EACH ROW: reports as cancelled the activity that the row names; arguments are name=value';

CREATE FUNCTION temporal.heartbeat_activity_trigger()
RETURNS trigger
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity_trigger';
COMMENT ON FUNCTION temporal.heartbeat_activity_trigger() IS
    'for CREATE TRIGGER ... AFTER ... FOR EACH ROW: sends a heartbeat for the activity that the row names; arguments are name=value';

CREATE FUNCTION temporal.bind_table(
    relation regclass,
    verb text DEFAULT 'complete',
    token_column name DEFAULT NULL,
    key_column name DEFAULT NULL,
    workflow_id_column name DEFAULT NULL,
    activity_id_column name DEFAULT NULL,
    activity_id text DEFAULT NULL,
    run_id_column name DEFAULT NULL,
    wait_for_key interval DEFAULT NULL,
    wait_for_activity interval DEFAULT NULL,
    result_column name DEFAULT NULL,
    ignore name[] DEFAULT NULL,
    message_column name DEFAULT NULL,
    message text DEFAULT NULL,
    type_column name DEFAULT NULL,
    type text DEFAULT NULL,
    details_column name DEFAULT NULL,
    non_retryable boolean DEFAULT NULL,
    cause_column name DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL,
    if_null text DEFAULT NULL,
    on_update_of name[] DEFAULT NULL,
    when_sql text DEFAULT NULL,
    trigger_name name DEFAULT NULL)
RETURNS name
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_bind_table';
COMMENT ON FUNCTION temporal.bind_table(regclass, text, name, name, name, name, text, name, interval, interval, name, name[], name, text, name, text, name, boolean, name, text, text, text, name[], text, name) IS
    'have changes of a table''s rows complete, fail, report as cancelled or heartbeat their activities: makes a trigger, and returns its name';

CREATE FUNCTION temporal.unbind_table(relation regclass, trigger_name name DEFAULT NULL)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_unbind_table';
COMMENT ON FUNCTION temporal.unbind_table(regclass, name) IS
    'drop the triggers that bind_table() has made for a table, or the one of that name; returns how many';

CREATE VIEW temporal.binding AS
SELECT t.tgrelid::pg_catalog.regclass AS relation,
       t.tgname AS trigger_name,
       CASE t.tgfoid
           WHEN 'temporal.complete_activity_trigger()'::pg_catalog.regprocedure THEN 'complete'
           WHEN 'temporal.fail_activity_trigger()'::pg_catalog.regprocedure THEN 'fail'
           WHEN 'temporal.report_cancellation_trigger()'::pg_catalog.regprocedure THEN 'report_cancellation'
           ELSE 'heartbeat'
       END AS verb,
       t.tgenabled OPERATOR(pg_catalog.<>) 'D' AS enabled,
       pg_catalog.pg_get_triggerdef(t.oid, true) AS definition
  FROM pg_catalog.pg_trigger t
 WHERE t.tgparentid OPERATOR(pg_catalog.=) 0
   AND t.tgfoid OPERATOR(pg_catalog.=) ANY (ARRAY[
           'temporal.complete_activity_trigger()'::pg_catalog.regprocedure,
           'temporal.fail_activity_trigger()'::pg_catalog.regprocedure,
           'temporal.report_cancellation_trigger()'::pg_catalog.regprocedure,
           'temporal.heartbeat_activity_trigger()'::pg_catalog.regprocedure]::pg_catalog.oid[]);
COMMENT ON VIEW temporal.binding IS 'tables whose rows finish activities by a ready-made trigger';
GRANT SELECT ON temporal.binding TO PUBLIC;

REVOKE ALL ON FUNCTION
    temporal.complete_activity_trigger(), temporal.fail_activity_trigger(),
    temporal.report_cancellation_trigger(), temporal.heartbeat_activity_trigger(),
    temporal.bind_table(regclass, text, name, name, name, name, text, name, interval, interval, name, name[], name, text, name, text, name, boolean, name, text, text, text, name[], text, name),
    temporal.unbind_table(regclass, name)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    temporal.complete_activity_trigger(), temporal.fail_activity_trigger(),
    temporal.report_cancellation_trigger(), temporal.heartbeat_activity_trigger(),
    temporal.bind_table(regclass, text, name, name, name, name, text, name, interval, interval, name, name[], name, text, name, text, name, boolean, name, text, text, text, name[], text, name),
    temporal.unbind_table(regclass, name)
    TO PUBLIC;
