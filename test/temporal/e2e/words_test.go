package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
)

// TestWords completes activities too late, for each reason that there may be, and looks at what is said of it.
func TestWords(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "words", s.ForeignServer())
	createServer(t, "elsewhere", s.ForeignServer()+", namespace 'temporal-system'")
	fail := func(t *testing.T, w *waiting) {
		if err := s.client.CompleteActivity(t.Context(), w.TaskToken, nil, errors.New("by another one")); err != nil {
			t.Fatal(err)
		}
	}
	signal := func(how string) func(*testing.T, *waiting) {
		return func(t *testing.T, w *waiting) {
			if err := s.client.SignalWorkflow(t.Context(), w.WorkflowID, w.RunID, "end", how); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name    string
		leaves  bool // the workflow ends without the activity
		options flows.ActivityOptions
		before  func(*testing.T, *waiting)
		code    string
		words   string
	}{
		{name: "completed by another one", before: func(t *testing.T, w *waiting) {
			if err := s.client.CompleteActivity(t.Context(), w.TaskToken, "done", nil); err != nil {
				t.Fatal(err)
			}
		}, words: "the activity was completed by "},
		{name: "failed by another one", options: flows.ActivityOptions{MaximumAttempts: 1}, before: fail,
			words: "the activity was failed by "},
		{name: "timed out", options: flows.ActivityOptions{MaximumAttempts: 1, StartToCloseMS: 300}, words: "the activity timed out"},
		{name: "next attempt", options: flows.ActivityOptions{RetryInitialMS: 1}, before: fail, words: "the activity is on attempt 2"},
		{name: "between attempts", options: flows.ActivityOptions{RetryInitialMS: 3600_000}, before: fail,
			words: "the activity waits for attempt 2"},
		{name: "paused", options: flows.ActivityOptions{RetryInitialMS: 3600_000}, before: func(t *testing.T, w *waiting) {
			fail(t, w)
			_, err := s.client.WorkflowService().PauseActivity(t.Context(), &workflowservice.PauseActivityRequest{ //nolint:staticcheck // older servers
				Namespace: "default", Execution: execution(w.WorkflowID, w.RunID),
				Activity: &workflowservice.PauseActivityRequest_Id{Id: w.ActivityID}})
			if err != nil {
				t.Fatal(err)
			}
		}, words: "the activity is paused before attempt 2"},
		{name: "workflow terminated", leaves: true, before: func(t *testing.T, w *waiting) {
			if err := s.client.TerminateWorkflow(t.Context(), w.WorkflowID, w.RunID, "by the test"); err != nil {
				t.Fatal(err)
			}
		}, words: "the workflow was terminated before the activity ended"},
		{name: "workflow cancelled", leaves: true, before: func(t *testing.T, w *waiting) {
			if err := s.client.CancelWorkflow(t.Context(), w.WorkflowID, w.RunID); err != nil {
				t.Fatal(err)
			}
		}, words: "the workflow was cancelled before the activity ended"},
		{name: "workflow completed", leaves: true, before: signal("complete"), words: "the workflow was completed before the activity ended"},
		{name: "workflow failed", leaves: true, before: signal("fail"), words: "the workflow failed before the activity ended"},
		{name: "workflow continued as new", leaves: true, before: signal("continue"),
			words: "the workflow continued as new before the activity ended"},
		{name: "workflow timed out", leaves: true, words: "the workflow timed out before the activity ended"},
		{name: "workflow reset", leaves: true, before: func(t *testing.T, w *waiting) {
			resetWorkflow(t, s, w.WorkflowID, w.RunID)
		}, words: "the workflow was reset before the activity ended"},
		{name: "another namespace", before: func(_ *testing.T, w *waiting) { w.server = "elsewhere" }, code: "INVALID_ARGUMENT",
			words: "token from a different namespace"},
		{name: "no such workflow", before: func(_ *testing.T, w *waiting) { w.byID, w.WorkflowID, w.RunID = true, "nobody", "" },
			words: "workflow not found for ID: nobody"},
		{name: "no such activity", before: func(_ *testing.T, w *waiting) { w.byID, w.ActivityID, w.RunID = true, "nothing", "" },
			words: "the workflow's run has no activity of that id"},
		{name: "no such run", before: func(_ *testing.T, w *waiting) { w.byID, w.RunID = true, "01980000-0000-7000-8000-000000000000" },
			words: "workflow execution not found for workflow ID"},
		{name: "by ids, workflow terminated", leaves: true, before: func(t *testing.T, w *waiting) {
			if err := s.client.TerminateWorkflow(t.Context(), w.WorkflowID, w.RunID, "by the test"); err != nil {
				t.Fatal(err)
			}
			w.byID, w.RunID = true, ""
		}, words: "the workflow was terminated before the activity ended"},
		{name: "by ids, failure between attempts", options: flows.ActivityOptions{RetryInitialMS: 3600_000}, before: func(t *testing.T, w *waiting) {
			fail(t, w)
			w.byID = true
		}, code: "fail", words: "the activity's attempt was ended by another failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &waiting{handle: handles[0], client: s.client, server: "words"}
			id := uniqueID()
			options := client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue}
			workflow := any(flows.Pending)
			if c.leaves {
				workflow = flows.Leave
				if c.before == nil {
					options.WorkflowRunTimeout = time.Second
				}
			}
			in := flows.PendingInput{Activities: 1, ActivityIDs: []string{"activity of " + id}, Options: c.options}
			if _, err := s.client.ExecuteWorkflow(t.Context(), options, workflow, in); err != nil {
				t.Fatal(err)
			}
			w.Pending = awaitToken(t, id, 1)
			if c.before != nil {
				c.before(t, w)
			}
			awaitEnd(t, w, c.leaves, c.options)
			verb, code := "complete_activity", c.code
			arguments := ""
			if code == "fail" {
				verb, arguments, code = "fail_activity", "message => 'late'", ""
			}
			if code == "" {
				code = "NOT_FOUND"
			}
			checkWords(t, awaitFinished(t, w.requestNamed(t, verb, arguments)), "rejected", code, c.words)
		})
	}
}

