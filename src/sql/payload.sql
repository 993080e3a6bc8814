/*
 * One value as Temporal carries it.  Each verb takes values as this type, so
 * that it has one signature, whatever a value is made of.
 */

CREATE TYPE temporal.payload;

CREATE FUNCTION temporal_internal.payload_in(cstring)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_in';
COMMENT ON FUNCTION temporal_internal.payload_in(cstring) IS 'I/O';

CREATE FUNCTION temporal_internal.payload_out(temporal.payload)
RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_out';
COMMENT ON FUNCTION temporal_internal.payload_out(temporal.payload) IS 'I/O';

CREATE FUNCTION temporal_internal.payload_recv(internal)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_recv';
COMMENT ON FUNCTION temporal_internal.payload_recv(internal) IS 'I/O';

CREATE FUNCTION temporal_internal.payload_send(temporal.payload)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_send';
COMMENT ON FUNCTION temporal_internal.payload_send(temporal.payload) IS 'I/O';

CREATE TYPE temporal.payload (
    INPUT = temporal_internal.payload_in,
    OUTPUT = temporal_internal.payload_out,
    RECEIVE = temporal_internal.payload_recv,
    SEND = temporal_internal.payload_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE temporal.payload IS
    'a payload of Temporal: JSON, or data of any other encoding with its metadata';

CREATE FUNCTION temporal.payload(encoding text, data bytea, metadata jsonb DEFAULT NULL)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_of';
COMMENT ON FUNCTION temporal.payload(text, bytea, jsonb) IS
    'a payload of any encoding; metadata are further entries, an object whose values are strings';

CREATE FUNCTION temporal.payload_parts(payload temporal.payload,
    OUT encoding text, OUT data bytea, OUT metadata jsonb)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_parts';
COMMENT ON FUNCTION temporal.payload_parts(temporal.payload) IS
    'what a payload is made of';

/*
 * Casts.  Those of text types are there to say what to write instead.
 */

CREATE FUNCTION temporal.payload(jsonb)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_from_jsonb';
COMMENT ON FUNCTION temporal.payload(jsonb) IS 'the value as JSON, without blanks';

CREATE FUNCTION temporal.payload(json)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_from_json';
COMMENT ON FUNCTION temporal.payload(json) IS 'the text of the JSON as it is';

CREATE FUNCTION temporal.payload(bytea)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_from_bytea';
COMMENT ON FUNCTION temporal.payload(bytea) IS 'the bytes as they are, with the encoding binary/plain';

CREATE FUNCTION temporal.payload(text)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_from_text';
COMMENT ON FUNCTION temporal.payload(text) IS 'an error that says how to make a payload of a text';

CREATE FUNCTION temporal.payload(character)
RETURNS temporal.payload
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_payload_from_text';
COMMENT ON FUNCTION temporal.payload(character) IS 'an error that says how to make a payload of a text';

CREATE CAST (jsonb AS temporal.payload) WITH FUNCTION temporal.payload(jsonb) AS IMPLICIT;
CREATE CAST (json AS temporal.payload) WITH FUNCTION temporal.payload(json) AS IMPLICIT;
CREATE CAST (bytea AS temporal.payload) WITH FUNCTION temporal.payload(bytea) AS IMPLICIT;
CREATE CAST (text AS temporal.payload) WITH FUNCTION temporal.payload(text) AS IMPLICIT;
CREATE CAST (character varying AS temporal.payload) WITH FUNCTION temporal.payload(text) AS IMPLICIT;
CREATE CAST (character AS temporal.payload) WITH FUNCTION temporal.payload(character) AS IMPLICIT;

REVOKE ALL ON FUNCTION
    temporal.payload(text, bytea, jsonb), temporal.payload_parts(temporal.payload),
    temporal.payload(jsonb), temporal.payload(json), temporal.payload(bytea), temporal.payload(text),
    temporal.payload(character)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    temporal.payload(text, bytea, jsonb), temporal.payload_parts(temporal.payload),
    temporal.payload(jsonb), temporal.payload(json), temporal.payload(bytea), temporal.payload(text),
    temporal.payload(character)
    TO PUBLIC;
