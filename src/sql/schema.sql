/*
 * The schema is a member of the extension and belongs to its owner, from the
 * first moment: in a schema of another role that role could put objects
 * beside ours.
 */

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'temporal') THEN
        RAISE EXCEPTION 'schema "temporal" exists already'
            USING ERRCODE = 'duplicate_schema',
                  DETAIL = 'The extension temporal_complete makes a schema of this name, which no other role may own.',
                  HINT = 'Rename or drop the existing schema.';
    END IF;
END
$$;

CREATE SCHEMA temporal;
COMMENT ON SCHEMA temporal IS 'extension temporal_complete: Temporal activities, finished from SQL';
