package e2e

import (
	"errors"
	"fmt"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
)

// record records the attempt of the activity under its id as key.
func (w *waiting) record(t *testing.T) (key string) {
	t.Helper()
	key = "key of " + w.id()
	server := any(nil)
	if w.server != "" {
		server = w.server
	}
	sql, parameters := "SELECT temporal.record_activity($1, $2, server => $3)", []any{key, w.TaskToken, server}
	if w.byID {
		sql = "SELECT temporal.record_activity_by_id($1, $2, $3, $4, server => $5)"
		parameters = append(append([]any{key}, w.parameters()...), server)
	}
	if _, err := db.Exec(t.Context(), sql, parameters...); err != nil {
		t.Fatal(err)
	}
	return key
}

// requestByKey calls a verb by key.
func (w *waiting) requestByKey(t *testing.T, verb, key, arguments string) (id int64) {
	t.Helper()
	server := any(nil)
	if w.server != "" {
		server = w.server
	}
	if err := db.QueryRow(t.Context(), "SELECT temporal."+verb+"($1, "+arguments+"server => $2)", key, server).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// checkKey looks whether the key is still there.
func checkKey(t *testing.T, key string, want bool) {
	t.Helper()
	var found bool
	if err := db.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM temporal.activity WHERE key = $1)", key).Scan(&found); err != nil {
		t.Fatal(err)
	}
	if found != want {
		t.Errorf("key %s is there: %t", key, found)
	}
}

// TestKeys finishes activities by their keys.
func TestKeys(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		key := w.record(t)
		awaitDelivered(t, w.requestByKey(t, "heartbeat_activity_by_key", key, ""))
		checkKey(t, key, true)
		awaitDelivered(t, w.requestByKey(t, "complete_activity_by_key", key, `result => '"by key"', `))
		checkKey(t, key, false)
		sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"by key"`)
	})
}

// TestKeysOfFormerAttempts finishes activities by keys that were recorded by an attempt which has failed since.
func TestKeysOfFormerAttempts(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "attempts", s.ForeignServer())
	second := func(t *testing.T, h handle) (w *waiting, key string) {
		w = startActivityAt(t, s.client, "attempts", h, flows.ActivityOptions{RetryInitialMS: 1, WaitForCancellation: true})
		key = w.record(t)
		if err := s.client.CompleteActivity(t.Context(), w.TaskToken, nil, errors.New("by another one")); err != nil {
			t.Fatal(err)
		}
		awaitToken(t, w.id(), 2)
		return w, key
	}

	for _, h := range []handle{handles[0], handles[2]} {
		t.Run(h.name, func(t *testing.T) {
			w, key := second(t, h)
			awaitDelivered(t, w.requestByKey(t, "complete_activity_by_key", key, `result => '"by key"', `))
			checkKey(t, key, false)
			sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"by key"`)
		})
	}

	t.Run("cancellation", func(t *testing.T) {
		w, key := second(t, handles[0])
		w.cancel(t)
		eventually(t, "the request to cancel", func() error {
			if p := w.status(t).(*workflowpb.PendingActivityInfo); p.GetState() == enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
				return nil
			}
			return errors.New("not yet")
		})
		awaitDelivered(t, w.requestByKey(t, "report_cancellation_by_key", key, ""))
		checkKey(t, key, false)
	})

	t.Run("fail and heartbeat mean the attempt", func(t *testing.T) {
		w, key := second(t, handles[0])
		checkWords(t, awaitFinished(t, w.requestByKey(t, "fail_activity_by_key", key, "message => 'late', ")),
			"rejected", "NOT_FOUND", "the activity's attempt was ended by another failure")
		if r := awaitFinished(t, w.requestByKey(t, "heartbeat_activity_by_key", key, "")); r.State != "rejected" {
			t.Error(r)
		}
		checkKey(t, key, true)
	})

	for _, mode := range []fault.Mode{fault.FailAfter, fault.FailBefore} {
		t.Run("answer lost, "+string(mode), func(t *testing.T) {
			w, key := second(t, handles[0])
			setFaults(t, s, fault.Rule{Method: "RespondActivityTaskCompletedById", Identity: fromPostgreSQL, Mode: mode, Count: 1})
			awaitDelivered(t, w.requestByKey(t, "complete_activity_by_key", key, `result => '"once"', `))
			checkKey(t, key, false)
			sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"once"`)
		})
	}

	t.Run("ended meanwhile", func(t *testing.T) {
		w, key := second(t, handles[0])
		if err := s.client.CompleteActivityByID(t.Context(), "default", w.WorkflowID, "", w.ActivityID, "by another one", nil); err != nil {
			t.Fatal(err)
		}
		checkWords(t, awaitFinished(t, w.requestByKey(t, "complete_activity_by_key", key, "")),
			"rejected", "NOT_FOUND", "the activity was completed by ")
		checkKey(t, key, true)
	})
}

// TestKeyHistory follows a key over the attempts of an activity.
func TestKeyHistory(t *testing.T) {
	t.Parallel()
	for _, h := range []handle{handles[0], handles[2]} {
		t.Run(h.name, func(t *testing.T) {
			w := startActivity(t, h, flows.ActivityOptions{RetryInitialMS: 1})
			key := w.record(t)
			failed := w.requestByKey(t, "fail_activity_by_key", key, "message => 'again', ")
			awaitDelivered(t, failed)
			w.Pending = awaitToken(t, w.id(), 2)
			w.record(t)
			if err := w.client.CompleteActivity(t.Context(), w.TaskToken, nil, errors.New("by another one")); err != nil {
				t.Fatal(err)
			}
			w.Pending = awaitToken(t, w.id(), 3)
			w.record(t)
			completed := w.requestByKey(t, "complete_activity_by_key", key, "")
			awaitDelivered(t, completed)
			var history string
			if err := db.QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', attempt, state, request, verb), ', ' ORDER BY id)
  FROM temporal.activity_history($1)`, key).Scan(&history); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("1 finished %d fail, 2 replaced, 3 finished %d complete", failed, completed)
			if history != want {
				t.Errorf("%s, and not %s", history, want)
			}
		})
	}
}

