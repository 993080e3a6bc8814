package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
)

// repeated is a workflow that starts an activity with the same id again and again.
type repeated struct {
	secured
	server     string
	workflowID string
}

const againID = "it"

func startAgain(t *testing.T, s secured, server string, in flows.AgainInput) *repeated {
	t.Helper()
	a := &repeated{s, server, uniqueID()}
	in.ActivityID, in.Times = againID, 2
	options := client.StartWorkflowOptions{ID: a.workflowID, TaskQueue: flows.TaskQueue}
	if _, err := s.client.ExecuteWorkflow(t.Context(), options, flows.Again, in); err != nil {
		t.Fatal(err)
	}
	return a
}

// incarnation is one of the activities that had the id.
type incarnation struct {
	runID     string
	scheduled int64
	pending   *workflowpb.PendingActivityInfo
}

func (i incarnation) key() string { return fmt.Sprint(i.runID, "/", i.scheduled) }

// now looks at the activity that waits, if there is one that has been started.
func (a *repeated) now(t *testing.T) (i incarnation, err error) {
	t.Helper()
	d, err := a.client.DescribeWorkflowExecution(t.Context(), a.workflowID, "")
	if err != nil {
		return i, err
	}
	i.runID = d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	for _, p := range d.GetPendingActivities() {
		if p.GetActivityId() == againID && p.GetState() != enumspb.PENDING_ACTIVITY_STATE_SCHEDULED {
			i.pending = p
		}
	}
	if i.pending == nil {
		return i, errors.New("no activity waits")
	}
	events := a.client.GetWorkflowHistory(t.Context(), a.workflowID, i.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return i, err
		}
		if event.GetActivityTaskScheduledEventAttributes() != nil {
			i.scheduled = event.GetEventId()
		}
	}
	return i, nil
}

// await waits for an activity, another than that one, for which the condition holds.
func (a *repeated) await(t *testing.T, not incarnation, condition func(*workflowpb.PendingActivityInfo) bool) incarnation {
	t.Helper()
	var found incarnation
	eventually(t, "activity of "+a.workflowID, func() (err error) {
		if found, err = a.now(t); err == nil && (found.key() == not.key() || condition != nil && !condition(found.pending)) {
			err = errors.New("not yet")
		}
		return err
	})
	return found
}

