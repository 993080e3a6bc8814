package e2e

import (
	encoding "encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/sealing"
)

// sealed is a Temporal server whose worker has a codec, with a codec server beside it.
type sealed struct {
	secured
	server *sealing.Server
	url    string
	// certificate of the codec server, as PEM
	certificate string
}

func startSealed(t *testing.T) sealed {
	t.Helper()
	codec := sealing.New()
	server := sealing.NewServer(codec, "Bearer of the codec", "default")
	listener := httptest.NewTLSServer(server)
	t.Cleanup(listener.Close)
	certificate := string(encoding.EncodeToMemory(&encoding.Block{Type: "CERTIFICATE", Bytes: listener.Certificate().Raw}))
	return sealed{startSecured(t, connect.Options{Codec: codec}), server, listener.URL, certificate}
}

// createSealedServer creates a foreign server with the codec server.
func (s sealed) createServer(t *testing.T, name, options string) {
	t.Helper()
	createServer(t, name, options+", codec_endpoint '"+s.url+"', codec_tls_server_ca_cert_data '"+s.certificate+"', encode_common_attributes 'true', retry_max_interval '500ms', request_timeout '2s'")
	exec(t, "CREATE USER MAPPING FOR CURRENT_USER SERVER "+name+
		" OPTIONS (codec_auth 'Bearer of the codec')")
}

// seenIn reports where a text can be seen that must not be seen there.
func seenIn(t *testing.T, place string, in []byte, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if how := sealing.Shows(in, s); how != "" {
			t.Errorf("%q can be seen in %s, %s", s, place, how)
		}
	}
}

// history of a workflow, or all that is told of a standalone activity, as Temporal has it.
func (w *waiting) history(t *testing.T) []byte {
	t.Helper()
	if w.standalone {
		text, err := protojson.Marshal(w.describe(t))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var text []byte
	events := w.client.GetWorkflowHistory(t.Context(), w.WorkflowID, w.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		line, err := protojson.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, line...)
	}
	return text
}

