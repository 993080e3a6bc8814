/*
 * Tables.  Only the extension's own code writes them; nobody is granted
 * anything on them, reading goes through the views.
 */

CREATE SEQUENCE temporal_internal.request_id;
COMMENT ON SEQUENCE temporal_internal.request_id IS 'ids of requests';
REVOKE ALL ON SEQUENCE temporal_internal.request_id FROM PUBLIC;

/*
 * A queue is the requests of one role for one namespace of one server that
 * were made in one database.  Its number is drawn at random, so that the
 * numbers of different databases and clusters are different: a row of the
 * outbox that is copied elsewhere can never stand in a queue of that place.
 * Nothing keeps two transactions that begin at once from making two queues of
 * the same names; they are merely read apart.  One that nothing refers to any
 * more goes again, see the internals document.
 *
 * Where it was made, server and role are those of these OIDs, whatever they
 * are called now: a name may pass to another server.  Their names are for a
 * copy elsewhere, where OIDs mean nothing.  No reg* type: a dump with a role
 * that is missing where it is restored could not be read there at all.
 */
CREATE TABLE temporal_internal.queue (
    number bigint NOT NULL,
    system_identifier bigint NOT NULL,
    database oid NOT NULL,
    requested_by oid NOT NULL,
    server oid NOT NULL,
    requested_by_name text COLLATE "C" NOT NULL,
    server_name text COLLATE "C" NOT NULL,
    namespace text COLLATE "C",
    unused_since timestamptz,
    CONSTRAINT queue_pkey PRIMARY KEY (number)
);

CREATE INDEX queue_server_idx ON temporal_internal.queue (server, requested_by, namespace);

COMMENT ON TABLE temporal_internal.queue IS 'whose requests, for which server and namespace, stand in the outbox under a number';
COMMENT ON COLUMN temporal_internal.queue.number IS 'as in the column "queue" of other tables; negative: the requests are never sent';
COMMENT ON COLUMN temporal_internal.queue.system_identifier IS 'cluster in which the requests were made; elsewhere they are held';
COMMENT ON COLUMN temporal_internal.queue.database IS 'database in which the requests were made; elsewhere they are held';
COMMENT ON COLUMN temporal_internal.queue.requested_by IS 'role for which they are sent, in that database';
COMMENT ON COLUMN temporal_internal.queue.server IS 'foreign server, in that database';
COMMENT ON COLUMN temporal_internal.queue.requested_by_name IS 'what the role was called when the queue was made';
COMMENT ON COLUMN temporal_internal.queue.server_name IS 'what the server was called when the queue was made';
COMMENT ON COLUMN temporal_internal.queue.namespace IS 'Temporal namespace; NULL: the one of the server''s option when a request is sent';
COMMENT ON COLUMN temporal_internal.queue.unused_since IS
    'NULL: requests may get this number; infinity: new ones do not; a time: since then no request that waits or was rejected has it';

/* Dumped: without it the requests of a dump would belong to nobody. */
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.queue', '');

/*
 * The index on queue, xid and id is the worker's reading order; see the
 * internals document for how batches are read by difference of snapshots.
 * Columns that a new request leaves empty come last: they are not stored.
 */
