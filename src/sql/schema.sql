/*
 * Schemas: one with what users call and look at, one with the tables and with
 * the functions that are there for that, which nobody else has to see.  They
 * are members of the extension and belong to its owner, from the first
 * moment: in a schema of another role that role could put objects beside
 * ours.
 */

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['temporal', 'temporal_internal'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) name) THEN
            RAISE EXCEPTION 'schema "%" exists already', name
                USING ERRCODE = 'duplicate_schema',
                      DETAIL = 'The extension temporal_complete makes a schema of this name, which no other role may own.',
                      HINT = 'Rename or drop the existing schema.';
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA temporal;
COMMENT ON SCHEMA temporal IS 'extension temporal_complete: Temporal activities, finished from SQL';

CREATE SCHEMA temporal_internal;
COMMENT ON SCHEMA temporal_internal IS
    'extension temporal_complete: its tables, and functions that it alone calls';
-- what monitoring measures are sizes of tables; to read them takes more
GRANT USAGE ON SCHEMA temporal_internal TO pg_monitor;
