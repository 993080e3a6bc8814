package e2e

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/pgtest"
	"temporal_complete/test/temporal/internal/tokens"
)

// TestCrashes kills parts of PostgreSQL, and in the end all of it, while 5,000 requests are on their way. Every
// activity has to end as it was asked to, and every request to have an outcome.
func TestCrashes(t *testing.T) {
	t.Parallel()
	const workflows, activities = 5, 1000
	s := startSecured(t, connect.Options{})
	crashing, err := pgtest.New(t.Context(), map[string]string{
		"shared_preload_libraries": "temporal_complete",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL's log:\n%s", crashing.Log())
		}
		if err := crashing.Remove(); err != nil {
			t.Error(err)
		}
	})
	again(t, crashing, `
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (`+s.ForeignServer()+`);
CREATE TABLE sent (request_id bigint)`)

	var ids []string
	for range workflows {
		ids = append(ids, startMany(t, s.client, activities))
	}
	for _, id := range ids {
		completeAll(t, crashing, id)
	}

	delivered := 0
	awaitMore := func() {
		t.Helper()
		before := delivered
		eventually(t, "more deliveries", func() error {
			counters, err := s.Counters()
			if err != nil {
				return err
			}
			delivered = int(counters["RespondActivityTaskCompleted"].Codes["OK"])
			if delivered < before+500 {
				return fmt.Errorf("%d after %d", delivered, before)
			}
			return nil
		})
	}
	for _, kind := range []string{"temporal_complete worker", "temporal_complete launcher", "client backend"} {
		awaitMore()
		t.Logf("after %d deliveries: kill -9 of a %s", delivered, kind)
		kill(t, crashing, kind)
	}
	awaitMore()
	t.Logf("after %d deliveries: immediate shutdown", delivered)
	if err := crashing.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if err := crashing.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	states := map[string]int{}
	within(t, 5*patience, "outcomes", func() error {
		clear(states)
		return tryOnce(t.Context(), crashing, func(ctx context.Context, c *pgx.Conn) error {
			rows, err := c.Query(ctx, `
SELECT coalesce(r.state, 'lost'), count(*) FROM sent s LEFT JOIN temporal.request r ON r.id = s.request_id GROUP BY 1`)
			if err != nil {
				return err
			}
			var state string
			var n int
			if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error { states[state] = n; return nil }); err != nil {
				return err
			}
			// What was on its way at a crash may have arrived: it is delivered, or it cannot be proved.
			if states["delivered"]+states["unconfirmed"] != workflows*activities {
				return fmt.Errorf("states %v", states)
			}
			return nil
		})
	})
	t.Logf("states %v", states)

	for _, id := range ids {
		checkOwnResults(t, s.client, id, activities)
	}
	err = tryOnce(t.Context(), crashing, func(ctx context.Context, c *pgx.Conn) error {
		var left int
		if err := c.QueryRow(ctx, "SELECT count(*) FROM temporal_internal.outbox").Scan(&left); err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%d requests are left behind", left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// completeAll requests in one transaction that each activity of a workflow ends with its own id.
func completeAll(t *testing.T, c *pgtest.Cluster, workflowID string) {
	t.Helper()
	pending, err := tokens.Read(t.Context(), db, workflowID)
	if err != nil {
		t.Fatal(err)
	}
	taskTokens, results := make([][]byte, 0, len(pending)), make([]string, 0, len(pending))
	for _, p := range pending {
		// Ids that begin with this one are other workflows'.
		if p.WorkflowID == workflowID {
			taskTokens, results = append(taskTokens, p.TaskToken), append(results, strconv.Quote(p.ActivityID))
		}
	}
	again(t, c, `
INSERT INTO sent
SELECT temporal.complete_activity(task_token, result::jsonb)
  FROM unnest($1::bytea[], $2::text[]) AS u(task_token, result)`, taskTokens, results)
}

func checkOwnResults(t *testing.T, c client.Client, workflowID string, n int) {
	t.Helper()
	var outcomes []flows.Outcome
	if err := c.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), &outcomes); err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != n {
		t.Fatalf("%d activities, not %d", len(outcomes), n)
	}
	for _, o := range outcomes {
		if o.Result == nil || string(o.Result.JSON) != strconv.Quote(o.ActivityID) {
			t.Fatalf("outcome %s", marshal(o))
		}
	}
}

// tryOnce runs do with a connection of its own, as those from before a crash are gone.
func tryOnce(ctx context.Context, c *pgtest.Cluster, do func(context.Context, *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // it may be dead by then
	return do(ctx, conn)
}

// again carries out statements, once more while the cluster is recovering.
func again(t *testing.T, c *pgtest.Cluster, sql string, parameters ...any) {
	t.Helper()
	eventually(t, "connection", func() error {
		return tryOnce(t.Context(), c, func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, sql, parameters...); err != nil {
				t.Fatal(err)
			}
			return nil
		})
	})
}

// kill kills a process of that kind.
func kill(t *testing.T, c *pgtest.Cluster, kind string) {
	t.Helper()
	eventually(t, "a "+kind, func() error {
		return tryOnce(t.Context(), c, func(ctx context.Context, conn *pgx.Conn) error {
			var pid int
			err := conn.QueryRow(ctx, "SELECT pid FROM pg_stat_activity WHERE backend_type = $1 LIMIT 1", kind).Scan(&pid)
			if err != nil {
				return err
			}
			return syscall.Kill(pid, syscall.SIGKILL)
		})
	})
}
