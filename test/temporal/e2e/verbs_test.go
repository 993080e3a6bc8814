package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"temporal_complete/test/temporal/internal/flows"
)

func TestComplete(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"object":  `{"approved": true, "by": "Zoë 🐘", "amount": 12345678901234567890.125, "tags": [], "note": null}`,
		"array":   `[1, [2, 3], {}]`,
		"string":  `"a \"quoted\" string with a \\ and a line\nbreak"`,
		"number":  `-0.5e-10`,
		"null":    `null`,
		"nothing": "",
	}
	forEachHandle(t, func(t *testing.T, h handle) {
		for name, value := range values {
			t.Run(name, func(t *testing.T) {
				w := startActivity(t, h, flows.ActivityOptions{})
				arguments := ""
				if value != "" {
					arguments = "result => $json$" + value + "$json$"
				}
				id, identity := w.request(t, "complete_activity", arguments)
				r := awaitDelivered(t, id)
				if r.Attempts != 1 || r.ErrorCode != nil {
					t.Error(r)
				}
				o := w.outcome(t)
				if o.Failure != nil {
					t.Fatalf("failure %s", marshal(o.Failure))
				}
				if value == "" {
					if o.Result != nil {
						t.Errorf("result %s where there is none", marshal(o.Result))
					}
				} else if o.Result == nil {
					t.Error("no result")
				} else {
					sameValues(t, "result", []flows.Value{*o.Result}, value)
				}
				checkIdentity(t, w, identity)
			})
		}
	})
}

// TestPayloads checks what a workflow gets of values of each kind: encoding and data.
func TestPayloads(t *testing.T) {
	t.Parallel()
	values := map[string]struct{ sql, want string }{
		"literal":   {`'{"a":  "é"}'`, `{"encoding":"json/plain","json":{"a":"é"}}`},
		"jsonb":     {`jsonb_build_object('a: "b", c', 1)`, `{"encoding":"json/plain","json":{"a: \"b\", c":1}}`},
		"json":      {`json_build_object('b', 2, 'a', 1)`, `{"encoding":"json/plain","json":{"b":2,"a":1}}`},
		"bytes":     {`'\x00ff'::bytea`, `{"encoding":"binary/plain","base64":"AP8="}`},
		"no bytes":  {`''::bytea`, `{"encoding":"binary/plain"}`},
		"encrypted": {`temporal.payload('binary/encrypted', '\xc0ffee', '{"key": "k1"}')`, `{"encoding":"binary/encrypted","base64":"wP/u"}`},
		"nil":       {`temporal.payload('binary/null', '')`, `{"encoding":"binary/null"}`},
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startActivity(t, handles[0], flows.ActivityOptions{})
			id, _ := w.request(t, "complete_activity", "result => "+value.sql)
			awaitDelivered(t, id)
			o := w.outcome(t)
			if o.Failure != nil || o.Result == nil {
				t.Fatalf("%s", marshal(o))
			}
			if got := marshal(o.Result); got != value.want {
				t.Errorf("%s, not %s", got, value.want)
			}
		})
	}
}

func checkIdentity(t *testing.T, w *waiting, identity string) {
	t.Helper()
	if got, _ := w.closedBy(t); got != identity {
		t.Errorf("identity %s, not %s", got, identity)
	}
}

// TestView checks that a request is shown with the activity that it is about, also when it was named by token.
func TestView(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		id, _ := w.request(t, "complete_activity", "")
		r := awaitDelivered(t, id)
		if r.Verb != "complete" || r.Server != "temporal" || r.Namespace != "default" {
			t.Errorf("verb %s, server %s, namespace %s", r.Verb, r.Server, r.Namespace)
		}
		if r.ActivityID == nil || *r.ActivityID != w.ActivityID || r.RunID == nil || *r.RunID != w.RunID {
			t.Errorf("activity %s, run %s", marshal(r.ActivityID), marshal(r.RunID))
		}
		if h.standalone {
			if r.WorkflowID != nil {
				t.Errorf("workflow %s for a standalone activity", *r.WorkflowID)
			}
		} else if r.WorkflowID == nil || *r.WorkflowID != w.WorkflowID {
			t.Errorf("workflow %s", marshal(r.WorkflowID))
		}
	})
}

