package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/temporaltest"
)

// startMany starts a workflow with that many activities and returns its id when all of them wait.
func startMany(t *testing.T, c client.Client, activities int) string {
	t.Helper()
	id := uniqueID()
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue},
		flows.Pending, flows.PendingInput{Activities: activities})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tokens of "+id, func() error {
		var n int
		err := db.QueryRow(t.Context(), "SELECT count(*) FROM pending_activity WHERE workflow_id = $1", id).Scan(&n)
		if err == nil && n < activities {
			err = fmt.Errorf("%d of %d", n, activities)
		}
		return err
	})
	return id
}

// requestAll calls a verb for all activities of a workflow, by task token, in one transaction. The requests' ids are
// noted in the table sent.
func requestAll(t *testing.T, server, workflowID, verb, arguments string) {
	t.Helper()
	_, err := db.Exec(t.Context(), fmt.Sprintf(`
INSERT INTO sent (workflow_id, request_id)
SELECT workflow_id, temporal.%s(task_token, %s, server => $1)
  FROM pending_activity
 WHERE workflow_id = $2`, verb, arguments), server, workflowID)
	if err != nil {
		t.Fatal(err)
	}
}

// createSent creates the table that requestAll fills.
func createSent(t *testing.T) {
	t.Helper()
	exec(t, "CREATE TABLE IF NOT EXISTS sent (workflow_id text NOT NULL, request_id bigint PRIMARY KEY)")
}

// states counts the requests of a workflow that were noted in the table sent, by state. Heartbeats that a later one has
// followed are only counted: here none of them waits for long enough to be superseded.
func states(t *testing.T, workflowID string) map[string]int {
	t.Helper()
	rows, err := db.Query(t.Context(), `
SELECT coalesce(r.state, 'lost'), count(*)
  FROM sent s LEFT JOIN temporal.request r ON r.id = s.request_id
 WHERE s.workflow_id = $1
 GROUP BY 1`, workflowID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			t.Fatal(err)
		}
		counts[state] = n
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if counts["lost"] > 0 {
		var counted int
		err := db.QueryRow(t.Context(), `
SELECT coalesce(sum(earlier_heartbeats), 0) FROM temporal.request WHERE workflow_id = $1`, workflowID).Scan(&counted)
		if err != nil {
			t.Fatal(err)
		}
		counted = min(counted, counts["lost"])
		counts["delivered"] += counted
		counts["lost"] -= counted
	}
	return counts
}

// awaitAllDelivered waits until all n requests of a workflow were delivered.
func awaitAllDelivered(t *testing.T, workflowID string, n int) {
	t.Helper()
	awaitAll(t, workflowID, n, "delivered")
}

// awaitAll waits until all n requests of a workflow are in one of the states, which are final ones.
func awaitAll(t *testing.T, workflowID string, n int, final ...string) {
	t.Helper()
	eventually(t, "delivery", func() error {
		counts := states(t, workflowID)
		found := 0
		for _, state := range final {
			found += counts[state]
			delete(counts, state)
		}
		if found == n {
			return nil
		}
		if counts["delivered"]+counts["rejected"]+counts["unconfirmed"]+counts["lost"] > 0 {
			t.Fatalf("states %v", counts)
		}
		return fmt.Errorf("%d of %d, others %v", found, n, counts)
	})
}

// checkResults checks that every activity of a workflow ended with that result.
func checkResults(t *testing.T, c client.Client, workflowID string, n int, result string) {
	t.Helper()
	var outcomes []flows.Outcome
	if err := c.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), &outcomes); err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != n {
		t.Fatalf("%d activities, not %d", len(outcomes), n)
	}
	for _, o := range outcomes {
		if o.Result == nil || string(o.Result.JSON) != result {
			t.Fatalf("outcome %s", marshal(o))
		}
	}
}

