/*
 * Statistics: what workers have counted, from shared memory.
 */

CREATE FUNCTION temporal_internal.stat_entries(
    OUT server text, OUT namespace text,
    OUT delivered bigint, OUT rejected bigint, OUT unconfirmed bigint, OUT expired bigint, OUT discarded bigint,
    OUT heartbeats bigint, OUT superseded bigint, OUT heartbeats_not_kept bigint, OUT background_heartbeats bigint, OUT calls bigint, OUT retries bigint, OUT ambiguous bigint, OUT bytes bigint,
    OUT delivery_time double precision,
    OUT backlog bigint, OUT in_flight bigint, OUT max_requests_per_second bigint, OUT rate_limited boolean, OUT oldest_request_time timestamptz, OUT connected boolean,
    OUT last_call_time timestamptz, OUT last_delivered_time timestamptz,
    OUT last_error_time timestamptz, OUT last_error_code text, OUT last_error_message text,
    OUT error_code text, OUT error_message text, OUT error_since timestamptz,
    OUT server_certificate_expires_at timestamptz, OUT client_certificate_expires_at timestamptz, OUT api_key_expires_at timestamptz,
    OUT clock_ahead double precision,
    OUT stats_reset timestamptz, OUT latencies bigint[],
    OUT waiting_states text[], OUT waiting_codes text[], OUT waiting_requests bigint[])
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
ROWS 10
AS 'MODULE_PATHNAME', 'tc_stat_entries_sql';
COMMENT ON FUNCTION temporal_internal.stat_entries() IS
    'internal: statistics for each role whose rights the caller has (pg_read_all_stats: for all), server and namespace';

