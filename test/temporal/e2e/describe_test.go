package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
)

// described is an activity as pending_activities() or describe_activity() has it.
type described struct {
	ActivityID       string  `json:"activity_id"`
	ActivityType     string  `json:"activity_type"`
	Status           string  `json:"status"`
	State            string  `json:"state"`
	Attempt          int64   `json:"attempt"`
	MaximumAttempts  *int64  `json:"maximum_attempts"`
	ScheduledTime    *string `json:"scheduled_time"`
	LastStartedTime  *string `json:"last_started_time"`
	LastHeartbeat    *string `json:"last_heartbeat_time"`
	HeartbeatTimeout *string `json:"heartbeat_timeout"`
	NextAttemptTime  *string `json:"next_attempt_time"`
	CloseTime        *string `json:"close_time"`
	LastFailure      *string `json:"last_failure"`
	Worker           *string `json:"last_worker_identity"`
}

func (d described) String() string { return marshal(d) }

// describe asks Temporal by a function's call.
func describe(t *testing.T, call string, arguments ...any) []described {
	t.Helper()
	rows, err := db.Query(t.Context(), "SELECT to_jsonb(d)::text FROM temporal."+call+" d", arguments...)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	list := make([]described, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestPendingActivities looks at activities of workflows from SQL.
func TestPendingActivities(t *testing.T) {
	t.Parallel()
	w := startActivity(t, handles[0], flows.ActivityOptions{HeartbeatMS: 90500, MaximumAttempts: 3, RetryInitialMS: 3600000})
	pending := func() []described { return describe(t, "pending_activities($1, server => 'temporal')", w.WorkflowID) }

	list := pending()
	if len(list) != 1 || list[0].ActivityID != w.ActivityID || list[0].ActivityType != "Wait" || list[0].State != "started" ||
		list[0].Attempt != 1 || *list[0].MaximumAttempts != 3 || *list[0].HeartbeatTimeout != "00:01:30.5" ||
		list[0].ScheduledTime == nil || list[0].LastStartedTime == nil || list[0].Worker == nil || list[0].LastFailure != nil {
		t.Fatalf("pending: %s", list)
	}
	w.request(t, "heartbeat_activity", "")
	id, _ := w.request(t, "fail_activity", "message => 'not yet'")
	awaitDelivered(t, id)
	eventually(t, "it waits for its next attempt", func() error {
		list = pending()
		if len(list) != 1 || list[0].State != "scheduled" || list[0].Attempt != 2 || list[0].LastFailure == nil ||
			*list[0].LastFailure != "not yet" || list[0].NextAttemptTime == nil {
			return fmt.Errorf("%s", list)
		}
		return nil
	})

	if list := describe(t, "pending_activities($1, run_id => $2)", w.WorkflowID, w.RunID); len(list) != 1 {
		t.Errorf("by its run: %s", list)
	}
	if err := sdk.TerminateWorkflow(t.Context(), w.WorkflowID, "", "enough"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a closed workflow has none", func() error {
		if list := pending(); len(list) != 0 {
			return fmt.Errorf("%s", list)
		}
		return nil
	})
	if list := describe(t, "pending_activities('no such workflow')"); len(list) != 0 {
		t.Errorf("of no workflow: %s", list)
	}
	if list := describe(t, "pending_activities(NULL)"); len(list) != 0 {
		t.Errorf("of NULL: %s", list)
	}
}

// TestManyPendingActivities takes a description that is handed over in many parts, in a join.
func TestManyPendingActivities(t *testing.T) {
	t.Parallel()
	const activities = 300
	id := uniqueID()
	in := flows.PendingInput{Activities: activities}
	for i := range activities {
		in.ActivityIDs = append(in.ActivityIDs, fmt.Sprintf("%s %d", strings.Repeat("long ", 100), i))
	}
	if _, err := sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue}, flows.Pending, in); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are pending", func() error {
		var n int
		err := db.QueryRow(t.Context(), `SELECT count(*)
			FROM generate_series(0, $2 - 1) i
			JOIN temporal.pending_activities($1) p ON p.activity_id = repeat('long ', 100) || ' ' || i`, id, activities).Scan(&n)
		if err == nil && n != activities {
			err = fmt.Errorf("%d", n)
		}
		return err
	})
	if err := sdk.TerminateWorkflow(t.Context(), id, "", "enough"); err != nil {
		t.Fatal(err)
	}
}

// TestDescribeActivity looks at standalone activities.
func TestDescribeActivity(t *testing.T) {
	t.Parallel()
	w := startActivity(t, handles[2], flows.ActivityOptions{HeartbeatMS: 60000})
	list := describe(t, "describe_activity($1)", w.ActivityID)
	if len(list) != 1 || list[0].ActivityType != "Wait" || list[0].Status != "running" || list[0].State != "started" ||
		list[0].Attempt != 1 || *list[0].HeartbeatTimeout != "00:01:00" || list[0].CloseTime != nil {
		t.Fatalf("running: %s", list)
	}
	id, _ := w.request(t, "complete_activity", "")
	awaitDelivered(t, id)
	list = describe(t, "describe_activity($1)", w.ActivityID)
	if len(list) != 1 || list[0].Status != "completed" || list[0].CloseTime == nil {
		t.Errorf("completed: %s", list)
	}
	if list := describe(t, "describe_activity('no such activity')"); len(list) != 0 {
		t.Errorf("of no activity: %s", list)
	}
}

// TestDescribeRefused has errors where nothing can be known, and asks whom it is granted.
func TestDescribeRefused(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "described", s.ForeignServer()+", namespaces 'nowhere'")
	ask := func(role string) error {
		conn, err := db.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if _, err := conn.Exec(t.Context(), "SET ROLE "+role); err != nil {
			t.Fatal(err)
		}
		defer conn.Exec(t.Context(), "RESET ROLE") //nolint:errcheck // the next one would fail
		_, err = conn.Exec(t.Context(), "SELECT * FROM temporal.pending_activities('some workflow', server => 'described')")
		return err
	}
	exec(t, "CREATE ROLE describes_nothing; CREATE ROLE describes_all IN ROLE pg_monitor; CREATE ROLE describes")
	exec(t, "GRANT USAGE ON FOREIGN SERVER described TO describes")
	for _, role := range []string{"describes", "describes_all"} {
		if err := ask(role); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	if err := ask("describes_nothing"); err == nil || !strings.Contains(err.Error(), "permission denied for foreign server described") {
		t.Errorf("without a privilege: %v", err)
	}

	setFaults(t, s, fault.Rule{Method: "DescribeWorkflowExecution", Mode: fault.FailBefore, Count: 1})
	if err := ask("describes"); err == nil || !strings.Contains(err.Error(), `server "described" could not be asked: UNAVAILABLE`) {
		t.Errorf("of a server that fails: %v", err)
	}
	_, err := db.Exec(t.Context(), "SELECT * FROM temporal.pending_activities('some workflow', namespace => 'nowhere', server => 'described')")
	if err == nil || !strings.Contains(err.Error(), "could not be asked: NOT_FOUND") {
		t.Errorf("in no namespace: %v", err)
	}
}