// TestOutage stops a Temporal server and starts it again. Requests to it wait meanwhile, those to another are
// delivered.
func TestOutage(t *testing.T) {
	t.Parallel()
	createSent(t)
	for name, stop := range map[string]func(*temporaltest.Server) error{
		"stopped":   (*temporaltest.Server).Stop,
		"killed":    (*temporaltest.Server).Kill,
		"suspended": (*temporaltest.Server).Suspend,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := temporaltest.New(program, "-db-filename", filepath.Join(t.TempDir(), "temporal.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Kill() })
			var c client.Client
			stopWorker, err := runWorker(t.Context(), connect.Options{Address: s.Address, Namespace: "default"}, &c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stopWorker)
			server := "outage_" + name
			createServer(t, server, s.ForeignServer()+", request_timeout '2s'")

			const activities = 200
			before, during := startMany(t, c, activities), startMany(t, c, activities)
			requestAll(t, server, before, "complete_activity", `'"before"'`)
			awaitAllDelivered(t, before, activities)

			if err := stop(s); err != nil {
				t.Fatal(err)
			}
			requestAll(t, server, during, "complete_activity", `'"during"'`)
			other := startActivity(t, handles[0], flows.ActivityOptions{})
			id, _ := other.request(t, "complete_activity", "")
			awaitDelivered(t, id)
			other.outcome(t)
			eventually(t, "an error", func() error {
				counts := states(t, during)
				if counts["delivered"] > 0 {
					t.Fatalf("delivered to a server that does not run: %v", counts)
				}
				if counts["retrying"] == 0 {
					return fmt.Errorf("states %v", counts)
				}
				return nil
			})

			if name == "suspended" {
				err = s.Resume()
			} else {
				err = s.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			final := []string{"delivered"}
			if name == "suspended" {
				// What lay in the socket is carried out after its sender has given up: it learns from
				// NOT_FOUND that someone was first.
				final = append(final, "unconfirmed")
			}
			awaitAll(t, during, activities, final...)
			t.Logf("delivered %s after the server's return", time.Since(back).Round(time.Millisecond))
			checkResults(t, c, during, activities, `"during"`)
		})
	}
}

// TestGoAway sends thousands of requests while the frontend closes its connections every two seconds, as it does
// every five minutes by default. Nobody gets to see that.
func TestGoAway(t *testing.T) {
	t.Parallel()
	createSent(t)
	s := startSecured(t, connect.Options{}, "-dynamic-config-value", `frontend.keepAliveMaxConnectionAge="2s"`)
	createServer(t, "goaway", s.ForeignServer())

	const activities, connections = 500, 4
	id := startMany(t, s.client, activities)
	requests := 0
	for requests < 3000 || heartbeatConnections(t, s) < connections {
		requestAll(t, "goaway", id, "heartbeat_activity", fmt.Sprintf("'%d'", requests))
		requests += activities
		awaitAllDelivered(t, id, requests)
	}
	requestAll(t, "goaway", id, "complete_activity", `'"after all"'`)
	requests += activities
	awaitAllDelivered(t, id, requests)
	checkResults(t, s.client, id, activities, `"after all"`)

	var retried int
	err := db.QueryRow(t.Context(), `
SELECT count(*)
  FROM sent s JOIN temporal.request r ON r.id = s.request_id
 WHERE s.workflow_id = $1 AND (r.attempts <> 1 OR r.error_code IS NOT NULL)`, id).Scan(&retried)
	if err != nil {
		t.Fatal(err)
	}
	if retried > 0 {
		t.Errorf("%d of %d requests show a retry", retried, requests)
	}
	t.Logf("%d requests by %d connections", requests, heartbeatConnections(t, s))
}

func heartbeatConnections(t *testing.T, s secured) int {
	t.Helper()
	counters, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return counters["RecordActivityTaskHeartbeat"].Connections
}

// TestRefusedForNow checks errors of the frontend that pass: the requests are sent again until they are through.
// None of these calls had an effect.
func TestRefusedForNow(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "refused", s.ForeignServer())
	for _, code := range []string{
		"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ResourceExhausted", "BusyWorkflow", "ABORTED", "INTERNAL", "UNKNOWN",
		"DEADLINE_EXCEEDED", "DATA_LOSS", "NamespaceNotActive",
	} {
		t.Run(code, func(t *testing.T) {
			w := startActivityAt(t, s.client, "refused", handles[0], flows.ActivityOptions{})
			err := s.AddFault(fault.Rule{Method: "RespondActivityTask*", Mode: fault.FailBefore, Error: code, Count: 2})
			if err != nil {
				t.Fatal(err)
			}
			id, identity := w.request(t, "complete_activity", `result => '"through"'`)
			r := awaitDelivered(t, id)
			if r.Attempts != 3 {
				t.Error(r)
			}
			if result := w.outcome(t).Result; result == nil || string(result.JSON) != `"through"` {
				t.Errorf("result %s", marshal(result))
			}
			checkIdentity(t, w, identity)
			if err := s.ClearFaults(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUnanswered checks a request whose answer never comes: it is sent again after its deadline.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "unanswered", s.ForeignServer()+", request_timeout '1s'")
	w := startActivityAt(t, s.client, "unanswered", handles[0], flows.ActivityOptions{})
	if err := s.AddFault(fault.Rule{Method: "RespondActivityTask*", Mode: fault.Drop, Count: 1}); err != nil {
		t.Fatal(err)
	}
	id, identity := w.request(t, "complete_activity", "")
	if r := awaitDelivered(t, id); r.Attempts != 2 {
		t.Error(r)
	}
	w.outcome(t)
	checkIdentity(t, w, identity)
}