func (a *repeated) request(t *testing.T, verb, runID, arguments string) (id int64) {
	t.Helper()
	if arguments != "" {
		arguments = ", " + arguments
	}
	var run *string
	if runID != "" {
		run = &runID
	}
	err := db.QueryRow(t.Context(), fmt.Sprintf("SELECT temporal.%s_by_id(workflow_id => $1, activity_id => $2, run_id => $3%s, server => '%s')",
		verb, arguments, a.server), a.workflowID, againID, run).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (a *repeated) outcomes(t *testing.T) (list []flows.Outcome) {
	t.Helper()
	if err := a.client.GetWorkflow(t.Context(), a.workflowID, "").Get(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestOnceByIDs loses the answer to a request by ids until the ids are those of another activity: it must have its effect
// on one of them, and be known as delivered.
func TestOnceByIDs(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "once", s.ForeignServer()+", request_timeout '1s', retry_initial_interval '10ms'")
	canceling := func(p *workflowpb.PendingActivityInfo) bool {
		return p.GetState() == enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
	}
	for _, way := range []struct {
		name          string
		continueAsNew bool
		namesRun      bool
	}{
		{name: "loop"},
		{name: "loop, run named", namesRun: true},
		{name: "continue as new", continueAsNew: true},
		{name: "continue as new, run named", continueAsNew: true, namesRun: true},
	} {
		for _, verb := range []struct {
			name, arguments, method string
			cancel                  bool
			condition               func(*workflowpb.PendingActivityInfo) bool
		}{
			{name: "complete_activity", arguments: `result => '"first"'`, method: "RespondActivityTaskCompletedById"},
			{name: "fail_activity", arguments: `message => 'first', non_retryable => true`, method: "RespondActivityTaskFailedById"},
			{name: "report_cancellation", arguments: `details => '"first"'`, method: "RespondActivityTaskCanceledById", cancel: true, condition: canceling},
		} {
			t.Run(way.name+", "+verb.name, func(t *testing.T) {
				a := startAgain(t, s, "once", flows.AgainInput{ContinueAsNew: way.continueAsNew, Cancel: verb.cancel,
					Options: flows.ActivityOptions{WaitForCancellation: verb.cancel}})
				first := a.await(t, incarnation{}, verb.condition)
				setFaults(t, s, fault.Rule{Method: verb.method, Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1})
				run := ""
				if way.namesRun {
					run = first.runID
				}
				id := a.request(t, verb.name, run, verb.arguments)
				second := a.await(t, first, verb.condition)
				if r := awaitFinished(t, id); r.State != "delivered" {
					t.Error(r)
				}
				if still, err := a.now(t); err != nil || still.key() != second.key() {
					t.Errorf("the second activity does not wait any more: %v", err)
				}
				awaitDelivered(t, a.request(t, "complete_activity", "", `result => '"second"'`))
				if list := a.outcomes(t); len(list) != 2 || list[1].Result == nil || string(list[1].Result.JSON) != `"second"` {
					t.Error(marshal(list))
				}
			})
		}
	}

	t.Run("no effect, and the activity waits", func(t *testing.T) {
		for _, verb := range []string{"heartbeat_activity", "complete_activity"} {
			a := startAgain(t, s, "once", flows.AgainInput{})
			a.await(t, incarnation{}, nil)
			setFaults(t, s, fault.Rule{Identity: fromPostgreSQL, Mode: fault.FailBefore, Count: 1})
			if r := awaitDelivered(t, a.request(t, verb, "", "")); r.Attempts != 2 {
				t.Error(r)
			}
		}
	})

	t.Run("no effect, and the ids are those of another activity", func(t *testing.T) {
		a := startAgain(t, s, "once", flows.AgainInput{})
		first := a.await(t, incarnation{}, nil)
		setFaults(t, s, fault.Rule{Identity: fromPostgreSQL, Mode: fault.FailBefore, Count: 1})
		id := a.request(t, "complete_activity", "", `result => '"first"'`)
		eventually(t, "first try", func() error {
			if r := look(t, id); r.Attempts < 1 {
				return errors.New(r.String())
			}
			return nil
		})
		if err := s.client.CompleteActivityByID(t.Context(), "default", a.workflowID, "", againID, "by another one", nil); err != nil {
			t.Fatal(err)
		}
		a.await(t, first, nil)
		checkWords(t, awaitFinished(t, id), "rejected", "NOT_FOUND", "the activity was scheduled anew since the request was made")
	})

	t.Run("heartbeat to another activity", func(t *testing.T) {
		a := startAgain(t, s, "once", flows.AgainInput{})
		first := a.await(t, incarnation{}, nil)
		setFaults(t, s, fault.Rule{Method: "RecordActivityTaskHeartbeatById", Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1})
		id := a.request(t, "heartbeat_activity", "", `details => '"first"'`)
		eventually(t, "first try", func() error {
			if r := look(t, id); r.Attempts < 1 {
				return errors.New(r.String())
			}
			return nil
		})
		if err := s.client.CompleteActivityByID(t.Context(), "default", a.workflowID, "", againID, nil, nil); err != nil {
			t.Fatal(err)
		}
		a.await(t, first, nil)
		checkWords(t, awaitFinished(t, id), "unconfirmed", "NOT_FOUND", "the activity was scheduled anew since the request was made")
		if second, err := a.now(t); err != nil || second.pending.GetHeartbeatDetails() != nil {
			t.Errorf("the second activity got the heartbeat: %v", err)
		}
	})

	t.Run("a failure of a later attempt, which another one ended", func(t *testing.T) {
		w := startActivityAt(t, s.client, "once", handles[1], flows.ActivityOptions{RetryInitialMS: 1})
		for attempt := int32(2); attempt <= 4; attempt++ {
			awaitDelivered(t, w.requestNamed(t, "fail_activity", "message => 'try again'"))
			awaitToken(t, w.WorkflowID, attempt)
		}
		setFaults(t, s, fault.Rule{Method: "RespondActivityTaskFailedById", Identity: fromPostgreSQL, Mode: fault.FailBefore, Count: 1})
		id := w.requestNamed(t, "fail_activity", "message => 'try again'")
		eventually(t, "first try", func() error {
			if r := look(t, id); r.Attempts < 1 {
				return errors.New(r.String())
			}
			return nil
		})
		if err := s.client.CompleteActivityByID(t.Context(), "default", w.WorkflowID, "", w.ActivityID, "by another one", nil); err != nil {
			t.Fatal(err)
		}
		checkWords(t, awaitFinished(t, id), "rejected", "NOT_FOUND", "the activity was completed by ")
	})

	t.Run("one failure ends one attempt", func(t *testing.T) {
		a := startAgain(t, s, "once", flows.AgainInput{Options: flows.ActivityOptions{RetryInitialMS: 1}})
		a.await(t, incarnation{}, nil)
		setFaults(t, s, fault.Rule{Method: "RespondActivityTaskFailedById", Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1})
		awaitDelivered(t, a.request(t, "fail_activity", "", "message => 'try again'"))
		second := a.await(t, incarnation{}, nil)
		if second.pending.GetAttempt() != 2 {
			t.Errorf("attempt %d", second.pending.GetAttempt())
		}
	})

	for _, mode := range []fault.Mode{fault.FailAfter, fault.FailBefore} {
		t.Run("reset, "+string(mode), func(t *testing.T) {
			a := startAgain(t, s, "once", flows.AgainInput{})
			first := a.await(t, incarnation{}, nil)
			setFaults(t, s, fault.Rule{Method: "RespondActivityTaskCompletedById", Identity: fromPostgreSQL, Mode: mode, Count: 1})
			id := a.request(t, "complete_activity", "", `result => '"first"'`)
			eventually(t, "first try", func() error {
				if r := look(t, id); r.Attempts < 1 {
					return errors.New(r.String())
				}
				return nil
			})
			resetWorkflow(t, s, a.workflowID, first.runID)
			a.await(t, first, func(*workflowpb.PendingActivityInfo) bool { return true })
			r := awaitFinished(t, id)
			if mode == fault.FailAfter && r.State != "delivered" || mode == fault.FailBefore && r.State != "rejected" {
				t.Error(r)
			}
			if now, err := a.now(t); err != nil || now.runID == first.runID {
				t.Errorf("the activity does not wait after the reset: %v", err)
			}
		})
	}

	for _, namesRun := range []bool{true, false} {
		t.Run(fmt.Sprintf("standalone, run named: %t", namesRun), func(t *testing.T) {
			w := startActivityAt(t, s.client, "once", handles[3], flows.ActivityOptions{})
			setFaults(t, s, fault.Rule{Method: "RespondActivityTaskCompletedById", Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1})
			first := w.RunID
			if !namesRun {
				w.RunID = ""
			}
			id := w.requestNamed(t, "complete_activity", `result => '"first"'`)
			w.RunID = first
			w.outcome(t)
			options := flows.ActivityOptions{}.Standalone(w.ActivityID)
			options.ActivityIDReusePolicy = enumspb.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE
			if _, err := s.client.ExecuteActivity(t.Context(), options, "Wait"); err != nil {
				skipWithout(t, err)
				t.Fatal(err)
			}
			r := awaitFinished(t, id)
			if namesRun {
				if r.State != "delivered" {
					t.Error(r)
				}
			} else {
				checkWords(t, r, "unconfirmed", "NO_ANSWER", "another run of the activity has begun since the request was made")
			}
			w.RunID = ""
			if status := w.describe(t).GetInfo().GetStatus(); status != enumspb.ACTIVITY_EXECUTION_STATUS_RUNNING {
				t.Errorf("the second activity is %s", status)
			}
		})
	}
}

func resetWorkflow(t *testing.T, s secured, workflowID, runID string) {
	t.Helper()
	_, err := s.client.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 "default",
		WorkflowExecution:         execution(workflowID, runID),
		Reason:                    "by the test",
		WorkflowTaskFinishEventId: 4,
		RequestId:                 fmt.Sprint("reset of ", workflowID, time.Now().UnixNano()),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkWords checks what is said of a request.
func checkWords(t *testing.T, r request, state, code, words string) {
	t.Helper()
	if r.State != state || r.ErrorCode == nil || *r.ErrorCode != code || r.ErrorMessage == nil || !strings.Contains(*r.ErrorMessage, words) {
		t.Errorf("%s; not %s, %s: %s", r, state, code, words)
	}
}
