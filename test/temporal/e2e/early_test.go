package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/pgtest"
)

// early is an activity that is asked to end before it is there.
type early struct {
	secured
	workflowID string // empty: a standalone activity
	activityID string
	server     string
}

func newEarly(s secured, server string) *early {
	id := uniqueID()
	return &early{s, id, "activity of " + id, server}
}

// start starts the workflow, which waits for a signal.
func (e *early) start(t *testing.T) (runID string) {
	t.Helper()
	in := flows.PendingInput{Activities: 1, ActivityIDs: []string{e.activityID}, Options: flows.ActivityOptions{MaximumAttempts: 1}}
	options := client.StartWorkflowOptions{ID: e.workflowID, TaskQueue: flows.TaskQueue}
	run, err := e.client.ExecuteWorkflow(t.Context(), options, flows.Later, in)
	if err != nil {
		t.Fatal(err)
	}
	return run.GetRunID()
}

// signal has the workflow start the activity, or end without.
func (e *early) signal(t *testing.T, how string) {
	t.Helper()
	if err := e.client.SignalWorkflow(t.Context(), e.workflowID, "", "go", how); err != nil {
		t.Fatal(err)
	}
}

func (e *early) outcome(t *testing.T) flows.Outcome {
	t.Helper()
	var list []flows.Outcome
	if err := e.client.GetWorkflow(t.Context(), e.workflowID, "").Get(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatal(marshal(list))
	}
	return list[0]
}

// request asks by ids; arguments are in SQL's named notation.
func (e *early) request(t *testing.T, verb, arguments string) (id int64) {
	t.Helper()
	return e.requestIn(t, db, verb, arguments)
}

