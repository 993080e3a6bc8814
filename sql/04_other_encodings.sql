--
-- Databases in other encodings: Temporal gets UTF-8 from all of them.
--
SELECT pg_catalog.current_database() AS this_database \gset
CREATE DATABASE regress_tc_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE regress_tc_sql_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;

-- converted, and shown again in the database's own encoding
\c regress_tc_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (namespace 'größe');
SELECT temporal.complete_activity_by_id('é', 'æ', '"ñ"') > 0 AS recorded;
SELECT pg_catalog.encode(request, 'hex') FROM temporal_internal.outbox;
-- a token is bytes: what is in it may well be something that the database does not know
SELECT temporal.complete_activity('\x0a026e731205e5b7a5c3a9') > 0 AS recorded;
SELECT namespace, workflow_id, activity_id FROM temporal.request ORDER BY id;

-- verified
\c regress_tc_sql_ascii
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete;
SELECT temporal.complete_activity_by_id(E'\xc3\xa9', 'a', pg_catalog.to_jsonb(E'\xc3\xb1'::text)) > 0 AS recorded;
SELECT pg_catalog.encode(request, 'hex') FROM temporal_internal.outbox;
SELECT temporal.complete_activity_by_id(E'\xe9', 'a');
SELECT temporal.complete_activity_by_id('w', 'a', pg_catalog.to_jsonb(E'\xf1'::text));
SELECT temporal.complete_activity_by_id('w', 'a', namespace => E'\xe9');
SELECT temporal.fail_activity_by_id('w', 'a', E'\xe9');

\c :this_database
DROP DATABASE regress_tc_latin1;
DROP DATABASE regress_tc_sql_ascii;
