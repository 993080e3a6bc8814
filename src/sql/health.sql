/*
 * Is all well?  For who is on call, and for scripts.
 */

CREATE FUNCTION temporal_internal.health_facts(
    OUT library_version text, OUT preloaded boolean, OUT enabled boolean, OUT listed boolean, OUT in_recovery boolean,
    OUT has_worker boolean, OUT starved boolean, OUT workers integer, OUT wanted integer, OUT max_workers integer,
    OUT of_processes boolean, OUT crashed boolean, OUT missing text[], OUT altered text[])
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_health_facts';
COMMENT ON FUNCTION temporal_internal.health_facts() IS 'internal: what no table says of the state of the extension';

CREATE FUNCTION temporal_internal.summary_problems(
    OUT index regclass, OUT missing bigint, OUT unfinished bigint, OUT first_unfinished bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
ROWS 1
AS 'MODULE_PATHNAME', 'tc_summary_problems';
COMMENT ON FUNCTION temporal_internal.summary_problems() IS 'internal: indexes on outcomes that lack summaries of ranges of pages';

CREATE FUNCTION temporal_internal.raise_unhealthy(problems text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_raise_unhealthy';
COMMENT ON FUNCTION temporal_internal.raise_unhealthy(text) IS 'internal: an error, unless there are no problems (NULL)';

REVOKE ALL ON FUNCTION temporal_internal.health_facts(), temporal_internal.summary_problems(), temporal_internal.raise_unhealthy(text) FROM PUBLIC;

/*
 * Each check is one branch: what is wrong (NULL: nothing), how bad that is, and
 * what to type.
 */
CREATE FUNCTION temporal.health(
    oldest_request interval DEFAULT '5 minutes', since interval DEFAULT '1 day', bloat bigint DEFAULT 134217728)
RETURNS TABLE (check_name text, status text, detail text, hint text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
WITH fact AS MATERIALIZED (
    SELECT f.* FROM temporal_internal.health_facts() f),
/* of each queue with requests that are to be sent now, the oldest one: the first of its index */
waiting AS MATERIALIZED (
    SELECT q.number, q.server, o.requested_at
      FROM temporal_internal.queue_here q
           CROSS JOIN LATERAL (SELECT o.requested_at FROM temporal_internal.outbox o
                                WHERE o.queue = q.number
                                  AND (o.awaited_until IS NULL OR o.awaited_until < clock_timestamp())
                                ORDER BY o.xid, o.id LIMIT 1) o
     WHERE q.made_here AND q.number > 0),
backlog AS MATERIALIZED (
    SELECT min(w.requested_at) AS oldest, count(*) FILTER (WHERE w.requested_at < clock_timestamp() - interval '10 seconds') AS queues
      FROM waiting w),
problem AS (
    SELECT 1 AS place, 'preloaded' AS check_name, 'critical' AS status,
           CASE WHEN NOT f.preloaded THEN 'the library is not loaded by the server, so nothing is sent' END AS detail,
           format('ALTER SYSTEM SET shared_preload_libraries = %s; -- then restart the server',
                  concat_ws(', ', NULLIF(current_setting('shared_preload_libraries'), ''), 'temporal_complete')) AS hint
      FROM fact f
    UNION ALL
    SELECT 2, 'version', 'warning',
           CASE WHEN e.extversion <> f.library_version
                THEN format('the extension has version %s, the library %s', e.extversion, f.library_version) END,
           'ALTER EXTENSION temporal_complete UPDATE'
      FROM fact f, pg_extension e WHERE e.extname = 'temporal_complete'
    UNION ALL
    SELECT 3, 'enabled', 'warning',
           CASE WHEN f.preloaded AND NOT f.enabled THEN 'temporal_complete.enabled is off, so nothing is sent' END,
           'ALTER SYSTEM SET temporal_complete.enabled = on; SELECT pg_reload_conf()'
      FROM fact f
    UNION ALL
    SELECT 4, 'listed', 'warning',
           CASE WHEN f.preloaded AND NOT f.listed
                THEN 'this database is not in temporal_complete.databases, so nothing is sent from it' END,
           format('ALTER SYSTEM SET temporal_complete.databases = %s; SELECT pg_reload_conf()',
                  concat_ws(', ', NULLIF(current_setting('temporal_complete.databases', true), ''), quote_ident(current_database())))
      FROM fact f
    UNION ALL
    SELECT 5, 'crashes', 'critical',
           CASE WHEN f.crashed THEN 'workers of this database crashed again and again, so it gets no more' END,
           'SELECT pg_reload_conf() -- once what the server log says of the crashes is mended'
      FROM fact f
    UNION ALL
    SELECT 6, 'slots', 'critical',
           CASE WHEN f.starved THEN format('%s workers run, and %s databases wait for one', f.workers, GREATEST(f.wanted, 1)) END,
           CASE WHEN NOT f.of_processes
                THEN format('ALTER SYSTEM SET temporal_complete.max_workers = %s; SELECT pg_reload_conf()',
                            f.max_workers + GREATEST(f.wanted, 1))
                ELSE format('ALTER SYSTEM SET max_worker_processes = %s; -- then restart the server',
                            current_setting('max_worker_processes')::integer + GREATEST(f.wanted, 1)) END
      FROM fact f
    UNION ALL
    SELECT 7, 'worker', 'critical',
           CASE WHEN f.preloaded AND f.enabled AND f.listed AND NOT f.in_recovery AND NOT f.has_worker AND b.queues > 0
                THEN format('requests wait since %s, and there is no worker', b.oldest) END,
           'SELECT temporal.wake_worker()'
      FROM fact f, backlog b
    UNION ALL
    SELECT 8, 'queues', 'critical', p.detail, p.hint
      FROM (SELECT string_agg(format('server %s, role %s, namespace %s: %s since %s%s', temporal_internal.name_in_text(q.server),
                                  temporal_internal.name_in_text(q.requested_by), temporal_internal.name_in_text(q.namespace),
                                  e.error_code, e.since, ': ' || NULLIF(e.error_message, '')),
                              E'\n' ORDER BY e.since) AS detail,
                   format('SELECT * FROM temporal.ping(%L)', min(q.server)) AS hint
              FROM (SELECT e.queue, e.error_code, e.error_message, e.since FROM temporal_internal.queue_error e
                     WHERE e.error_code <> 'PAUSED'
                     ORDER BY e.since LIMIT 20) e
                   JOIN temporal_internal.queue_here q ON q.number = e.queue) p
    UNION ALL
    SELECT 9, 'paused', 'warning', p.detail, p.hint
      FROM (SELECT string_agg(format('server %s%s%s, since %s, by %s', temporal_internal.name_in_text(p.server),
                                  ', namespace ' || temporal_internal.name_in_text(p.namespace), ', role ' || temporal_internal.name_in_text(p.requested_by),
                                  p.paused_at, temporal_internal.name_in_text(p.paused_by)),
                              E'\n' ORDER BY p.paused_at, p.server, p.namespace NULLS FIRST, p.requested_by) AS detail,
                   string_agg(format('SELECT temporal.resume(%s)',
                                  concat_ws(', ', quote_literal(p.server), quote_literal(p.namespace),
                                      'requested_by => ' || quote_literal(p.requested_by))),
                              '; ' ORDER BY p.paused_at, p.server, p.namespace NULLS FIRST, p.requested_by) AS hint
              FROM (SELECT e.* FROM temporal_internal.every_pause e WHERE NOT e.held ORDER BY e.paused_at LIMIT 20) p) p
    UNION ALL
    SELECT 10, 'expiring', CASE WHEN c.first < clock_timestamp() + interval '2 days' THEN 'critical' ELSE 'warning' END,
           c.detail, 'SELECT srvname, usename FROM pg_user_mappings -- then ALTER USER MAPPING, or put a new file in place of the old one'
      FROM (SELECT min(x.expires_at) AS first,
                   string_agg(DISTINCT format('server %s: %s expires at %s', temporal_internal.name_in_text(e.server), x.what, x.expires_at), E'\n') AS detail
              FROM temporal_internal.stat_entries() e
                   CROSS JOIN LATERAL (VALUES ('its certificate', e.server_certificate_expires_at),
                                              ('a client certificate', e.client_certificate_expires_at),
                                              ('an API key', e.api_key_expires_at)) x(what, expires_at)
             WHERE x.expires_at < clock_timestamp() + interval '14 days') c
    UNION ALL
    SELECT 11, 'clock', 'warning', c.detail, 'timedatectl -- here and there; what is to be given up at a time is, by the clock of here'
      FROM (SELECT string_agg(DISTINCT format('server %s: its clock, or that of a proxy, is %s seconds %s', temporal_internal.name_in_text(e.server),
                                  abs(e.clock_ahead), CASE WHEN e.clock_ahead > 0 THEN 'ahead' ELSE 'behind' END), E'\n') AS detail
              FROM temporal_internal.stat_entries() e
             WHERE abs(e.clock_ahead) > 60) c
    UNION ALL
    SELECT 12, 'oldest_request', 'warning',
           CASE WHEN b.oldest < clock_timestamp() - health.oldest_request THEN format('a request waits since %s', b.oldest) END,
           'SELECT * FROM temporal.request WHERE finished_at IS NULL ORDER BY requested_at LIMIT 20'
      FROM backlog b
    UNION ALL
    SELECT 13, 'held', 'warning',
           CASE WHEN h.queues > 0 THEN format('requests of %s queues were made in another cluster or database, and are held', h.queues) END,
           'SELECT temporal.adopt() -- only if they are sent from nowhere else'
      FROM (SELECT count(*) AS queues FROM temporal_internal.queue_here q
             WHERE q.made_here IS NOT TRUE AND EXISTS (SELECT FROM temporal_internal.outbox o WHERE o.queue = q.number)) h
    UNION ALL
    SELECT 14, 'suppressed', 'warning',
           CASE WHEN s.requests > 0 THEN 'requests are not sent, because temporal_complete.delivery was off' END,
           format('ALTER DATABASE %I RESET temporal_complete.delivery', current_database())
      FROM (SELECT count(*) AS requests FROM (SELECT FROM temporal_internal.outbox o WHERE o.queue < 0 LIMIT 1) o) s
    UNION ALL
    SELECT 15, 'rejected', 'warning',
           CASE WHEN r.rejected > 0 THEN format('%s requests were rejected since %s', r.rejected, r.first) END,
           'SELECT * FROM temporal.request WHERE state = ''rejected'' ORDER BY finished_at DESC LIMIT 20'
      FROM (SELECT count(*) AS rejected, min(r.finished_at) AS first FROM temporal_internal.rejected r
             WHERE NOT r.maybe_sent AND r.finished_at > clock_timestamp() - health.since) r
    UNION ALL
    SELECT 16, 'unconfirmed', 'warning',
           CASE WHEN r.unconfirmed > 0 THEN format('%s requests are unconfirmed since %s', r.unconfirmed, r.first) END,
           'SELECT * FROM temporal.request WHERE state = ''unconfirmed'' ORDER BY finished_at DESC LIMIT 20'
      FROM (SELECT count(*) AS unconfirmed, min(r.finished_at) AS first FROM temporal_internal.rejected r
             WHERE r.maybe_sent AND r.finished_at > clock_timestamp() - health.since) r
    UNION ALL
    SELECT 17, 'retention', 'warning',
           CASE WHEN f.has_worker AND s.begun < clock_timestamp() - current_setting('temporal_complete.retention', true)::interval
                THEN format('the segment of temporal_internal.delivery that is filled was begun at %s, and none since', s.begun) END,
           'SELECT * FROM pg_locks WHERE relation::regclass::text LIKE ''temporal_internal.delivery%'' -- who holds up TRUNCATE?'
      FROM fact f, (SELECT max(s.since) AS begun FROM temporal_internal.delivery_segment s) s
    UNION ALL
    SELECT 18, 'bloat', 'warning',
           CASE WHEN b.size > health.bloat
                 AND b.size > 20 * (SELECT COALESCE(sum(pg_column_size(o.*)), 0) + 8192
                                      FROM (SELECT o.* FROM temporal_internal.outbox o LIMIT 10000) o)
                THEN format('temporal_internal.outbox has %s, most of which is empty', pg_size_pretty(b.size)) END,
           'VACUUM temporal_internal.outbox; REINDEX TABLE CONCURRENTLY temporal_internal.outbox'
      FROM (SELECT pg_table_size('temporal_internal.outbox'::regclass) + pg_indexes_size('temporal_internal.outbox'::regclass) AS size) b
    UNION ALL
    SELECT 19, 'missing', 'critical',
           CASE WHEN f.missing <> '{}'
                THEN format('not there, or not with the columns that they have to have: %s', array_to_string(f.missing, ', ')) END,
           'SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refclassid = ''pg_extension''::regclass'
      FROM fact f
    UNION ALL
    SELECT 20, 'unlogged', 'critical',
           CASE WHEN u.names IS NOT NULL THEN format('a crash would empty them, so no request is taken: %s', u.names) END,
           u.commands
      FROM (SELECT string_agg(c.oid::regclass::text, ', ') AS names,
                   string_agg(format('ALTER TABLE %s SET LOGGED', c.oid::regclass), '; ') AS commands
              FROM pg_class c
             WHERE c.oid IN ('temporal_internal.outbox'::regclass, 'temporal_internal.queue'::regclass, 'temporal_internal.rejected'::regclass)
               AND c.relpersistence <> 'p') u
    UNION ALL
    SELECT 21, 'tables', 'warning',
           CASE WHEN f.altered <> '{}'
                THEN format('not as they were made, so writing them takes longer: %s', array_to_string(f.altered, ', ')) END,
           (SELECT string_agg(format('\d+ temporal_internal.%s', t), E'\n') FROM unnest(f.altered) t)
      FROM fact f
    UNION ALL
    SELECT 22, 'summaries', 'warning', s.detail, s.hint
      FROM (SELECT string_agg(format('%s: %s ranges of pages without a summary, %s whose summary was cancelled: look-ups read all of these',
                                  p.index, p.missing, p.unfinished), E'\n' ORDER BY p.index::text) AS detail,
                   string_agg(concat_ws('; ', CASE WHEN p.first_unfinished IS NOT NULL THEN format('SELECT brin_desummarize_range(%L, %s)', p.index, p.first_unfinished) END,
                                  format('SELECT brin_summarize_new_values(%L)', p.index)), '; ' ORDER BY p.index::text) AS hint
              FROM (SELECT p.index, p.missing, p.unfinished, p.first_unfinished FROM temporal_internal.summary_problems() p) p) s)
SELECT p.check_name, CASE WHEN p.detail IS NULL THEN 'ok' ELSE p.status END, p.detail, CASE WHEN p.detail IS NOT NULL THEN p.hint END
  FROM problem p
 ORDER BY p.place;
END;
COMMENT ON FUNCTION temporal.health(interval, interval, bigint) IS
    'checks all that can be wrong in this database, and says what to do: requests that wait longer than oldest_request, were rejected or are unconfirmed since that long; an outbox of more than bloat bytes that is empty';

CREATE FUNCTION temporal.check_health(
    oldest_request interval DEFAULT '5 minutes', since interval DEFAULT '1 day', bloat bigint DEFAULT 134217728)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT temporal_internal.raise_unhealthy(
    (SELECT string_agg(format('%s %s: %s', h.check_name, h.status, h.detail), E'\n')
       FROM temporal.health(check_health.oldest_request, check_health.since, check_health.bloat) h
      WHERE h.status <> 'ok'));
END;
COMMENT ON FUNCTION temporal.check_health(interval, interval, bigint) IS
    'an error that says what temporal.health() found, if that is something, for scripts';

REVOKE ALL ON FUNCTION temporal.health(interval, interval, bigint), temporal.check_health(interval, interval, bigint) FROM PUBLIC;
/* they tell of requests of all roles, as the view does to pg_monitor */
GRANT EXECUTE ON FUNCTION temporal.health(interval, interval, bigint), temporal.check_health(interval, interval, bigint) TO pg_monitor;