func (e *early) requestIn(t *testing.T, db *pgxpool.Pool, verb, arguments string) (id int64) {
	t.Helper()
	err := db.QueryRow(t.Context(), fmt.Sprintf("SELECT temporal.%s_by_id($1, $2, server => '%s', %s)", verb, e.server, arguments),
		e.workflowID, e.activityID).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// awaitWaiting waits until it is known that the activity is not there.
func awaitWaiting(t *testing.T, id int64, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("request %d waits for its activity", id), func() error {
		if r := look(t, id); r.State != "waiting" || r.ErrorCode == nil || *r.ErrorCode != "ACTIVITY_NOT_FOUND" || *r.ErrorMessage != words {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
}

const (
	noWorkflow   = "there is no workflow of that id"
	noActivity   = "the workflow's run has no activity of that id"
	noStandalone = "there is no standalone activity of that id"
	timeIsOver   = ", and the time to wait for it is over"
	anHour       = "wait_for_activity => '1 hour'"
)

// TestEarly asks for the end of activities that are not there yet.
func TestEarly(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "early", "address '"+s.Address+"'")

	t.Run("ended by another one while it is waited for", func(t *testing.T) {
		e := newEarly(s, "early")
		e.start(t)
		id := e.request(t, "complete_activity", anHour)
		awaitWaiting(t, id, noActivity)
		// no look comes between
		setFaults(t, s, fault.Rule{Method: "DescribeWorkflowExecution", Mode: fault.FailBefore, Count: 1000})
		e.signal(t, "start")
		w := awaitToken(t, e.workflowID, 1)
		if err := s.client.CompleteActivity(t.Context(), w.TaskToken, "by another one", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.ClearFaults(); err != nil {
			t.Fatal(err)
		}
		checkWords(t, awaitFinished(t, id), "rejected", "NOT_FOUND", "the activity was completed by ")
	})

	t.Run("before the workflow is started", func(t *testing.T) {
		t.Parallel()
		e := newEarly(s, "early")
		id := e.request(t, "complete_activity", `result => '"approved"', `+anHour)
		awaitWaiting(t, id, noWorkflow)
		e.start(t)
		awaitWaiting(t, id, noActivity)
		e.signal(t, "start")
		awaitDelivered(t, id)
		if o := e.outcome(t); o.Result == nil || string(o.Result.JSON) != `"approved"` {
			t.Error(marshal(o))
		}
	})

	t.Run("before the activity is scheduled", func(t *testing.T) {
		t.Parallel()
		e := newEarly(s, "early")
		run := e.start(t)
		beat := e.request(t, "heartbeat_activity", anHour)
		id := e.request(t, "fail_activity", "message => 'declined', run_id => '"+run+"', "+anHour)
		awaitWaiting(t, beat, noActivity)
		e.signal(t, "start")
		awaitDelivered(t, beat)
		awaitDelivered(t, id)
		if o := e.outcome(t); o.Failure == nil || o.Failure.Cause == nil || o.Failure.Cause.Message != "declined" {
			t.Error(marshal(o))
		}
	})

	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		if serverIsBefore(t, 31) {
			t.Skip("there are none")
		}
		e := newEarly(s, "early")
		e.workflowID = ""
		id := e.request(t, "complete_activity", `result => '"approved"', `+anHour)
		awaitWaiting(t, id, noStandalone)
		if _, err := s.client.ExecuteActivity(t.Context(), flows.ActivityOptions{}.Standalone(e.activityID), "Wait"); err != nil {
			t.Fatal(err)
		}
		awaitDelivered(t, id)
	})

	t.Run("ended already", func(t *testing.T) {
		t.Parallel()
		e := newEarly(s, "early")
		e.start(t)
		e.signal(t, "start")
		awaitToken(t, e.workflowID, 1)
		awaitDelivered(t, e.request(t, "complete_activity", anHour))
		e.outcome(t)
		for _, verb := range []string{"complete_activity", "heartbeat_activity"} {
			checkWords(t, awaitFinished(t, e.request(t, verb, anHour)), "rejected", "NOT_FOUND", "the activity was completed by ")
		}
	})

	t.Run("time is over", func(t *testing.T) {
		t.Parallel()
		for _, wait := range []string{"0", "1 second"} {
			e := newEarly(s, "early")
			id := e.request(t, "complete_activity", "wait_for_activity => '"+wait+"'")
			checkWords(t, awaitFinished(t, id), "rejected", "ACTIVITY_NOT_FOUND", noWorkflow+timeIsOver)
			e.start(t)
			checkWords(t, awaitFinished(t, e.request(t, "heartbeat_activity", "wait_for_activity => '"+wait+"'")),
				"rejected", "ACTIVITY_NOT_FOUND", noActivity+timeIsOver)
			e.signal(t, "start")
			awaitToken(t, e.workflowID, 1)
			if _, err := db.Exec(t.Context(), "SELECT temporal.retry_request($1)", id); err != nil {
				t.Fatal(err)
			}
			awaitDelivered(t, id)
		}
	})

	t.Run("the workflow ends without it", func(t *testing.T) {
		t.Parallel()
		e := newEarly(s, "early")
		run := e.start(t)
		id := e.request(t, "complete_activity", anHour)
		named := e.request(t, "complete_activity", "run_id => '"+run+"', "+anHour)
		awaitWaiting(t, id, noActivity)
		e.signal(t, "end")
		checkWords(t, awaitFinished(t, id), "rejected", "NOT_FOUND", noActivity)
		checkWords(t, awaitFinished(t, named), "rejected", "NOT_FOUND", noActivity)
	})

	t.Run("a run that never was", func(t *testing.T) {
		t.Parallel()
		e := newEarly(s, "early")
		id := e.request(t, "complete_activity", "run_id => '01234567-0123-7123-8123-0123456789ab', "+anHour)
		checkWords(t, awaitFinished(t, id), "rejected", "NOT_FOUND", "")
	})
}

// TestEarlyCrash kills PostgreSQL while a request waits for its activity, whose workflow is started meanwhile.
func TestEarlyCrash(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	crashing, err := pgtest.New(t.Context(), map[string]string{"shared_preload_libraries": "temporal_complete"})
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
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '`+s.Address+`')`)
	e := newEarly(s, "temporal")
	pool, err := pgxpool.New(t.Context(), crashing.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	state := func() (state, words string) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), "SELECT state, coalesce(error_message, '') FROM temporal.request").Scan(&state, &words); err != nil {
			t.Fatal(err)
		}
		return state, words
	}
	e.requestIn(t, pool, "complete_activity", `result => '"approved"', `+anHour)
	eventually(t, "it waits", func() error {
		if state, words := state(); state != "waiting" {
			return fmt.Errorf("%s: %s", state, words)
		}
		return nil
	})
	// what says so is not flushed by itself
	if _, err := pool.Exec(t.Context(), "CREATE TABLE flushed ()"); err != nil {
		t.Fatal(err)
	}
	pool.Reset()
	if err := crashing.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	e.start(t)
	e.signal(t, "start")
	awaitToken(t, e.workflowID, 1)
	if err := crashing.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := e.outcome(t); o.Result == nil || string(o.Result.JSON) != `"approved"` {
		t.Error(marshal(o))
	}
	eventually(t, "it is delivered", func() error {
		if state, words := state(); state != "delivered" {
			return fmt.Errorf("%s: %s", state, words)
		}
		return nil
	})
}