func TestFail(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		id, identity := w.request(t, "fail_activity", `
			message => 'no more stock, señor',
			type => 'OutOfStock',
			details => '{"sku": 17, "missing": [1, 2]}',
			non_retryable => true,
			stack_trace => E'PL/pgSQL function f() line 3\nSQL statement "SELECT f()"'`)
		awaitDelivered(t, id)

		f := applicationFailure(t, w.outcome(t))
		if f.Message != "no more stock, señor" || f.Type != "OutOfStock" || !f.NonRetryable || f.Benign {
			t.Errorf("failure %s", marshal(f))
		}
		sameValues(t, "details", f.Details, `{"sku": 17, "missing": [1, 2]}`)

		by, failure := w.closedBy(t)
		if by != identity {
			t.Errorf("identity %s, not %s", by, identity)
		}
		if want := "PL/pgSQL function f() line 3\nSQL statement \"SELECT f()\""; failure.GetStackTrace() != want {
			t.Errorf("stack trace %q", failure.GetStackTrace())
		}
		if failure.GetSource() != identity {
			t.Errorf("source %q", failure.GetSource())
		}
	})
}

// TestCauses checks that a workflow reads what a failure was caused by as it reads the causes of other errors.
func TestCauses(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		id, identity := w.request(t, "fail_activity", `
			message => 'cannot import',
			non_retryable => true,
			cause => '{
				"message": "no such file, señor", "type": "FileNotFound", "details": {"big": 12345678901234567890, "files": ["a", null]},
				"non_retryable": true, "stack_trace": "line 1\nline 2",
				"cause": {"message": "", "details": false, "cause": {"message": "host is down"}}}'`)
		awaitDelivered(t, id)

		f := applicationFailure(t, w.outcome(t))
		if f.Message != "cannot import" || f.Cause == nil {
			t.Fatalf("failure %s", marshal(f))
		}
		first, second, third := f.Cause, f.Cause.Cause, (*flows.Failure)(nil)
		if second != nil {
			third = second.Cause
		}
		if third == nil || third.Cause != nil || first.Kind != "application" || second.Kind != "application" || third.Kind != "application" {
			t.Fatalf("failure %s", marshal(f))
		}
		if first.Message != "no such file, señor" || first.Type != "FileNotFound" || !first.NonRetryable {
			t.Errorf("first cause %s", marshal(first))
		}
		sameValues(t, "details", first.Details, `{"big": 12345678901234567890, "files": ["a", null]}`)
		if second.Message != "" || second.Type != "" || second.NonRetryable || third.Message != "host is down" || third.Details != nil {
			t.Errorf("second cause %s", marshal(second))
		}
		sameValues(t, "details", second.Details, `false`)

		_, failure := w.closedBy(t)
		if failure.GetSource() != identity || failure.GetCause().GetSource() != "" {
			t.Errorf("sources %q, %q", failure.GetSource(), failure.GetCause().GetSource())
		}
		if want := "line 1\nline 2"; failure.GetCause().GetStackTrace() != want {
			t.Errorf("stack trace %q", failure.GetCause().GetStackTrace())
		}
	})
}

// applicationFailure finds the failure that the extension sent; a workflow sees it as the cause of its own.
func applicationFailure(t *testing.T, o flows.Outcome) *flows.Failure {
	t.Helper()
	for f := o.Failure; f != nil; f = f.Cause {
		if f.Kind == "application" {
			return f
		}
	}
	t.Fatalf("no application failure in %s", marshal(o))
	return nil
}

// TestFailOnlyMessage checks what the other fields are when they are not given, and that a type of the retry
// policy ends the activity.
func TestFailOnlyMessage(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{MaximumAttempts: 1})
		id, _ := w.request(t, "fail_activity", "message => 'no'")
		awaitDelivered(t, id)
		f := applicationFailure(t, w.outcome(t))
		if f.Message != "no" || f.Type != "" || f.NonRetryable || f.Details != nil || f.NextRetryDelay != "" || f.Benign {
			t.Errorf("failure %s", marshal(f))
		}

		w = startActivity(t, h, flows.ActivityOptions{NonRetryableTypes: []string{"Final"}})
		id, _ = w.request(t, "fail_activity", "message => 'no', type => 'Final'")
		awaitDelivered(t, id)
		if f := applicationFailure(t, w.outcome(t)); f.Type != "Final" {
			t.Errorf("failure %s", marshal(f))
		}
	})
}

