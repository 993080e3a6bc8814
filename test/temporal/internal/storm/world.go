package storm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/pgtest"
	"temporal_complete/test/temporal/internal/temporaltest"
)

// Two databases, in each two foreign servers that lead to Temporal, by a namespace each, the second one over HTTP, and two
// to the stub; two roles make requests.
var (
	databases    = []string{"storm_a", "storm_b"}
	roles        = []string{"postgres", "storm_writer"}
	realServers  = []string{"temporal", "second"}
	namespaces   = map[string]string{"temporal": "default", "second": "other"}
	stubServers  = []string{"stub", "second_stub"}
	serverOption = ", request_timeout '3s', connect_timeout '2s', retry_max_interval '2s')"
)

const ledger = `
CREATE EXTENSION temporal_complete;
CREATE TABLE ledger (
    nonce bigint PRIMARY KEY, request_id bigint NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    verb smallint NOT NULL, server text NOT NULL, requested_by text NOT NULL DEFAULT session_user,
    workflow_id text, activity_id text NOT NULL, attempt integer NOT NULL
);
CREATE TABLE stub_ledger (nonce bigint, request_id bigint NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
GRANT ALL ON ledger, stub_ledger TO storm_writer;

-- By a key that is recorded here (keyed 1), by one that is recorded elsewhere (2), or without a key (0)
CREATE FUNCTION ask(verb integer, nonce bigint, server text, workflow_id text, run_id text, activity_id text,
    task_token bytea, retryable boolean, keyed integer, key text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    value jsonb := jsonb_build_object('nonce', nonce);
    message text := 'failure ' || nonce;
    patience interval := CASE keyed WHEN 2 THEN interval '1 hour' END;
BEGIN
    IF keyed = 1 THEN
        -- the stub would take heartbeats for requests that nobody has made
        PERFORM temporal.record_activity(key, task_token, heartbeat => nonce % 4 = 0 AND activity_id IS NOT NULL,
            heartbeat_interval => CASE WHEN nonce % 8 = 0 AND activity_id IS NOT NULL THEN interval '1 s' END,
            server => server);
    END IF;
    IF keyed > 0 THEN
        CASE verb
            WHEN 1 THEN RETURN temporal.complete_activity_by_key(key, value, patience, server);
            WHEN 3 THEN RETURN temporal.fail_activity_by_key(key, message, 'Storm', value, NOT retryable,
                wait_for_key => patience, server => server);
            WHEN 5 THEN RETURN temporal.report_cancellation_by_key(key, value, patience, server);
            WHEN 7 THEN RETURN temporal.heartbeat_activity_by_key(key, value, patience, server);
        END CASE;
    END IF;
    CASE verb
        WHEN 1 THEN RETURN temporal.complete_activity(task_token, value, server => server);
        WHEN 2 THEN RETURN temporal.complete_activity_by_id(coalesce(workflow_id, ''), activity_id, value, run_id, server => server);
        WHEN 3 THEN RETURN temporal.fail_activity(task_token, message, 'Storm', value, NOT retryable, server => server);
        WHEN 4 THEN RETURN temporal.fail_activity_by_id(coalesce(workflow_id, ''), activity_id, message, 'Storm', value, NOT retryable,
            run_id => run_id, server => server);
        WHEN 5 THEN RETURN temporal.report_cancellation(task_token, value, server => server);
        WHEN 6 THEN RETURN temporal.report_cancellation_by_id(coalesce(workflow_id, ''), activity_id, value, run_id, server => server);
        WHEN 7 THEN RETURN temporal.heartbeat_activity(task_token, value, server => server);
        WHEN 8 THEN RETURN temporal.heartbeat_activity_by_id(coalesce(workflow_id, ''), activity_id, value, run_id, server => server);
    END CASE;
END $$;

-- One request for each element, in their order.
CREATE FUNCTION ask_all(requests jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ledger (nonce, request_id, verb, server, workflow_id, activity_id, attempt)
    SELECT nonce, ask(verb, nonce, server, workflow_id, run_id, activity_id, decode(task_token, 'base64'), retryable, keyed, key),
           verb, server, workflow_id, concat_ws('#', activity_id, turn), attempt
      FROM jsonb_to_recordset(requests) AS r(nonce bigint, verb integer, server text, workflow_id text, run_id text,
           activity_id text, task_token text, retryable boolean, attempt integer, turn integer, keyed integer, key text)
$$;

-- The same for the stub: all verbs, for activities that nobody knows.
CREATE FUNCTION ask_stub(first bigint, n integer, server text, how text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF how = 'ids' THEN
        INSERT INTO stub_ledger (nonce, request_id)
        SELECT i, temporal.complete_activity_by_id('w' || i, 'a', to_jsonb(i), server => server)
          FROM generate_series(first, first + n - 1) AS i;
    ELSE
        INSERT INTO stub_ledger (nonce, request_id)
        SELECT i, ask((1 + i % 4 * 2)::integer, i, server, NULL, NULL, NULL, token.value, i % 3 = 0,
                      CASE how WHEN 'keys' THEN 1 ELSE 0 END, 'stub ' || i)
          FROM generate_series(first, first + n - 1) AS i,
               LATERAL (SELECT decode('0a016e1207', 'hex') || convert_to(lpad((i % 10000000)::text, 7, '0'), 'UTF8')
                               || decode('1a017220052801320161', 'hex')) AS token(value);
    END IF;
END $$;

-- Calls that an exception block undoes.
CREATE FUNCTION ask_in_vain(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call;
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    NULL;
END $$;
`

