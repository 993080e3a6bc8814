package e2e

import (
	"errors"
	"testing"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/tokens"
)

// TestFailureBeforeTermination loses the answer to a failure until the workflow has been terminated, while the activity
// waited for its next attempt.
func TestFailureBeforeTermination(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "terminated", s.ForeignServer())
	w := startActivityAt(t, s.client, "terminated", handles[0], flows.ActivityOptions{RetryInitialMS: 3600_000})
	failTries(t, s, "RespondActivityTaskFailed*", fault.FailAfter)
	id, _ := w.request(t, "fail_activity", "message => 'try again'")
	eventually(t, "second try", func() error {
		if r := look(t, id); r.Attempts < 2 {
			return errors.New(r.String())
		}
		return nil
	})
	if err := s.client.TerminateWorkflow(t.Context(), w.WorkflowID, w.RunID, "by the test"); err != nil {
		t.Fatal(err)
	}
	if err := s.ClearFaults(); err != nil {
		t.Fatal(err)
	}
	if r := awaitFinished(t, id); r.State == "rejected" {
		t.Error(r)
	} else {
		t.Log(r)
	}
}

// TestFailureThatWasRetried loses the answer to a failure until another attempt of the activity has followed, and has
// been completed: whose failure it was that ended the first attempt, is known all the same.
func TestFailureThatWasRetried(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "late", s.ForeignServer()+", request_timeout '1s'")
	for name, c := range map[string]struct {
		handle handle
		mode   fault.Mode // of the first try
		state  string
	}{
		"ours":                    {handles[0], fault.FailAfter, "delivered"},
		"ours, by ids":            {handles[1], fault.FailAfter, "delivered"},
		"ours, standalone":        {handles[2], fault.FailAfter, "delivered"},
		"another one":             {handles[0], fault.FailBefore, "rejected"},
		"another one, standalone": {handles[2], fault.FailBefore, "rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startActivityAt(t, s.client, "late", c.handle, flows.ActivityOptions{RetryInitialMS: 1})
			failTries(t, s, "RespondActivityTaskFailed*", c.mode)
			id, _ := w.request(t, "fail_activity", "message => 'try again'")
			tries := 2
			if c.handle.byID {
				tries = 1 // it is looked up first
			}
			eventually(t, "tries", func() error {
				if r := look(t, id); r.Attempts < tries {
					return errors.New(r.String())
				}
				return nil
			})
			if c.mode == fault.FailBefore {
				if err := s.client.CompleteActivity(t.Context(), w.TaskToken, nil, errors.New("by another one")); err != nil {
					t.Fatal(err)
				}
			}
			key := w.WorkflowID
			if c.handle.standalone {
				key = w.ActivityID
			}
			second := awaitToken(t, key, 2)
			if err := s.client.CompleteActivity(t.Context(), second.TaskToken, "done", nil); err != nil {
				t.Fatal(err)
			}
			w.outcome(t)
			if err := s.ClearFaults(); err != nil {
				t.Fatal(err)
			}
			if r := awaitFinished(t, id); r.State != c.state {
				t.Error(r)
			}
		})
	}
}

// TestLongHistory loses the answer to a completion until the workflow's history has grown by 20,000 events. That it was
// ours is found out although pages of the history often cannot be read, and nobody else waits meanwhile.
func TestLongHistory(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{}, "-dynamic-config-value", "history.maximumSignalsPerExecution=20000")
	createServer(t, "long", s.ForeignServer())
	w := startActivityAt(t, s.client, "long", handles[0], flows.ActivityOptions{})
	other := startActivityAt(t, s.client, "long", handles[0], flows.ActivityOptions{})
	growing := startMany(t, s.client, 2)
	pending, err := tokens.Read(t.Context(), db, growing)
	if err != nil {
		t.Fatal(err)
	}
	w.Pending = pending[0]

	failTries(t, s, "RespondActivityTaskCompleted*", fault.FailAfter)
	id, _ := w.request(t, "complete_activity", "")
	grow(t, s.client, growing, 20_000)

	// each page takes long
	setFaults(t, s, fault.Rule{Method: historyMethod, Mode: fault.Delay, DelayMS: 1000})
	eventually(t, "the search", func() error {
		rules, err := s.Faults()
		if err == nil && rules[0].Applied == 0 {
			err = errors.New(look(t, id).String())
		}
		return err
	})
	if err := s.AddFault(fault.Rule{Method: "RespondActivityTaskCompleted*", Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1}); err != nil {
		t.Fatal(err)
	}
	otherID, _ := other.request(t, "complete_activity", "")
	awaitDelivered(t, otherID)
	if r := look(t, id); r.finished() {
		t.Errorf("the long search was over before another one: %s", r)
	}

	setFaults(t, s, fault.Rule{Method: historyMethod, Mode: fault.FailBefore, Probability: 0.2})
	awaitDelivered(t, id)
}

// grow sends signals to a workflow until its history has that many events.
func grow(t *testing.T, c client.Client, workflowID string, events int64) {
	t.Helper()
	var senders errgroup.Group
	for range 16 {
		senders.Go(func() error {
			for {
				for range 50 {
					if err := c.SignalWorkflow(t.Context(), workflowID, "", "nothing", nil); err != nil {
						return err
					}
				}
				d, err := c.DescribeWorkflowExecution(t.Context(), workflowID, "")
				if err != nil || d.WorkflowExecutionInfo.HistoryLength >= events {
					return err
				}
			}
		})
	}
	if err := senders.Wait(); err != nil {
		t.Fatal(err)
	}
}

const historyMethod = "GetWorkflowExecutionHistoryReverse"

// fromPostgreSQL matches the identities of requests.
const fromPostgreSQL = "postgresql:*"

// failTries disturbs the first try of a request in that mode; later ones have no effect and fail.
func failTries(t *testing.T, s secured, method string, first fault.Mode) {
	t.Helper()
	setFaults(t, s, fault.Rule{Method: method, Identity: fromPostgreSQL, Mode: first, Count: 1},
		fault.Rule{Method: method, Identity: fromPostgreSQL, Mode: fault.FailBefore})
}

// setFaults replaces the rules of a server.
func setFaults(t *testing.T, s secured, rules ...fault.Rule) {
	t.Helper()
	if err := s.ClearFaults(); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if err := s.AddFault(r); err != nil {
			t.Fatal(err)
		}
	}
}