func TestFailBenign(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		id, _ := w.request(t, "fail_activity", "message => 'as usual', non_retryable => true, benign => true")
		awaitDelivered(t, id)
		if f := applicationFailure(t, w.outcome(t)); !f.Benign {
			t.Errorf("failure %s", marshal(f))
		}
		_, failure := w.closedBy(t)
		if c := failure.GetApplicationFailureInfo().GetCategory(); c != enumspb.APPLICATION_ERROR_CATEGORY_BENIGN {
			t.Errorf("category %s", c)
		}
	})
}

// TestFailRetried checks that next_retry_delay decides when the next attempt comes, and that the attempt finds the
// heartbeat details which came with the failure.
func TestFailRetried(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		// Without next_retry_delay the second attempt would come in an hour.
		w := startActivity(t, h, flows.ActivityOptions{RetryInitialMS: 3600_000})
		id, _ := w.request(t, "fail_activity", `
			message => 'try again',
			next_retry_delay => '10 ms',
			heartbeat_details => '{"page": 12}'`)
		awaitDelivered(t, id)
		w.Pending = awaitToken(t, w.id(), 2)
		if !h.byID || !serverIsBefore(t, 32) { // earlier ones drop them
			sameJSON(t, "heartbeat details of the second attempt", w.heartbeatDetails(t), `{"page": 12}`)
		}

		id, _ = w.request(t, "fail_activity", "message => 'try again later', next_retry_delay => '1 h 30 min 0.25 s'")
		awaitDelivered(t, id)
		s := w.status(t)
		if s.GetAttempt() != 3 || s.GetLastFailure().GetMessage() != "try again later" {
			t.Errorf("attempt %d, last failure %s", s.GetAttempt(), s.GetLastFailure().GetMessage())
		}
		// Standalone activities are told the difference of two clock readings.
		got := s.GetCurrentRetryInterval().AsDuration().Round(time.Millisecond)
		if want := 90*time.Minute + 250*time.Millisecond; got != want {
			t.Errorf("the next attempt comes after %s, not %s", got, want)
		}
	})
}

// id of the workflow or the standalone activity.
func (w *waiting) id() string {
	if w.standalone {
		return w.ActivityID
	}
	return w.WorkflowID
}

// heartbeatDetails returns those that the attempt found when it began.
func (w *waiting) heartbeatDetails(t *testing.T) string {
	t.Helper()
	var details *string
	err := db.QueryRow(t.Context(), "SELECT heartbeat_details::text FROM pending_activity WHERE task_token = $1",
		w.TaskToken).Scan(&details)
	if err != nil {
		t.Fatal(err)
	}
	if details == nil {
		t.Fatal("no heartbeat details")
	}
	return *details
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{WaitForCancellation: true})

		id, _ := w.request(t, "heartbeat_activity", "")
		checkReply(t, awaitDelivered(t, id), false, false, false)

		w.cancel(t)
		// A workflow has to take note of the request itself before its activities get it.
		eventually(t, "the heartbeat's reply", func() error {
			id, _ := w.request(t, "heartbeat_activity", "")
			r := awaitDelivered(t, id)
			if r.CancelRequested == nil || !*r.CancelRequested {
				return fmt.Errorf("cancel_requested is %s", marshal(r.CancelRequested))
			}
			return nil
		})

		id, identity := w.request(t, "report_cancellation", `details => '["cleaned up", 3]'`)
		awaitDelivered(t, id)
		f := w.outcome(t).Failure
		for f != nil && f.Kind != "canceled" {
			f = f.Cause
		}
		if f == nil {
			t.Fatal("not cancelled")
		}
		sameValues(t, "details", f.Details, `["cleaned up", 3]`)
		if !h.standalone {
			// Of a standalone activity, Temporal notes only who asked for the cancellation.
			checkIdentity(t, w, identity)
		}
	})
}

// TestCancellationNotRequested checks that Temporal's refusal is shown.
func TestCancellationNotRequested(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		id, _ := w.request(t, "report_cancellation", "")
		r := awaitFinished(t, id)
		if r.State != "rejected" || r.ErrorCode == nil || *r.ErrorCode != "INVALID_ARGUMENT" || r.ErrorMessage == nil {
			t.Error(r)
		}
	})
}

