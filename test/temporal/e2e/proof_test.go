package e2e

import (
	"errors"
	"testing"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
)

// TestFailureBeforeTermination loses the answer to a failure until the workflow has been terminated, while the activity
// waited for its next attempt.
func TestFailureBeforeTermination(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "terminated", "address '"+s.Address+"'")
	w := startActivityAt(t, s.client, "terminated", handles[0], flows.ActivityOptions{RetryInitialMS: 3600_000})
	for _, r := range []fault.Rule{{Mode: fault.FailAfter, Count: 1}, {Mode: fault.FailBefore}} {
		r.Method, r.Identity = "RespondActivityTaskFailed*", "postgresql:*"
		if err := s.AddFault(r); err != nil {
			t.Fatal(err)
		}
	}
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
	createServer(t, "late", "address '"+s.Address+"'")
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
			for _, r := range []fault.Rule{{Mode: c.mode, Count: 1}, {Mode: fault.FailBefore}} {
				r.Method, r.Identity = "RespondActivityTaskFailed*", "postgresql:*"
				if err := s.AddFault(r); err != nil {
					t.Fatal(err)
				}
			}
			id, _ := w.request(t, "fail_activity", "message => 'try again'")
			eventually(t, "second try", func() error {
				if r := look(t, id); r.Attempts < 2 {
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