CREATE FUNCTION temporal_internal.stat_bounds()
RETURNS double precision[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_stat_bounds_sql';
COMMENT ON FUNCTION temporal_internal.stat_bounds() IS 'internal: upper bounds of temporal.stat_latency';

CREATE FUNCTION temporal_internal.stat_workers(
    OUT datid oid, OUT pid integer, OUT state text, OUT start_time timestamptz,
    OUT queues bigint, OUT requests bigint, OUT in_flight bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
ROWS 4
AS 'MODULE_PATHNAME', 'tc_stat_workers';
COMMENT ON FUNCTION temporal_internal.stat_workers() IS 'internal: workers of the cluster';

CREATE FUNCTION temporal.stat_reset(server text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tc_stat_reset_sql';
COMMENT ON FUNCTION temporal.stat_reset(text) IS
    'begins to count anew for a server of this database, or for all (NULL)';

REVOKE ALL ON FUNCTION temporal_internal.stat_entries(), temporal_internal.stat_bounds(), temporal_internal.stat_workers(),
    temporal.stat_reset(text) FROM PUBLIC;
/* a view calls them with the rights of who looks; what that is shown they decide themselves */
GRANT EXECUTE ON FUNCTION temporal_internal.stat_entries(), temporal_internal.stat_bounds(), temporal_internal.stat_workers() TO PUBLIC;

CREATE VIEW temporal.stat_server AS
SELECT e.server, e.namespace,
       sum(e.delivered + e.rejected + e.unconfirmed)::bigint AS requests,
       sum(e.delivered)::bigint AS delivered,
       sum(e.rejected)::bigint AS rejected,
       sum(e.unconfirmed)::bigint AS unconfirmed,
       sum(e.expired)::bigint AS expired,
       sum(e.discarded)::bigint AS discarded,
       sum(e.heartbeats)::bigint AS heartbeats,
       sum(e.superseded)::bigint AS superseded,
       sum(e.heartbeats_not_kept)::bigint AS heartbeats_not_kept,
       sum(e.background_heartbeats)::bigint AS background_heartbeats,
       sum(e.calls)::bigint AS calls,
       sum(e.retries)::bigint AS retries,
       sum(e.ambiguous)::bigint AS ambiguous,
       sum(e.bytes)::bigint AS bytes,
       sum(e.delivery_time) AS delivery_time,
       sum(e.backlog)::bigint AS backlog,
       sum(e.in_flight)::bigint AS in_flight,
       max(e.max_requests_per_second) AS max_requests_per_second,
       bool_or(e.rate_limited) AS rate_limited,
       (SELECT o.option_value
          FROM pg_foreign_server f CROSS JOIN LATERAL pg_options_to_table(f.srvoptions) o
         WHERE f.srvname = e.server AND o.option_name = 'namespaces') AS namespaces,
       min(e.oldest_request_time) AS oldest_request_time,
       bool_or(e.connected) AS connected,
       max(e.last_call_time) AS last_call_time,
       max(e.last_delivered_time) AS last_delivered_time,
       max(e.last_error_time) AS last_error_time,
       (array_agg(e.last_error_code ORDER BY e.last_error_time DESC NULLS LAST))[1] AS last_error_code,
       (array_agg(e.last_error_message ORDER BY e.last_error_time DESC NULLS LAST))[1] AS last_error_message,
       (array_agg(e.error_code ORDER BY e.error_since))[1] AS error_code,
       (array_agg(e.error_message ORDER BY e.error_since))[1] AS error_message,
       min(e.error_since) AS error_since,
       min(e.server_certificate_expires_at) AS server_certificate_expires_at,
       min(e.client_certificate_expires_at) AS client_certificate_expires_at,
       min(e.api_key_expires_at) AS api_key_expires_at,
       (array_agg(e.clock_ahead ORDER BY abs(e.clock_ahead) DESC NULLS LAST))[1] AS clock_ahead,
       max(e.stats_reset) AS stats_reset
  FROM temporal_internal.stat_entries() e
 GROUP BY e.server, e.namespace;

COMMENT ON VIEW temporal.stat_server IS
    'statistics of each server and namespace: requests of roles whose rights the reader has, or of all (pg_read_all_stats)';
COMMENT ON COLUMN temporal.stat_server.server IS 'foreign server; NULL: what found no room, see temporal_complete.max_statistics';
COMMENT ON COLUMN temporal.stat_server.namespace IS 'Temporal namespace';
COMMENT ON COLUMN temporal.stat_server.requests IS 'requests that have ended: delivered + rejected + unconfirmed';
COMMENT ON COLUMN temporal.stat_server.delivered IS 'requests that Temporal took';
COMMENT ON COLUMN temporal.stat_server.rejected IS 'requests that were refused for good';
COMMENT ON COLUMN temporal.stat_server.unconfirmed IS 'requests that Temporal may have taken, which could not be proved';
COMMENT ON COLUMN temporal.stat_server.expired IS 'of those that were rejected or are unconfirmed, such as got too old';
COMMENT ON COLUMN temporal.stat_server.discarded IS 'requests that somebody has given up, while they waited or after they were rejected';
COMMENT ON COLUMN temporal.stat_server.heartbeats IS 'of all requests, heartbeats';
COMMENT ON COLUMN temporal.stat_server.superseded IS 'heartbeats in whose place a later request was sent; not among requests';
COMMENT ON COLUMN temporal.stat_server.heartbeats_not_kept IS 'of heartbeats and of those superseded, such as are not in temporal.request any more, since only the last one of an activity is kept';
COMMENT ON COLUMN temporal.stat_server.background_heartbeats IS 'heartbeats that workers sent for recorded activities; not among requests, nor calls';
COMMENT ON COLUMN temporal.stat_server.calls IS 'calls to Temporal that carried a request';
COMMENT ON COLUMN temporal.stat_server.retries IS 'calls that failed and were, or will be, made again';
COMMENT ON COLUMN temporal.stat_server.ambiguous IS 'calls that failed after which the request may have been applied';
COMMENT ON COLUMN temporal.stat_server.bytes IS 'bytes of requests in calls';
COMMENT ON COLUMN temporal.stat_server.delivery_time IS
    'milliseconds from the verb to the answer of Temporal, of all that was delivered';
COMMENT ON COLUMN temporal.stat_server.backlog IS 'requests that wait; what the worker has not read yet it counts in steps of 10000';
COMMENT ON COLUMN temporal.stat_server.in_flight IS 'requests that were sent and not answered yet';
COMMENT ON COLUMN temporal.stat_server.max_requests_per_second IS 'the option of the server; NULL: there is no limit, or nothing was sent yet';
COMMENT ON COLUMN temporal.stat_server.rate_limited IS 'do requests wait because of that?';
COMMENT ON COLUMN temporal.stat_server.namespaces IS 'the option of the server: further namespaces that requests may name; NULL: none';
COMMENT ON COLUMN temporal.stat_server.oldest_request_time IS 'when the oldest of those that wait was made, about';
COMMENT ON COLUMN temporal.stat_server.connected IS 'is there a connection?';
COMMENT ON COLUMN temporal.stat_server.last_call_time IS 'last call';
COMMENT ON COLUMN temporal.stat_server.last_delivered_time IS 'last request that Temporal took';
COMMENT ON COLUMN temporal.stat_server.last_error_time IS 'last call that failed, or request that was not delivered';
COMMENT ON COLUMN temporal.stat_server.last_error_code IS 'its gRPC status, or a word of the extension';
COMMENT ON COLUMN temporal.stat_server.last_error_message IS 'what went wrong, for those who may see the request';
COMMENT ON COLUMN temporal.stat_server.error_code IS 'why nothing is sent now; NULL = nothing is wrong';
COMMENT ON COLUMN temporal.stat_server.error_message IS 'the same, for those who may see the requests';
COMMENT ON COLUMN temporal.stat_server.error_since IS 'since when';
COMMENT ON COLUMN temporal.stat_server.server_certificate_expires_at IS 'that of the server, when it was connected last; NULL: it has none, or was not connected yet';
COMMENT ON COLUMN temporal.stat_server.client_certificate_expires_at IS 'the first of the client certificates that it was connected with';
COMMENT ON COLUMN temporal.stat_server.api_key_expires_at IS 'the first of the API keys, of those that say so, as a JWT does';
COMMENT ON COLUMN temporal.stat_server.clock_ahead IS 'seconds by which the clock of the server, or of a proxy before it, is ahead; NULL: it did not say what time it is';
COMMENT ON COLUMN temporal.stat_server.stats_reset IS 'since when it is counted: stat_reset(), or the start of PostgreSQL, also after a crash';

CREATE VIEW temporal.stat_backlog AS
SELECT e.server, e.namespace, w.state, NULLIF(w.error_code, '') AS error_code, sum(w.requests)::bigint AS requests
  FROM temporal_internal.stat_entries() e
       CROSS JOIN LATERAL unnest(e.waiting_states, e.waiting_codes, e.waiting_requests) AS w(state, error_code, requests)
 GROUP BY e.server, e.namespace, w.state, w.error_code;

COMMENT ON VIEW temporal.stat_backlog IS
    'how many requests wait or are in flight, by server, namespace, state and code, as the worker knows them: without reading them';
COMMENT ON COLUMN temporal.stat_backlog.server IS 'foreign server';
COMMENT ON COLUMN temporal.stat_backlog.namespace IS 'Temporal namespace';
COMMENT ON COLUMN temporal.stat_backlog.state IS 'queued, in_flight, retrying, confirming or waiting, as in temporal.request';
COMMENT ON COLUMN temporal.stat_backlog.error_code IS 'why; NULL: there is no reason but that it is not their turn yet';
COMMENT ON COLUMN temporal.stat_backlog.requests IS 'how many; what the worker has not read yet it counts in steps of 10000';

CREATE VIEW temporal.stat_latency AS
SELECT e.server, e.namespace, l.le, sum(l.count)::bigint AS count
  FROM temporal_internal.stat_entries() e
       CROSS JOIN LATERAL unnest(temporal_internal.stat_bounds(), e.latencies) AS l(le, count)
 GROUP BY e.server, e.namespace, l.le;

COMMENT ON VIEW temporal.stat_latency IS
    'how long delivery took, from the verb to the answer of Temporal: a cumulative histogram, of the requests that temporal.stat_server counts';
COMMENT ON COLUMN temporal.stat_latency.server IS 'foreign server';
COMMENT ON COLUMN temporal.stat_latency.namespace IS 'Temporal namespace';
COMMENT ON COLUMN temporal.stat_latency.le IS 'seconds; the last one is Infinity';
COMMENT ON COLUMN temporal.stat_latency.count IS 'requests that were delivered within that time';

CREATE VIEW temporal.stat_worker AS
SELECT w.datid, d.datname, w.pid, w.state, w.start_time, w.queues, w.requests, w.in_flight
  FROM temporal_internal.stat_workers() w
       LEFT JOIN pg_catalog.pg_database d ON d.oid = w.datid;

COMMENT ON VIEW temporal.stat_worker IS
    'workers of the cluster; what they have to do is shown to pg_read_all_stats';
COMMENT ON COLUMN temporal.stat_worker.datid IS 'OID of the database it works for';
COMMENT ON COLUMN temporal.stat_worker.datname IS 'its name';
COMMENT ON COLUMN temporal.stat_worker.pid IS 'process, whose query in pg_stat_activity says what it does; NULL: not there yet';
COMMENT ON COLUMN temporal.stat_worker.state IS 'starting, working or leaving';
COMMENT ON COLUMN temporal.stat_worker.start_time IS 'when it began to work';
COMMENT ON COLUMN temporal.stat_worker.queues IS 'roles, servers and namespaces that it knows requests of';
COMMENT ON COLUMN temporal.stat_worker.requests IS 'requests in its memory';
COMMENT ON COLUMN temporal.stat_worker.in_flight IS 'requests that were sent and not answered yet';

REVOKE ALL ON TABLE temporal.stat_server, temporal.stat_backlog, temporal.stat_latency, temporal.stat_worker FROM PUBLIC;
GRANT SELECT ON TABLE temporal.stat_server, temporal.stat_backlog, temporal.stat_latency, temporal.stat_worker TO PUBLIC;