func checkReply(t *testing.T, r request, cancelRequested, paused, reset bool) {
	t.Helper()
	got := marshal([]*bool{r.CancelRequested, r.ActivityPaused, r.ActivityReset})
	if want := marshal([]bool{cancelRequested, paused, reset}); got != want {
		t.Errorf("cancel_requested, activity_paused and activity_reset are %s, not %s", got, want)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{HeartbeatMS: 600_000})
		for _, details := range []string{`{"percent": 10}`, `{"percent": 50}`} {
			id, _ := w.request(t, "heartbeat_activity", "details => '"+details+"'")
			checkReply(t, awaitDelivered(t, id), false, false, false)
			sameValues(t, "details", payloadValues(w.status(t).GetHeartbeatDetails()), details)
		}

		// The next attempt finds the last ones.
		id, _ := w.request(t, "fail_activity", "message => 'try again', next_retry_delay => '10 ms'")
		awaitDelivered(t, id)
		w.Pending = awaitToken(t, w.id(), 2)
		sameJSON(t, "heartbeat details of the second attempt", w.heartbeatDetails(t), `{"percent": 50}`)
	})
}

// TestManyHeartbeats checks that a verdict does not wait for heartbeats that were asked for before it: the newest one is
// sent, of the others nothing is claimed, and the next attempt finds the newest details.
func TestManyHeartbeats(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		const heartbeats = 2000
		w := startActivity(t, h, flows.ActivityOptions{HeartbeatMS: 600_000})
		beat := strings.TrimPrefix(w.call("heartbeat_activity", "details => to_jsonb(i)"), "SELECT ")
		failure := strings.TrimPrefix(w.call("fail_activity", "message => 'again', next_retry_delay => '10 ms'"), "SELECT ")
		var last, verdict int64
		err := db.QueryRow(t.Context(), fmt.Sprintf(`
WITH beats AS MATERIALIZED (SELECT max(%s) AS last FROM generate_series(1, %d) i)
SELECT last, CASE WHEN last > 0 THEN %s END FROM beats`, beat, heartbeats, failure), w.parameters()...).Scan(&last, &verdict)
		if err != nil {
			t.Fatal(err)
		}
		awaitDelivered(t, verdict)
		awaitDelivered(t, last)
		var kept, accounted int
		err = db.QueryRow(t.Context(), `
SELECT count(*), count(*) + coalesce(sum(earlier_heartbeats), 0)
  FROM temporal.request WHERE activity_id = $1 AND verb = 'heartbeat' AND id <= $2`,
			w.ActivityID, last).Scan(&kept, &accounted)
		if err != nil {
			t.Fatal(err)
		}
		if kept > 20 || accounted != heartbeats {
			t.Errorf("of %d heartbeats %d are kept, %d accounted for", heartbeats, kept, accounted)
		}
		w.Pending = awaitToken(t, w.id(), 2)
		sameJSON(t, "heartbeat details of the second attempt", w.heartbeatDetails(t), fmt.Sprint(heartbeats))
	})
}

func TestHeartbeatOfPausedActivity(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		_, err := w.client.WorkflowService().PauseActivityExecution(t.Context(), &workflowservice.PauseActivityExecutionRequest{
			Namespace: "default", WorkflowId: w.WorkflowID, RunId: w.RunID, ActivityId: w.ActivityID, RequestId: uniqueID(),
		})
		skipWithout(t, err)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := w.request(t, "heartbeat_activity", "")
		checkReply(t, awaitDelivered(t, id), false, true, false)
		id, _ = w.request(t, "complete_activity", "")
		awaitDelivered(t, id)
	})
}

func TestHeartbeatOfResetActivity(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		_, err := w.client.WorkflowService().ResetActivityExecution(t.Context(), &workflowservice.ResetActivityExecutionRequest{
			Namespace: "default", WorkflowId: w.WorkflowID, RunId: w.RunID, ActivityId: w.ActivityID,
		})
		skipWithout(t, err)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := w.request(t, "heartbeat_activity", "")
		checkReply(t, awaitDelivered(t, id), false, false, true)
		id, _ = w.request(t, "complete_activity", "")
		awaitDelivered(t, id)
	})
}

// TestSecondVerdict checks that the first one wins and the second is told so.
func TestSecondVerdict(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		first, identity := w.request(t, "complete_activity", `result => '"first"'`)
		second, _ := w.request(t, "fail_activity", "message => 'second', non_retryable => true")
		awaitDelivered(t, first)
		r := awaitFinished(t, second)
		if r.State != "rejected" || r.ErrorCode == nil || *r.ErrorCode != "NOT_FOUND" {
			t.Error(r)
		}
		if o := w.outcome(t); o.Result == nil || string(o.Result.JSON) != `"first"` {
			t.Errorf("outcome %s", marshal(o))
		}
		checkIdentity(t, w, identity)
	})
}