// world is all that runs.
type world struct {
	primary  atomic.Pointer[pgtest.Cluster]
	standby  *pgtest.Cluster
	temporal *temporaltest.Server
	stub     *stub
	// Through which all payloads of the second database go.
	codec *codec
	// To Temporal, to its HTTP API and to the stub.
	realProxy *proxy
	httpProxy *proxy
	stubProxy *proxy
	clients   map[string]client.Client
	dir       string
	supplies  *supplies
	// When the primary became one; what ended before its own statistics do not know.
	promoted time.Time
}

func newWorld(ctx context.Context, o Options) (w *world, err error) {
	w = &world{clients: map[string]client.Client{}}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp(pgtest.FastDir(), "temporal-storm-"); err != nil {
		return w, err
	}
	w.temporal, err = temporaltest.New(o.Program, "-db-filename", filepath.Join(w.dir, "temporal.db"),
		"-namespace", namespaces["temporal"], "-namespace", namespaces["second"],
		"-dynamic-config-value", `frontend.keepAliveMaxConnectionAge="4s"`,
		"-dynamic-config-value", `frontend.keepAliveMaxConnectionAgeGrace="2s"`)
	if err != nil {
		return w, err
	}
	if w.stub, err = newStub(); err != nil {
		return w, err
	}
	if w.codec, err = newCodec(); err != nil {
		return w, err
	}
	if w.realProxy, err = newProxy(w.temporal.Address); err != nil {
		return w, err
	}
	if w.httpProxy, err = newProxy(w.temporal.HTTPAddress); err != nil {
		return w, err
	}
	if w.stubProxy, err = newProxy(w.stub.address); err != nil {
		return w, err
	}
	for _, namespace := range namespaces {
		c, err := connect.Dial(ctx, connect.Options{Address: w.temporal.Address, Namespace: namespace, Identity: "storm"})
		if err != nil {
			return w, err
		}
		w.clients[namespace] = c
	}
	return w, w.startPostgreSQL(ctx)
}

func (w *world) startPostgreSQL(ctx context.Context) error {
	c, err := pgtest.New(ctx, map[string]string{
		"shared_preload_libraries":    "temporal_complete",
		"max_prepared_transactions":   "200",
		"restart_after_crash":         "on",
		"wal_retrieve_retry_interval": "100ms",
		"hot_standby_feedback":        "on",
		"wal_keep_size":               "1GB",
		// what is committed with synchronous_commit = off stays in memory for long
		"wal_writer_delay":       "10s",
		"wal_writer_flush_after": "0",
		"max_wal_size":           "4GB",
	})
	if err != nil {
		return err
	}
	w.primary.Store(c)
	if err := w.exec(ctx, "postgres", "CREATE ROLE storm_writer LOGIN"); err != nil {
		return err
	}
	for _, database := range databases {
		if err := w.exec(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
			return err
		}
		if err := w.exec(ctx, database, ledger); err != nil {
			return err
		}
		for _, name := range append(append([]string{}, realServers...), stubServers...) {
			address, namespace := w.stubProxy.address, "stub"
			if n, ok := namespaces[name]; ok {
				address, namespace = w.realProxy.address, n
			}
			transport := "grpc"
			if name == "second" {
				address, transport = w.httpProxy.address, "http"
			}
			codec := ""
			if database == databases[1] {
				codec = ", codec_endpoint '" + w.codec.url + "', encode_common_attributes 'true'"
			}
			err := w.exec(ctx, database, fmt.Sprintf(`
CREATE SERVER %[1]s FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '%[2]s', namespace '%[3]s', transport '%[5]s'%[6]s%[4]s;
GRANT USAGE ON FOREIGN SERVER %[1]s TO storm_writer`, name, address, namespace, serverOption, transport, codec))
			if err != nil {
				return err
			}
		}
	}
	return w.addStandby(ctx)
}

// addStandby makes commits wait for a new standby from now on.
func (w *world) addStandby(ctx context.Context) error {
	primary := w.primary.Load()
	standby, err := primary.Standby(ctx)
	if err != nil {
		return err
	}
	w.standby = standby
	err = w.await(ctx, time.Minute, "the standby", func() error {
		n, err := w.number(ctx, "postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
		if err == nil && n != 1 {
			err = errors.New("it does not stream")
		}
		return err
	})
	if err != nil {
		return err
	}
	return w.exec(ctx, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
}

// await tries until it works.
func (w *world) await(ctx context.Context, patience time.Duration, what string, try func() error) error {
	end := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// exec carries out statements with a connection of their own, one by one.
func (w *world) exec(ctx context.Context, database string, statements ...string) error {
	return w.with(ctx, database, func(c *pgx.Conn) error {
		for _, s := range statements {
			if _, err := c.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) number(ctx context.Context, database, query string) (n int64, err error) {
	err = w.with(ctx, database, func(c *pgx.Conn) error { return c.QueryRow(ctx, query).Scan(&n) })
	return n, err
}

func (w *world) with(ctx context.Context, database string, do func(*pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, w.primary.Load().DSN(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx) //nolint:errcheck // it may be dead by then
	return do(c)
}

func (w *world) close() {
	for _, c := range w.clients {
		c.Close()
	}
	if w.temporal != nil {
		_ = w.temporal.Kill()
	}
	if w.stub != nil && w.stub.server != nil {
		w.stub.server.Stop()
	}
	for _, c := range []*pgtest.Cluster{w.standby, w.primary.Load()} {
		if c != nil {
			_ = c.Stop(syscall.SIGQUIT)
			_ = c.Remove()
		}
	}
	os.RemoveAll(w.dir)
}