// awaitEnd waits until the workflow has ended, or the activity's attempt has.
func awaitEnd(t *testing.T, w *waiting, leaves bool, o flows.ActivityOptions) {
	t.Helper()
	if w.WorkflowID == "nobody" || w.RunID != "" && w.byID && !leaves && o.RetryInitialMS == 0 {
		return
	}
	run := w.RunID
	eventually(t, "end", func() error {
		d, err := w.client.DescribeWorkflowExecution(t.Context(), w.WorkflowID, run)
		if err != nil {
			return err
		}
		if leaves && d.GetWorkflowExecutionInfo().GetCloseTime() == nil {
			return errors.New("the workflow has not ended")
		}
		for _, p := range d.GetPendingActivities() {
			if o.RetryInitialMS == 1 && p.GetLastStartedTime() == nil {
				return errors.New("the next attempt has not begun")
			}
			if o.StartToCloseMS != 0 {
				return errors.New("the activity waits")
			}
		}
		return nil
	})
	if o.RetryInitialMS == 1 {
		awaitToken(t, w.WorkflowID, 2)
	}
}

// TestExpiredInDoubt has requests expire that may have been applied: that is looked up, and where it cannot be they are
// kept whole.
func TestExpiredInDoubt(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "expiring", s.ForeignServer()+", request_timeout '500ms', expire_after '1s', retry_initial_interval '100ms'")
	forEach := func(first fault.Mode, more []fault.Rule, check func(*testing.T, *waiting, int64, request)) {
		for _, h := range handles {
			t.Run(string(first)+", "+h.name, func(t *testing.T) {
				w := startActivityAt(t, s.client, "expiring", h, flows.ActivityOptions{})
				failTries(t, s, "RespondActivityTaskCompleted*", first)
				for _, rule := range more {
					if err := s.AddFault(rule); err != nil {
						t.Fatal(err)
					}
				}
				id := w.requestNamed(t, "complete_activity", `result => '"in the end"'`)
				check(t, w, id, awaitFinished(t, id))
			})
		}
	}
	forEach(fault.FailAfter, nil, func(t *testing.T, _ *waiting, _ int64, r request) {
		if r.State != "delivered" {
			t.Error(r)
		}
	})
	forEach(fault.FailBefore, nil, func(t *testing.T, _ *waiting, _ int64, r request) {
		checkWords(t, r, "rejected", "EXPIRED", "the activity is on attempt 1")
	})
	refused := []fault.Rule{{Method: "GetWorkflowExecutionHistoryReverse", Mode: fault.FailBefore, Error: "PermissionDenied"},
		{Method: "Describe*", Mode: fault.FailBefore, Error: "PermissionDenied"}}
	forEach(fault.FailAfter, refused, func(t *testing.T, w *waiting, id int64, r request) {
		// by ids it is looked up before its time is over
		if r.State != "unconfirmed" || *r.ErrorCode != "EXPIRED" && !w.byID {
			t.Error(r)
		}
		if err := s.ClearFaults(); err != nil {
			t.Fatal(err)
		}
		exec(t, fmt.Sprintf("SELECT temporal.retry_request(%d)", id))
		awaitDelivered(t, id)
		w.outcome(t)
	})
}