// TestCodec has everything that is sent encoded, and read by a worker with the same codec. Nothing of it is seen in
// the history, on the wire to Temporal, or in the log.
func TestCodec(t *testing.T) {
	t.Parallel()
	s := startSealed(t)
	addresses := map[string]string{"grpc": s.Address}
	if os.Getenv("TRANSPORT") == "http" {
		addresses = map[string]string{"http": s.HTTPAddress}
	}
	for transport, address := range addresses {
		t.Run(transport, func(t *testing.T) {
			tap, err := sealing.NewTap(address)
			if err != nil {
				t.Fatal(err)
			}
			defer tap.Close()
			name := "sealed_" + transport
			s.createServer(t, name, "address '"+tap.Address+"', transport '"+transport+"'")
			secret := func(what string) string { return "hush-" + what + "-of-" + transport + "-hush" }
			var secrets []string
			text := func(what string) string {
				secrets = append(secrets, secret(what))
				return secret(what)
			}
			histories := map[string][]byte{}
			t.Run("verbs", func(t *testing.T) {
				for _, h := range present(t, handles) {
					w := startActivityAt(t, s.client, name, h, flows.ActivityOptions{})
					id, _ := w.request(t, "complete_activity", `result => '{"value": "`+text("result")+`"}'`)
					awaitDelivered(t, id)
					sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `{"value": "`+secret("result")+`"}`)
					histories[h.name+": complete"] = w.history(t)

					w = startActivityAt(t, s.client, name, h, flows.ActivityOptions{RetryInitialMS: 1})
					id, _ = w.request(t, "heartbeat_activity", `details => '"`+text("heartbeat")+`"'`)
					awaitDelivered(t, id)
					id, _ = w.request(t, "fail_activity", `message => '`+text("first message")+`', heartbeat_details => '"`+text("last heartbeat")+`"'`)
					awaitDelivered(t, id)
					w.Pending = awaitToken(t, w.id(), 2)
					if !h.byID || !serverIsBefore(t, 32) { // earlier ones drop them
						sameJSON(t, "heartbeat details", w.heartbeatDetails(t), `"`+secret("last heartbeat")+`"`)
					}
					histories[h.name+": fail, between"] = w.history(t)
					id, _ = w.request(t, "fail_activity", `message => '`+text("message")+` "é"', type => 'Denied', stack_trace => '`+text("stack")+`', non_retryable => true, details => '"`+text("details")+`"',
						cause => '{"message": "`+text("cause")+`", "stack_trace": "`+text("stack of the cause")+`", "details": "`+text("details of the cause")+`"}'`)
					awaitDelivered(t, id)
					f := applicationFailure(t, w.outcome(t))
					if f.Message != secret("message")+` "é"` || f.Type != "Denied" {
						t.Error(marshal(f))
					}
					sameValues(t, "details", f.Details, `"`+secret("details")+`"`)
					if f.Cause == nil || f.Cause.Message != secret("cause") {
						t.Fatal(marshal(f))
					}
					sameValues(t, "details of the cause", f.Cause.Details, `"`+secret("details of the cause")+`"`)
					histories[h.name+": fail"] = w.history(t)

					w = startActivityAt(t, s.client, name, h, flows.ActivityOptions{WaitForCancellation: true})
					w.cancel(t)
					eventually(t, "the cancellation", func() error {
						id, _ := w.request(t, "heartbeat_activity", "")
						if r := awaitDelivered(t, id); r.CancelRequested == nil || !*r.CancelRequested {
							return errors.New(r.String())
						}
						return nil
					})
					id, _ = w.request(t, "report_cancellation", `details => '"`+text("cancellation")+`"'`)
					awaitDelivered(t, id)
					f = w.outcome(t).Failure
					for f != nil && f.Kind != "canceled" {
						f = f.Cause
					}
					if f == nil {
						t.Fatal("not cancelled")
					}
					sameValues(t, "details", f.Details, `"`+secret("cancellation")+`"`)
					histories[h.name+": cancel"] = w.history(t)
				}
			})
			t.Run("background heartbeats", func(t *testing.T) {
				w := startActivityAt(t, s.client, name, handles[0], flows.ActivityOptions{HeartbeatMS: 60000, RetryInitialMS: 1})
				exec(t, fmt.Sprintf("SELECT temporal.record_activity('%s', '\\x%x', heartbeat => true, heartbeat_interval => '1s', heartbeat_details => '\"%s\"', server => '%s')",
					w.WorkflowID, w.TaskToken, text("background"), name))
				eventually(t, "a heartbeat", func() error {
					d, err := w.client.DescribeWorkflowExecution(t.Context(), w.WorkflowID, w.RunID)
					if err != nil {
						return err
					}
					if p := d.GetPendingActivities(); len(p) != 1 || p[0].GetHeartbeatDetails() == nil {
						return errors.New("there is none")
					}
					return nil
				})
				id, _ := w.request(t, "fail_activity", "message => 'again'")
				awaitDelivered(t, id)
				w.Pending = awaitToken(t, w.id(), 2)
				sameJSON(t, "heartbeat details", w.heartbeatDetails(t), `"`+secret("background")+`"`)
			})
			t.Run("proof", func(t *testing.T) {
				for _, h := range present(t, handles) {
					w := startActivityAt(t, s.client, name, h, flows.ActivityOptions{})
					if err := s.AddFault(fault.Rule{Method: "RespondActivityTaskCompleted*", Mode: fault.FailAfter, Error: "UNAVAILABLE", Count: 1}); err != nil {
						t.Fatal(err)
					}
					id, _ := w.request(t, "complete_activity", `result => '"`+text("proof")+`"'`)
					r := awaitDelivered(t, id)
					if r.Attempts < 1 {
						t.Error(r)
					}
					sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"`+secret("proof")+`"`)
				}
			})
			t.Run("description", func(t *testing.T) {
				for _, h := range present(t, []handle{handles[0], handles[2]}) {
					w := startActivityAt(t, s.client, name, h, flows.ActivityOptions{RetryInitialMS: 3600_000})
					id, _ := w.request(t, "fail_activity", `message => '`+text("described")+` "é"'`)
					awaitDelivered(t, id)
					query := "SELECT last_failure FROM temporal.pending_activities('" + w.WorkflowID + "', server => '" + name + "')"
					if h.standalone {
						query = "SELECT last_failure FROM temporal.describe_activity('" + w.ActivityID + "', server => '" + name + "')"
					}
					shows := func(role, want string) {
						t.Helper()
						tx, err := db.Begin(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						defer tx.Rollback(t.Context()) //nolint:errcheck // there is nothing to undo
						var got string
						if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+role); err != nil {
							t.Fatal(err)
						}
						if err := tx.QueryRow(t.Context(), query).Scan(&got); err != nil {
							t.Fatal(err)
						}
						if got != want {
							t.Errorf("as %s: %q, not %q", role, got, want)
						}
					}
					shows("postgres", secret("described")+` "é"`)
					// who monitors sees what Temporal sees
					exec(t, "CREATE USER MAPPING IF NOT EXISTS FOR PUBLIC SERVER "+name+" OPTIONS (codec_auth 'Bearer of the codec')")
					shows("pg_monitor", "Encoded failure")
					s.server.Status.Store(http.StatusServiceUnavailable)
					shows("postgres", "Encoded failure")
					s.server.Status.Store(http.StatusBadRequest)
					shows("postgres", "Encoded failure")
					s.server.Status.Store(0)
					eventually(t, "the codec server to be asked again", func() error {
						var got string
						if err := db.QueryRow(t.Context(), query).Scan(&got); err != nil {
							return err
						}
						if got == "Encoded failure" {
							return errors.New(got)
						}
						return nil
					})
				}
			})
			t.Run("outage", func(t *testing.T) {
				w := startActivityAt(t, s.client, name, handles[0], flows.ActivityOptions{})
				s.server.Status.Store(http.StatusServiceUnavailable)
				id, _ := w.request(t, "complete_activity", `result => '"`+text("outage")+`"'`)
				eventually(t, "the error", func() error {
					if r := look(t, id); r.ErrorCode == nil || *r.ErrorCode != "CODEC_UNAVAILABLE" {
						return errors.New(r.String())
					}
					return nil
				})
				s.server.Status.Store(0)
				awaitDelivered(t, id)
				sameValues(t, "result", []flows.Value{*w.outcome(t).Result}, `"`+secret("outage")+`"`)
			})
			// what was passed last may be noted a moment later
			time.Sleep(100 * time.Millisecond)
			seenIn(t, "what was sent", tap.Passed(), secrets...)
			if len(tap.Passed()) == 0 {
				t.Error("nothing has passed")
			}
			for what, history := range histories {
				seenIn(t, "the history, "+what, history, secrets...)
			}
			seenIn(t, "the log", []byte(cluster.Log()), secrets...)
			seenIn(t, "the log", []byte(cluster.Log()), "Bearer of the codec")
		})
	}
}