CREATE TABLE temporal_internal.outbox (
    id bigint NOT NULL,
    xid xid8 NOT NULL,
    requested_at timestamptz NOT NULL,
    queue bigint NOT NULL,
    written_by xid NOT NULL,
    method smallint NOT NULL,
    maybe_sent boolean NOT NULL,
    request bytea NOT NULL,
    attempts integer,
    next_attempt_at timestamptz,
    error_code text,
    error_message text,
    former_identities text,
    decisions text,
    key text COLLATE "C",
    recorded_in bigint,
    recorded_activity bigint,
    awaited_until timestamptz,
    expires_at timestamptz,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE INDEX outbox_queue_idx ON temporal_internal.outbox (queue, xid, id);

COMMENT ON TABLE temporal_internal.outbox IS 'requests that are not finished yet';
COMMENT ON COLUMN temporal_internal.outbox.id IS 'the request''s id, as the verbs return it';
COMMENT ON COLUMN temporal_internal.outbox.xid IS 'top-level transaction that made the request';
COMMENT ON COLUMN temporal_internal.outbox.requested_at IS 'when the request was made';
COMMENT ON COLUMN temporal_internal.outbox.queue IS 'number of its queue';
COMMENT ON COLUMN temporal_internal.outbox.written_by IS
    'transaction that wrote the row: one that was put back by others, who stored it in another one, may have been sent meanwhile';
COMMENT ON COLUMN temporal_internal.outbox.method IS 'which of Temporal''s methods is called';
COMMENT ON COLUMN temporal_internal.outbox.maybe_sent IS 'an attempt was made whose end is not known';
COMMENT ON COLUMN temporal_internal.outbox.request IS 'encoded request, without namespace and identity';
COMMENT ON COLUMN temporal_internal.outbox.attempts IS 'attempts that went wrong';
COMMENT ON COLUMN temporal_internal.outbox.next_attempt_at IS 'when it is tried again';
COMMENT ON COLUMN temporal_internal.outbox.error_code IS 'gRPC status, or our word, of the last attempt that went wrong';
COMMENT ON COLUMN temporal_internal.outbox.error_message IS 'what the last attempt that went wrong was told';
COMMENT ON COLUMN temporal_internal.outbox.former_identities IS
    'identities with which it may have been sent before it was adopted or retried, as "id@system identifier/database/xid/microseconds since 1970", with blanks between them';
COMMENT ON COLUMN temporal_internal.outbox.decisions IS 'who retried, adopted or discarded it, and when';
COMMENT ON COLUMN temporal_internal.outbox.key IS 'by which it names its activity';
COMMENT ON COLUMN temporal_internal.outbox.recorded_in IS 'queue in which the activity is recorded under the key';
COMMENT ON COLUMN temporal_internal.outbox.recorded_activity IS 'id of that recording; NULL with a key: it waits for it';
COMMENT ON COLUMN temporal_internal.outbox.awaited_until IS 'until then it waits for its key to be recorded, or for its activity to be scheduled; NULL: it does not';
COMMENT ON COLUMN temporal_internal.outbox.expires_at IS 'from then on it is given up; NULL: as the server''s option expire_after says';

/* Dumped: a committed request is never lost.  The copy is held where it is restored. */
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.request_id', '');

/*
 * Requests that Temporal refused for good, or may have taken without anybody
 * being able to tell, whole, so that they can be retried.
 */
CREATE TABLE temporal_internal.rejected (
    LIKE temporal_internal.outbox INCLUDING COMMENTS,
    finished_at timestamptz NOT NULL,
    CONSTRAINT rejected_pkey PRIMARY KEY (id)
);
CREATE INDEX rejected_queue_idx ON temporal_internal.rejected (queue);
COMMENT ON TABLE temporal_internal.rejected IS 'requests that Temporal refused for good, or that are unconfirmed';
COMMENT ON COLUMN temporal_internal.rejected.maybe_sent IS 'unconfirmed: it may have taken effect';
COMMENT ON COLUMN temporal_internal.rejected.finished_at IS 'when that was known';

/* Dumped: what was refused waits for a decision of the DBA. */
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.rejected', '');

/*
 * Outcomes of the other requests, without payloads; columns that are mostly
 * empty come last and then are not stored.  Four segments that are filled in
 * turn; the oldest one is truncated when its turn comes, so that
 * outcomes older than temporal_complete.retention go without a DELETE.
 */
CREATE TABLE temporal_internal.delivery (
    id bigint NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    queue bigint NOT NULL,
    attempts integer NOT NULL,
    method smallint NOT NULL,
    segment smallint NOT NULL,
    confirmed boolean,
    activity_id text,
    workflow_id text,
    run_uuid uuid,
    run_id text,
    cancel_requested boolean,
    activity_paused boolean,
    activity_reset boolean,
    error_code text,
    error_message text,
    rejected boolean,
    decisions text,
    key text COLLATE "C",
    recorded_activity bigint,
    recorded_at timestamptz,
    recorded_attempt integer,
    recorded_in bigint,
    earlier_heartbeats bigint
) PARTITION BY LIST (segment);

CREATE TABLE temporal_internal.delivery_0 PARTITION OF temporal_internal.delivery FOR VALUES IN (0);
CREATE TABLE temporal_internal.delivery_1 PARTITION OF temporal_internal.delivery FOR VALUES IN (1);
CREATE TABLE temporal_internal.delivery_2 PARTITION OF temporal_internal.delivery FOR VALUES IN (2);
CREATE TABLE temporal_internal.delivery_3 PARTITION OF temporal_internal.delivery FOR VALUES IN (3);
/*
 * Ids are recorded nearly in their order, so where one can be is known of a
 * range of pages: that takes no WAL for a row.  The worker summarizes pages
 * when they are full (see delivery_segments.c), hence no autosummarize.
 */
CREATE INDEX delivery_id_idx ON temporal_internal.delivery USING brin (id) WITH (pages_per_range = 32);
/* the same for workflows, with bloom filters: some of the values that are not there seem to be */
CREATE INDEX delivery_workflow_id_idx ON temporal_internal.delivery
    USING brin (workflow_id text_bloom_ops (n_distinct_per_range = 2100, false_positive_rate = 0.001)) WITH (pages_per_range = 32);
/* what went wrong is rare */
CREATE INDEX delivery_wrong_idx ON temporal_internal.delivery (finished_at) WHERE rejected OR NOT confirmed;

COMMENT ON TABLE temporal_internal.delivery IS 'outcomes of requests that were delivered, of heartbeats that may have been or were superseded, and of those that were discarded';
COMMENT ON TABLE temporal_internal.delivery_0 IS 'a segment of temporal_internal.delivery';
COMMENT ON TABLE temporal_internal.delivery_1 IS 'a segment of temporal_internal.delivery';
COMMENT ON TABLE temporal_internal.delivery_2 IS 'a segment of temporal_internal.delivery';
COMMENT ON TABLE temporal_internal.delivery_3 IS 'a segment of temporal_internal.delivery';
COMMENT ON COLUMN temporal_internal.delivery.id IS 'the request''s id';
COMMENT ON COLUMN temporal_internal.delivery.queue IS 'number of its queue';
COMMENT ON COLUMN temporal_internal.delivery.segment IS 'which partition it stands in';
COMMENT ON COLUMN temporal_internal.delivery.run_uuid IS 'run of the workflow or standalone activity, as Temporal writes runs';
COMMENT ON COLUMN temporal_internal.delivery.run_id IS 'the same, if it was given in another way of writing';
COMMENT ON COLUMN temporal_internal.delivery.confirmed IS 'false: it could not be proved whether Temporal took it; NULL: a heartbeat that was superseded';
COMMENT ON COLUMN temporal_internal.delivery.cancel_requested IS 'a heartbeat''s reply: the activity is asked to cancel';
COMMENT ON COLUMN temporal_internal.delivery.activity_paused IS 'a heartbeat''s reply: the activity is paused';
COMMENT ON COLUMN temporal_internal.delivery.activity_reset IS 'a heartbeat''s reply: the activity was reset';

COMMENT ON COLUMN temporal_internal.delivery.rejected IS 'true: it was refused for good, and then discarded';
COMMENT ON COLUMN temporal_internal.delivery.decisions IS 'who retried, adopted or discarded it, and when';
COMMENT ON COLUMN temporal_internal.delivery.key IS 'by which it named its activity';
COMMENT ON COLUMN temporal_internal.delivery.recorded_activity IS 'id of the recording that it was about';
COMMENT ON COLUMN temporal_internal.delivery.recorded_at IS 'when that was recorded, if it ended with this outcome; else NULL';
COMMENT ON COLUMN temporal_internal.delivery.recorded_attempt IS 'the attempt that was recorded, if it ended with this outcome; NULL by ids';
COMMENT ON COLUMN temporal_internal.delivery.recorded_in IS 'queue of the recording, if it is another one than that of the request';
COMMENT ON COLUMN temporal_internal.delivery.earlier_heartbeats IS 'a heartbeat: how many of its activity before it are not kept; NULL: none';

/*
 * Of the heartbeats of an activity the last one only: the row is updated in
 * place, so no column that changes may get an index.  When there is a verdict,
 * the row moves to temporal_internal.delivery, see last_heartbeats.c.  It must stay
 * small, because it is read as a whole: hence VACUUM comes soon.
 */
CREATE TABLE temporal_internal.last_heartbeat (
    queue bigint NOT NULL,
    activity bigint NOT NULL,
    id bigint NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    earlier bigint NOT NULL,
    attempts integer NOT NULL,
    method smallint NOT NULL,
    confirmed boolean,
    cancel_requested boolean,
    activity_paused boolean,
    activity_reset boolean,
    activity_id text NOT NULL,
    workflow_id text,
    run_uuid uuid,
    run_id text,
    key text COLLATE "C",
    recorded_activity bigint,
    CONSTRAINT last_heartbeat_pkey PRIMARY KEY (queue, activity)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE temporal_internal.last_heartbeat IS 'outcome of the last heartbeat of each activity, and how many there were before';
COMMENT ON COLUMN temporal_internal.last_heartbeat.queue IS 'number of its queue';
COMMENT ON COLUMN temporal_internal.last_heartbeat.activity IS 'hash of the ids of workflow and activity';
COMMENT ON COLUMN temporal_internal.last_heartbeat.earlier IS 'how many of the activity before it are not kept';
COMMENT ON COLUMN temporal_internal.last_heartbeat.confirmed IS 'true: it was delivered; NULL: it was superseded';

/*
 * Not dumped, here and below: history and the state of a running worker.
 * The segment that is being filled is the one that was begun last; one that
 * never was has no row.
 */
CREATE TABLE temporal_internal.delivery_segment (
    segment smallint NOT NULL,
    since timestamptz NOT NULL
);
INSERT INTO temporal_internal.delivery_segment VALUES (0, pg_catalog.now());
/* where it is published, it must be possible to update it all the same */
ALTER TABLE temporal_internal.delivery_segment REPLICA IDENTITY FULL;
COMMENT ON TABLE temporal_internal.delivery_segment IS 'segments of temporal_internal.delivery, and when each was begun; the last one is being filled';

/*
 * At most one row, written by a worker that leaves in order, deleted by one
 * before it sends: see doubt.c.  Nothing has been sent yet.
 */
CREATE TABLE temporal_internal.last_worker (
    system_identifier bigint NOT NULL,
    database oid NOT NULL,
    timeline integer NOT NULL,
    written_by xid NOT NULL,
    in_doubt_before xid8,
    in_doubt_since timestamptz
);
INSERT INTO temporal_internal.last_worker (system_identifier, database, timeline, written_by)
SELECT s.system_identifier, d.oid,
       ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer,
       temporal_internal.writing_transaction()
  FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database();
ALTER TABLE temporal_internal.last_worker REPLICA IDENTITY FULL;
COMMENT ON TABLE temporal_internal.last_worker IS 'the worker that left in order, if none has sent anything since';
COMMENT ON COLUMN temporal_internal.last_worker.system_identifier IS 'cluster in which it was';
COMMENT ON COLUMN temporal_internal.last_worker.database IS 'its database';
COMMENT ON COLUMN temporal_internal.last_worker.timeline IS 'the cluster''s timeline at that time: what was sent on another one is not known';
COMMENT ON COLUMN temporal_internal.last_worker.written_by IS 'transaction that wrote the row: one that came from elsewhere was stored by another';
COMMENT ON COLUMN temporal_internal.last_worker.in_doubt_before IS
    'requests of transactions with smaller ids may have been sent by a worker before it; NULL = none';
COMMENT ON COLUMN temporal_internal.last_worker.in_doubt_since IS 'when that worker can have sent them at the latest';

/* One row a queue that cannot send at all, so that requests need not be touched for it. */
CREATE TABLE temporal_internal.queue_error (
    queue bigint NOT NULL,
    error_code text NOT NULL,
    error_message text NOT NULL,
    since timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    PRIMARY KEY (queue)
);
COMMENT ON TABLE temporal_internal.queue_error IS 'why all requests of a queue wait';

/*
 * What is not to be sent for the time being.  As with queues, server and role
 * are those of the OIDs where a row was made; the names are for a copy
 * elsewhere, where a row counts for nothing until adopt() has made it one of
 * there.  No role: for all of them.
 */
CREATE TABLE temporal_internal.queue_pause (
    system_identifier bigint NOT NULL,
    database oid NOT NULL,
    requested_by oid NOT NULL,
    server oid NOT NULL,
    requested_by_name text COLLATE "C" NOT NULL,
    server_name text COLLATE "C" NOT NULL,
    by_operator boolean NOT NULL,
    paused_at timestamptz NOT NULL,
    paused_by text COLLATE "C" NOT NULL,
    namespace text COLLATE "C"
);
CREATE INDEX queue_pause_requested_by_idx ON temporal_internal.queue_pause (requested_by, server);
ALTER TABLE temporal_internal.queue_pause REPLICA IDENTITY FULL;

COMMENT ON TABLE temporal_internal.queue_pause IS 'requests of which roles to which servers are not sent until resume()';
COMMENT ON COLUMN temporal_internal.queue_pause.system_identifier IS 'cluster in which the pause was made; elsewhere it does not count';
COMMENT ON COLUMN temporal_internal.queue_pause.database IS 'database in which it was made; elsewhere it does not count';
COMMENT ON COLUMN temporal_internal.queue_pause.requested_by IS 'role whose requests are paused, in that database; 0: those of all roles';
COMMENT ON COLUMN temporal_internal.queue_pause.server IS 'foreign server, in that database';
COMMENT ON COLUMN temporal_internal.queue_pause.requested_by_name IS 'what the role was called then; empty: those of all roles';
COMMENT ON COLUMN temporal_internal.queue_pause.server_name IS 'what the server was called then';
COMMENT ON COLUMN temporal_internal.queue_pause.by_operator IS 'by somebody with the privileges of the extension''s owner: only such may resume';
COMMENT ON COLUMN temporal_internal.queue_pause.paused_at IS 'since when';
COMMENT ON COLUMN temporal_internal.queue_pause.paused_by IS 'user of the session that paused them';
COMMENT ON COLUMN temporal_internal.queue_pause.namespace IS 'only those that go into this namespace; NULL: all';

/* Dumped: what was not to be sent is not to be sent because the database is another one. */
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.queue_pause', '');

/* Not unique: two sessions may decide on one request, and do not wait for each other here. */
CREATE TABLE temporal_internal.recheck (
    id bigint NOT NULL
);
ALTER TABLE temporal_internal.recheck REPLICA IDENTITY FULL;
COMMENT ON TABLE temporal_internal.recheck IS 'requests that wait, which the worker is to look at now';

/*
 * Activities that roles have recorded under keys of their own.  Rows are added,
 * and removed when they are replaced, forgotten, or finished by their key; none
 * is changed.  Of several for one key the one with the largest id counts: so
 * nobody who records waits for somebody else, see the internals document.
 *
 * The key stands in the queue of its requests, which says whose it is.  Two
 * numbers can be of the same queue, so it is looked for under both.  The second
 * index is for those that have heartbeats sent: others have no heartbeat_queue.
 */
CREATE TABLE temporal_internal.recorded_activity (
    id bigint NOT NULL,
    xid xid8 NOT NULL,
    recorded_at timestamptz NOT NULL,
    queue bigint NOT NULL,
    method smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    heartbeat bytea NOT NULL,
    expires_at timestamptz,
    heartbeat_queue bigint,
    heartbeat_interval interval,
    session bigint
);
CREATE INDEX recorded_activity_key_idx ON temporal_internal.recorded_activity (queue, key);
CREATE INDEX recorded_activity_heartbeat_idx ON temporal_internal.recorded_activity (heartbeat_queue, xid, id);
ALTER TABLE temporal_internal.recorded_activity REPLICA IDENTITY FULL;

COMMENT ON TABLE temporal_internal.recorded_activity IS 'activities that were recorded under a key';
COMMENT ON COLUMN temporal_internal.recorded_activity.id IS 'of the recording, from the ids of requests; of several for one key the largest counts';
COMMENT ON COLUMN temporal_internal.recorded_activity.xid IS 'top-level transaction that recorded it';
COMMENT ON COLUMN temporal_internal.recorded_activity.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN temporal_internal.recorded_activity.queue IS 'number of the queue of its requests';
COMMENT ON COLUMN temporal_internal.recorded_activity.method IS 'by which of Temporal''s methods it is heartbeaten: by task token or by ids';
COMMENT ON COLUMN temporal_internal.recorded_activity.key IS 'what it is called by the role that recorded it';
COMMENT ON COLUMN temporal_internal.recorded_activity.heartbeat IS 'a heartbeat for it, encoded as requests are: says which activity it is, and has the details';
COMMENT ON COLUMN temporal_internal.recorded_activity.expires_at IS 'from then on it counts as forgotten';
COMMENT ON COLUMN temporal_internal.recorded_activity.heartbeat_queue IS 'the queue, if heartbeats are to be sent';
COMMENT ON COLUMN temporal_internal.recorded_activity.heartbeat_interval IS 'how often; NULL: as Temporal''s timeout for it says';
COMMENT ON COLUMN temporal_internal.recorded_activity.session IS 'number of the session without which there are none; NULL: whatever sessions there are';

/* Dumped: what activities are called must not be lost.  Copies are held, as requests are. */
SELECT pg_catalog.pg_extension_config_dump('temporal_internal.recorded_activity', '');

/*
 * How recordings ended that no verdict by their key has finished: what these
 * finish is told in temporal_internal.delivery, in the row of the verdict.  Written by
 * the transaction that removes the recording; goes when outcomes of its time
 * go.  Not dumped, as outcomes are not.
 */
CREATE TABLE temporal_internal.ended_activity (
    id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    queue bigint NOT NULL,
    ended text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    activity_id text,
    workflow_id text,
    run_id text,
    attempt integer,
    request bigint,
    heartbeat_error text
);
CREATE INDEX ended_activity_key_idx ON temporal_internal.ended_activity (queue, key);
ALTER TABLE temporal_internal.ended_activity REPLICA IDENTITY FULL;

COMMENT ON TABLE temporal_internal.ended_activity IS 'recorded activities that were replaced, forgotten, or have expired';
COMMENT ON COLUMN temporal_internal.ended_activity.id IS 'of the recording';
COMMENT ON COLUMN temporal_internal.ended_activity.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN temporal_internal.ended_activity.ended_at IS 'when it ended';
COMMENT ON COLUMN temporal_internal.ended_activity.queue IS 'number of the queue in which it stood';
COMMENT ON COLUMN temporal_internal.ended_activity.ended IS 'replaced, forgotten, expired, or finished by a verdict that had named an earlier one of the same activity';
COMMENT ON COLUMN temporal_internal.ended_activity.key IS 'what it was called by the role that recorded it';
COMMENT ON COLUMN temporal_internal.ended_activity.run_id IS 'run of the workflow, or of a standalone activity';
COMMENT ON COLUMN temporal_internal.ended_activity.attempt IS 'attempt that was recorded; NULL by ids';
COMMENT ON COLUMN temporal_internal.ended_activity.request IS 'finished: the verdict';
COMMENT ON COLUMN temporal_internal.ended_activity.heartbeat_error IS 'why heartbeats for it had ended';

/*
 * Where the worker finds requests of the outbox that wait for a key, when the
 * key is recorded or their time is over.  A row is made with the request; one
 * that is missing, as after a restore, is made when the worker reads it.
 */
CREATE TABLE temporal_internal.awaited_key (
    key_hash bigint NOT NULL,
    queue bigint NOT NULL,
    id bigint NOT NULL,
    awaited_until timestamptz NOT NULL
);
CREATE INDEX awaited_key_hash_idx ON temporal_internal.awaited_key (key_hash, queue, id);
CREATE INDEX awaited_key_until_idx ON temporal_internal.awaited_key (awaited_until);
CREATE INDEX awaited_key_queue_idx ON temporal_internal.awaited_key (queue, key_hash);
ALTER TABLE temporal_internal.awaited_key REPLICA IDENTITY FULL;
COMMENT ON TABLE temporal_internal.awaited_key IS 'requests that wait until their key is recorded, as the worker knows them';
COMMENT ON COLUMN temporal_internal.awaited_key.key_hash IS 'of the key';
COMMENT ON COLUMN temporal_internal.awaited_key.queue IS 'number of the request''s queue';
COMMENT ON COLUMN temporal_internal.awaited_key.id IS 'the request''s id';
COMMENT ON COLUMN temporal_internal.awaited_key.awaited_until IS 'how long it waits';

/*
 * What was answered to the heartbeats of recorded activities, if it was not
 * only that all is well: no row is written for each heartbeat.  The worker
 * writes it.  Not dumped: a copy asks anew.
 */
CREATE TABLE temporal_internal.heartbeat_answer (
    id bigint PRIMARY KEY,
    queue bigint NOT NULL,
    xid xid8 NOT NULL,
    answered_at timestamptz NOT NULL,
    cancel_requested boolean NOT NULL,
    activity_paused boolean NOT NULL,
    activity_reset boolean NOT NULL,
    error_code text
);
COMMENT ON TABLE temporal_internal.heartbeat_answer IS 'what was answered to heartbeats of recorded activities, when it changed last';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.id IS 'of the recording';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.queue IS 'of the recording, too';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.xid IS 'of the recording, too';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.answered_at IS 'when it was answered first';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.cancel_requested IS 'the activity is asked to cancel';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.activity_paused IS 'the activity is paused';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.activity_reset IS 'the activity is reset';
COMMENT ON COLUMN temporal_internal.heartbeat_answer.error_code IS 'why no more are sent; NULL: they are';

REVOKE ALL ON TABLE temporal_internal.queue, temporal_internal.outbox, temporal_internal.rejected, temporal_internal.delivery,
    temporal_internal.delivery_0, temporal_internal.delivery_1, temporal_internal.delivery_2, temporal_internal.delivery_3,
    temporal_internal.delivery_segment, temporal_internal.last_worker, temporal_internal.queue_error, temporal_internal.queue_pause, temporal_internal.recheck,
    temporal_internal.recorded_activity, temporal_internal.ended_activity, temporal_internal.awaited_key, temporal_internal.heartbeat_answer, temporal_internal.last_heartbeat FROM PUBLIC;