// TestKeysAwaited asks for the end of activities before they have recorded their keys.
func TestKeysAwaited(t *testing.T) {
	t.Parallel()
	forEachHandle(t, func(t *testing.T, h handle) {
		w := startActivity(t, h, flows.ActivityOptions{})
		key := "key of " + w.id()
		id := w.requestByKey(t, "complete_activity_by_key", key, `result => '"awaited"', wait_for_key => '1 hour', `)
		later := w.requestByKey(t, "fail_activity_by_key", key, "message => 'too late', wait_for_key => '1 hour', ")
		eventually(t, "both requests to wait", func() error {
			var n int
			if err := db.QueryRow(t.Context(), "SELECT count(*) FROM temporal_internal.awaited_key WHERE id IN ($1, $2)", id, later).Scan(&n); err != nil || n != 2 {
				return fmt.Errorf("%d of them: %w", n, err)
			}
			return nil
		})
		if r := look(t, id); r.State != "waiting" {
			t.Error(r)
		}
		w.record(t)
		awaitDelivered(t, id)
		if r := awaitFinished(t, later); r.State != "rejected" || *r.ErrorCode != "NOT_FOUND" {
			t.Error(r)
		}
		checkKey(t, key, false)
		sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"awaited"`)
	})

	t.Run("failure", func(t *testing.T) {
		w := startActivity(t, handles[0], flows.ActivityOptions{MaximumAttempts: 1})
		id := w.requestByKey(t, "fail_activity_by_key", "key of "+w.id(),
			`message => 'no', type => 'Refused', details => '"why"', wait_for_key => '1 hour', `)
		w.record(t)
		awaitDelivered(t, id)
		f := w.outcome(t).Failure.Cause
		if f.Message != "no" || f.Type != "Refused" {
			t.Error(marshal(f))
		}
		sameValues(t, "details", f.Details, `"why"`)
	})

	s := startSecured(t, connect.Options{})
	createServer(t, "awaited", s.ForeignServer())
	for _, verb := range []string{"complete_activity_by_key", "fail_activity_by_key"} {
		t.Run("answer lost, "+verb, func(t *testing.T) {
			w := startActivityAt(t, s.client, "awaited", handles[1], flows.ActivityOptions{RetryInitialMS: 1, MaximumAttempts: 2})
			method, arguments := "RespondActivityTaskCompletedById", `result => '"once"', `
			if verb == "fail_activity_by_key" {
				method, arguments = "RespondActivityTaskFailedById", "message => 'once', "
			}
			setFaults(t, s, fault.Rule{Method: method, Identity: fromPostgreSQL, Mode: fault.FailAfter, Count: 1})
			id := w.requestByKey(t, verb, "key of "+w.id(), arguments+"wait_for_key => '1 hour', ")
			w.record(t)
			awaitDelivered(t, id)
		})
	}

	t.Run("the time is over", func(t *testing.T) {
		w := startActivity(t, handles[0], flows.ActivityOptions{})
		r := awaitFinished(t, w.requestByKey(t, "complete_activity_by_key", "key of "+w.id(), "wait_for_key => '100 ms', "))
		checkWords(t, r, "rejected", "KEY_NOT_RECORDED", "no activity is recorded under the key, and the time to wait for it is over")
		awaitDelivered(t, w.requestByKey(t, "complete_activity_by_key", w.record(t), ""))
	})
}
