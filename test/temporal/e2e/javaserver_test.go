//go:build javaserver

package e2e

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/javaserver"
)

// javaServer is Temporal's test server for Java, with a worker.
type javaServer struct {
	address string
	client  client.Client
}

// startJavaServer starts one whose jar and those that it needs are in the directory JAVA_TEST_SERVER.
func startJavaServer(t *testing.T) javaServer {
	t.Helper()
	server, err := javaserver.Start(os.Getenv("JAVA_TEST_SERVER"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	s := javaServer{address: server.Address}
	var stop func()
	eventually(t, "the server answers", func() (err error) {
		stop, err = runWorker(context.Background(), connect.Options{Address: s.address, Namespace: "default"}, &s.client)
		return err
	})
	t.Cleanup(stop)
	return s
}

// TestJavaServer finishes activities of Temporal's other implementation.
func TestJavaServer(t *testing.T) {
	s := startJavaServer(t)
	createServer(t, "java", "address '"+s.address+"'")
	network, err := javaserver.NewNetwork(s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	createServer(t, "lossy", "address '"+network.Address+"', request_timeout '3s'")
	inWorkflows := handles[:2]

	t.Run("ping", func(t *testing.T) {
		var authorized bool
		var version, problem *string
		err := db.QueryRow(t.Context(), "SELECT authorized, server_version, error_code || ': ' || error_message FROM temporal.ping('java')").
			Scan(&authorized, &version, &problem)
		if err != nil || !authorized || problem != nil {
			t.Errorf("authorized %v, version %s, problem %s, %v", authorized, marshal(version), marshal(problem), err)
		}
	})
	for _, h := range inWorkflows {
		t.Run("verbs by "+h.name, func(t *testing.T) { javaVerbs(t, s, h) })
		t.Run("lost answers by "+h.name, func(t *testing.T) { javaLostAnswers(t, s, network, h) })
	}
	t.Run("key", func(t *testing.T) {
		w := startActivityAt(t, s.client, "java", handles[0], flows.ActivityOptions{RetryInitialMS: 1})
		execute(t, "SELECT temporal.record_activity('java 1', $1, server => 'java')", w.TaskToken)
		id, _ := w.request(t, "fail_activity", "message => 'again'")
		awaitDelivered(t, id)
		again := awaitToken(t, w.WorkflowID, 2)
		execute(t, "SELECT temporal.record_activity('java 1', $1, heartbeat => true, heartbeat_interval => '1 s', server => 'java')", again.TaskToken)
		eventually(t, "a heartbeat", func() error {
			d, err := s.client.DescribeWorkflowExecution(t.Context(), w.WorkflowID, w.RunID)
			if err != nil {
				return err
			}
			if p := d.GetPendingActivities(); len(p) != 1 || p[0].GetLastHeartbeatTime() == nil {
				return errors.New("none yet")
			}
			return nil
		})
		if err := db.QueryRow(t.Context(), `SELECT temporal.complete_activity_by_key('java 1', '"by key"', server => 'java')`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		awaitDelivered(t, id)
		sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"by key"`)
	})
	t.Run("what waits", func(t *testing.T) {
		w := startActivityAt(t, s.client, "java", handles[0], flows.ActivityOptions{})
		var activity, state string
		err := db.QueryRow(t.Context(), "SELECT activity_id, state FROM temporal.pending_activities($1, server => 'java')", w.WorkflowID).Scan(&activity, &state)
		if err != nil || activity != w.ActivityID || state != "started" {
			t.Errorf("activity %s, state %s, %v", activity, state, err)
		}
		id, _ := w.request(t, "complete_activity", "")
		awaitDelivered(t, id)
	})
	t.Run("former token", func(t *testing.T) {
		w := startActivityAt(t, s.client, "java", handles[0], flows.ActivityOptions{RetryInitialMS: 1})
		id, _ := w.request(t, "fail_activity", "message => 'again'")
		awaitDelivered(t, id)
		again := awaitToken(t, w.WorkflowID, 2)
		id, _ = w.request(t, "complete_activity", "")
		if r := awaitFinished(t, id); r.State != "rejected" || *r.ErrorCode != "NOT_FOUND" {
			t.Error(r)
		}
		w.Pending = again
		id, _ = w.request(t, "complete_activity", "result => '2'")
		awaitDelivered(t, id)
		sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, "2")
	})
}

func execute(t *testing.T, statement string, parameters ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), statement, parameters...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func javaVerbs(t *testing.T, s javaServer, h handle) {
	w := startActivityAt(t, s.client, "java", h, flows.ActivityOptions{})
	id, _ := w.request(t, "heartbeat_activity", "details => '0.5'")
	awaitDelivered(t, id)
	id, identity := w.request(t, "complete_activity", `result => '{"approved": true}'`)
	awaitDelivered(t, id)
	sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `{"approved": true}`)
	if by, _ := w.closedBy(t); by != identity {
		t.Errorf("completed by %q, not %q", by, identity)
	}

	// what is asked for in one transaction stays in order
	w = startActivityAt(t, s.client, "java", h, flows.ActivityOptions{})
	id, _ = w.request(t, "fail_activity", `message => 'no', type => 'T', details => '[1]', non_retryable => true, cause => '{"message": "why"}'`)
	late, _ := w.request(t, "complete_activity", "")
	awaitDelivered(t, id)
	if r := awaitFinished(t, late); r.State != "rejected" {
		t.Error(r)
	}
	f := applicationFailure(t, w.outcome(t))
	if f.Message != "no" || f.Type != "T" || !f.NonRetryable || f.Cause == nil || f.Cause.Message != "why" {
		t.Errorf("failure %s", marshal(f))
	}

	w = startActivityAt(t, s.client, "java", h, flows.ActivityOptions{WaitForCancellation: true})
	w.cancel(t)
	eventually(t, "the cancellation is seen", func() error {
		id, _ := w.request(t, "heartbeat_activity", "")
		if r := awaitDelivered(t, id); r.CancelRequested == nil || !*r.CancelRequested {
			return errors.New(r.String())
		}
		return nil
	})
	id, _ = w.request(t, "report_cancellation", `details => '"by customer"'`)
	awaitDelivered(t, id)
	if o := w.outcome(t); o.Failure == nil || !strings.Contains(marshal(o.Failure), "canceled") {
		t.Errorf("outcome %s", marshal(o))
	}
}

// loseAnswers does so once there is a connection.
func loseAnswers(t *testing.T, w *waiting, network *javaserver.Network) {
	t.Helper()
	id, _ := w.request(t, "heartbeat_activity", "details => '0'")
	awaitDelivered(t, id)
	network.LoseAnswers()
}

// javaLostAnswers loses what the server answers to requests that it has carried out.
func javaLostAnswers(t *testing.T, s javaServer, network *javaserver.Network, h handle) {
	for verb, arguments := range map[string]string{
		"complete_activity": "result => '1'",
		"fail_activity":     "message => 'no', non_retryable => true",
	} {
		w := startActivityAt(t, s.client, "lossy", h, flows.ActivityOptions{})
		loseAnswers(t, w, network)
		id, _ := w.request(t, verb, arguments)
		w.outcome(t)
		network.Recover()
		if r := awaitFinished(t, id); r.State != "delivered" {
			t.Error(r)
		}
	}

	// somebody else's, and not ours
	w := startActivityAt(t, s.client, "lossy", h, flows.ActivityOptions{})
	loseAnswers(t, w, network)
	if err := s.client.CompleteActivity(t.Context(), w.TaskToken, 2, nil); err != nil {
		t.Fatal(err)
	}
	id, _ := w.request(t, "complete_activity", "result => '1'")
	eventually(t, "it is sent", func() error {
		if r := look(t, id); r.Attempts < 1 {
			return errors.New(r.String())
		}
		return nil
	})
	network.Recover()
	if r := awaitFinished(t, id); r.State != "rejected" {
		t.Error(r)
	}

	// a failure that another attempt follows
	w = startActivityAt(t, s.client, "lossy", h, flows.ActivityOptions{RetryInitialMS: 1})
	loseAnswers(t, w, network)
	id, _ = w.request(t, "fail_activity", "message => 'again'")
	w.Pending = awaitToken(t, w.WorkflowID, 2)
	network.Recover()
	if r := awaitFinished(t, id); r.State == "rejected" {
		t.Error(r)
	} else {
		t.Log(r)
	}
	w.server = "java"
	id, _ = w.request(t, "complete_activity", "")
	awaitDelivered(t, id)
}
