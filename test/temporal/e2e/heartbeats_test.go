package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/inspect"
	"temporal_complete/test/temporal/internal/tokens"
)

// TestHeartbeats records 300 activities with a heartbeat timeout of 3 seconds, and lets them wait for several of
// these. None times out but those whose session was killed; and when the workflow is asked to cancel, each is told.
func TestHeartbeats(t *testing.T) {
	// not beside others: how soon 300 tokens are at hand is a matter of the machine, and their timeout runs
	const activities, killed = 300, 30
	const timeout = 3 * time.Second
	id := uniqueID()
	in := flows.PendingInput{Activities: activities, Options: flows.ActivityOptions{
		HeartbeatMS: timeout.Milliseconds(), MaximumAttempts: 1, WaitForCancellation: true,
	}}
	// recorded as soon as they are there: the timeout is running
	conn, err := pgx.Connect(t.Context(), cluster.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // it is killed
	run, err := sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue}, flows.Pending, in)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	eventually(t, "the activities of "+id, func() error {
		pending, err := tokens.Read(t.Context(), db, id)
		if err != nil {
			return err
		}
		for _, p := range pending {
			if recorded[p.ActivityID] {
				continue
			}
			if _, err := conn.Exec(t.Context(), "SELECT temporal.record_activity($1, $2, heartbeat => true, while_session => $3, server => 'temporal')",
				id+" "+p.ActivityID, p.TaskToken, len(recorded) < killed); err != nil {
				return err
			}
			recorded[p.ActivityID] = true
		}
		if len(recorded) < activities {
			return fmt.Errorf("%d are recorded", len(recorded))
		}
		return nil
	})
	count := func(condition string) (n int) {
		t.Helper()
		err := db.QueryRow(t.Context(), "SELECT count(*) FROM temporal.activity WHERE workflow_id = $1 AND "+condition, id).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ended := func() (n int) {
		t.Helper()
		closed, err := inspect.ClosedActivities(t.Context(), sdk, id, run.GetRunID())
		if err != nil {
			t.Fatal(err)
		}
		return len(closed)
	}

	// as long as both live, nothing times out
	time.Sleep(3 * timeout)
	if n := ended(); n != 0 {
		t.Fatalf("%d activities timed out while they lived", n)
	}
	if _, err := db.Exec(t.Context(), "SELECT pg_terminate_backend($1)", conn.PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the activities of the session to time out", func() error {
		if n := ended(); n < killed {
			return fmt.Errorf("%d did", n)
		}
		return nil
	})
	eventually(t, "the end of the session to be seen", func() error {
		if n := count("heartbeat_error = 'SESSION_ENDED'"); n < killed {
			return fmt.Errorf("for %d", n)
		}
		return nil
	})
	time.Sleep(timeout)
	if n := ended(); n != killed {
		t.Fatalf("%d activities timed out, %d of them have to", n, killed)
	}

	// a request to cancel is told within an interval
	if err := sdk.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	within(t, timeout, "the request to cancel to be seen", func() error {
		if n := count("cancel_requested"); n < activities-killed {
			return fmt.Errorf("for %d", n)
		}
		return nil
	})
	if _, err := db.Exec(t.Context(), `SELECT temporal.report_cancellation_by_key(key, server => 'temporal')
  FROM temporal.activity WHERE workflow_id = $1 AND cancel_requested`, id); err != nil {
		t.Fatal(err)
	}
	var outcomes []flows.Outcome
	if err := run.Get(t.Context(), &outcomes); err != nil {
		t.Fatal(err)
	}
	timedOut, cancelled := 0, 0
	for _, o := range outcomes {
		switch f := o.Failure; {
		case f != nil && f.Cause != nil && f.Cause.Kind == "timeout" && f.Cause.TimeoutType == "Heartbeat":
			timedOut++
		case f != nil && (f.Kind == "canceled" || f.Cause != nil && f.Cause.Kind == "canceled"):
			cancelled++
		default:
			t.Errorf("%s: %+v", o.ActivityID, f)
		}
	}
	if timedOut != killed || cancelled != activities-killed {
		t.Errorf("%d timed out, %d were cancelled", timedOut, cancelled)
	}
}

// TestHeartbeatsOfEachKind has an activity live for several heartbeat timeouts, however it is named.
func TestHeartbeatsOfEachKind(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{HeartbeatMS: timeout.Milliseconds(), MaximumAttempts: 1})
		key := "key of " + w.id()
		call, arguments := "record_activity($2, $1", []any{w.TaskToken}
		if w.byID {
			call, arguments = "record_activity_by_id($4, $1, $2, $3", w.parameters()
		}
		_, err := db.Exec(t.Context(), "SELECT temporal."+call+`, heartbeat => true, heartbeat_details => '"alive"', server => 'temporal')`,
			append(arguments, key)...)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * timeout)
		if details := w.status(t).GetHeartbeatDetails().GetPayloads(); len(details) != 1 || string(details[0].GetData()) != `"alive"` {
			t.Errorf("heartbeat details %s", details)
		}
		awaitDelivered(t, w.requestByKey(t, "complete_activity_by_key", key, `result => '"by key"', `))
		checkKey(t, key, false)
		sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"by key"`)
	})
}
