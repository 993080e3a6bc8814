package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/durationpb"

	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/inspect"
	"temporal_complete/test/temporal/internal/tokens"
)

// handle is a way to name an activity.
type handle struct {
	name       string
	standalone bool
	byID       bool
}

var handles = []handle{
	{name: "task token"},
	{name: "ids", byID: true},
	{name: "standalone task token", standalone: true},
	{name: "standalone ids", standalone: true, byID: true},
}

// forEachHandle runs a test for each way to name an activity.
func forEachHandle(t *testing.T, run func(t *testing.T, h handle)) {
	for _, h := range handles {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			run(t, h)
		})
	}
}

// present leaves out standalone activities where the server has none.
func present(t *testing.T, all []handle) (some []handle) {
	t.Helper()
	for _, h := range all {
		if !h.standalone || !serverIsBefore(t, 31) {
			some = append(some, h)
		}
	}
	return some
}

// waiting is an activity that waits to be finished, and how to name it.
type waiting struct {
	handle
	tokens.Pending
	client client.Client
	server string // foreign server; empty for the default
}

var lastID atomic.Int64

// uniqueID makes an id of a workflow or an activity.
func uniqueID() string { return fmt.Sprintf("e2e-%d", lastID.Add(1)) }

// startActivity starts an activity and returns when its first attempt waits.
func startActivity(t *testing.T, h handle, o flows.ActivityOptions) *waiting {
	t.Helper()
	return startActivityAt(t, sdk, "", h, o)
}

// startActivityAt does so on another Temporal server, which the foreign server is for.
func startActivityAt(t *testing.T, c client.Client, server string, h handle, o flows.ActivityOptions) *waiting {
	t.Helper()
	id := uniqueID()
	w := &waiting{handle: h, client: c, server: server}
	if h.standalone {
		if _, err := c.ExecuteActivity(t.Context(), o.Standalone(id), "Wait"); err != nil {
			skipWithout(t, err)
			t.Fatal(err)
		}
	} else {
		in := flows.PendingInput{Activities: 1, ActivityIDs: []string{"activity of " + id}, Options: o}
		options := client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue}
		if _, err := c.ExecuteWorkflow(t.Context(), options, flows.Pending, in); err != nil {
			t.Fatal(err)
		}
	}
	w.Pending = awaitToken(t, id, 1)
	return w
}

// skipWithout skips a test about what the server of another release has not: standalone activities before 1.31, the
// methods to pause and reset activities by their present names.
func skipWithout(t *testing.T, err error) {
	t.Helper()
	var unimplemented *serviceerror.Unimplemented
	if os.Getenv("TEMPORAL_SERVER") != "" && errors.As(err, &unimplemented) {
		t.Skip(err)
	}
}

// serverVersion is that of the server that the tests share.
func serverVersion(t *testing.T) string {
	t.Helper()
	info, err := sdk.WorkflowService().GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return info.GetServerVersion()
}

// serverIsBefore says whether it is of an earlier release than 1.minor.
func serverIsBefore(t *testing.T, minor int) bool {
	t.Helper()
	var release int
	if _, err := fmt.Sscanf(serverVersion(t), "1.%d.", &release); err != nil {
		t.Fatalf("version %q: %v", serverVersion(t), err)
	}
	return release < minor
}

// awaitToken waits until an attempt of the only activity of that workflow, or of that standalone activity, waits.
func awaitToken(t *testing.T, id string, attempt int32) tokens.Pending {
	t.Helper()
	var found tokens.Pending
	eventually(t, fmt.Sprintf("attempt %d of %s", attempt, id), func() error {
		pending, err := tokens.Read(t.Context(), db, id)
		if err != nil {
			return err
		}
		for _, p := range pending {
			if (p.WorkflowID == id || p.ActivityID == id) && p.Attempt == attempt {
				found = p
				return nil
			}
		}
		return fmt.Errorf("%d other activities wait", len(pending))
	})
	return found
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	within(t, patience, what, try)
}

// within is the same with a limit of its own, for what takes a server long.
func within(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// call returns a verb's call; arguments are in SQL's named notation, "name => value".
func (w *waiting) call(verb, arguments string) string {
	name := "task_token => $1"
	if w.byID {
		verb += "_by_id"
		name = "workflow_id => $1, activity_id => $2, run_id => $3"
	}
	if arguments != "" {
		arguments = ", " + arguments
	}
	if w.server != "" {
		arguments += ", server => '" + w.server + "'"
	}
	return fmt.Sprintf("SELECT temporal.%s(%s%s)", verb, name, arguments)
}

func (w *waiting) parameters() []any {
	if !w.byID {
		return []any{w.TaskToken}
	}
	if w.standalone {
		return []any{"", w.ActivityID, w.RunID}
	}
	return []any{w.WorkflowID, w.ActivityID, w.RunID}
}

// request calls a verb and commits. It returns the request's id and the identity that Temporal has to be told.
func (w *waiting) request(t *testing.T, verb, arguments string) (id int64, identity string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		if err := tx.QueryRow(t.Context(), w.call(verb, arguments), w.parameters()...).Scan(&id); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), `
SELECT format('postgresql:%s/%s@%s/%s/%s/%s', current_database(), $1::bigint, s.system_identifier, d.oid,
              pg_current_xact_id(), (extract(epoch FROM o.requested_at) * 1000000)::bigint)
  FROM pg_control_system() s, pg_database d, temporal_internal.outbox o
 WHERE d.datname = current_database() AND o.id = $1`, id).Scan(&identity)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, identity
}

// requestNamed calls a verb by ids, with the run that is named in w, if one is.
func (w *waiting) requestNamed(t *testing.T, verb, arguments string) (id int64) {
	t.Helper()
	parameters := w.parameters()
	if w.RunID == "" {
		parameters[2] = nil
	}
	if err := db.QueryRow(t.Context(), w.call(verb, arguments), parameters...).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func execution(workflowID, runID string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID}
}

// request is a row of the view temporal.request.
type request struct {
	ID              int64      `db:"id"`
	Server          string     `db:"server"`
	Namespace       string     `db:"namespace"`
	Verb            string     `db:"verb"`
	WorkflowID      *string    `db:"workflow_id"`
	RunID           *string    `db:"run_id"`
	ActivityID      *string    `db:"activity_id"`
	State           string     `db:"state"`
	Attempts        int        `db:"attempts"`
	ErrorCode       *string    `db:"error_code"`
	ErrorMessage    *string    `db:"error_message"`
	FinishedAt      *time.Time `db:"finished_at"`
	CancelRequested *bool      `db:"cancel_requested"`
	ActivityPaused  *bool      `db:"activity_paused"`
	ActivityReset   *bool      `db:"activity_reset"`
}

// String shows what one wants to know of a request that a test did not expect.
func (r request) String() string {
	text := func(s *string) string {
		if s == nil {
			return "none"
		}
		return *s
	}
	return fmt.Sprintf("request %d: %s, %s after %d attempts, error %s: %s", r.ID, r.Verb, r.State, r.Attempts,
		text(r.ErrorCode), text(r.ErrorMessage))
}

func (r request) finished() bool { return r.FinishedAt != nil }

const requestColumns = `id, server, namespace, verb, workflow_id, run_id, activity_id, state, attempts,
	error_code, error_message, finished_at, cancel_requested, activity_paused, activity_reset`

// look returns the request as the view shows it.
func look(t *testing.T, id int64) request {
	t.Helper()
	return one(t, "SELECT "+requestColumns+" FROM temporal.request WHERE id = $1", id)
}

// awaitFinished waits for the outcome of a request.
func awaitFinished(t *testing.T, id int64) request {
	t.Helper()
	r := one(t, "SELECT "+requestColumns+" FROM temporal.wait_for_request($1, $2)", id, patience)
	if !r.finished() {
		t.Fatalf("not finished in %s: %s", patience, r)
	}
	return r
}

// awaitDelivered waits for the outcome of a request and checks that it was delivered.
func awaitDelivered(t *testing.T, id int64) request {
	t.Helper()
	r := awaitFinished(t, id)
	if r.State != "delivered" {
		t.Fatal(r)
	}
	return r
}

func one(t *testing.T, query string, parameters ...any) request {
	t.Helper()
	rows, err := db.Query(t.Context(), query, parameters...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[request])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outcome waits until the activity is closed and returns what the workflow, or the one who started the standalone
// activity, is told.
func (w *waiting) outcome(t *testing.T) flows.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if w.standalone {
		o := flows.Outcome{ActivityID: w.ActivityID}
		var raw converter.RawValue
		if err := w.standaloneHandle().Get(ctx, &raw); err != nil {
			o.Failure = flows.NewFailure(err)
		} else {
			o.Result = flows.NewValue(raw.Payload())
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		return o
	}
	var outcomes []flows.Outcome
	if err := w.client.GetWorkflow(ctx, w.WorkflowID, w.RunID).Get(ctx, &outcomes); err != nil {
		t.Fatal(err)
	}
	return outcomes[0]
}

func (w *waiting) standaloneHandle() client.ActivityHandle {
	return w.client.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: w.ActivityID, RunID: w.RunID})
}

// cancel asks for the cancellation of the activity.
func (w *waiting) cancel(t *testing.T) {
	t.Helper()
	var err error
	if w.standalone {
		err = w.standaloneHandle().Cancel(t.Context(), client.CancelActivityOptions{})
	} else {
		err = w.client.CancelWorkflow(t.Context(), w.WorkflowID, w.RunID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// status is what Temporal tells of an activity that is not closed, of both kinds.
type status interface {
	GetAttempt() int32
	GetHeartbeatDetails() *commonpb.Payloads
	GetLastFailure() *failurepb.Failure
	GetCurrentRetryInterval() *durationpb.Duration
}

func (w *waiting) status(t *testing.T) status {
	t.Helper()
	if w.standalone {
		return w.describe(t).GetInfo()
	}
	d, err := w.client.DescribeWorkflowExecution(t.Context(), w.WorkflowID, w.RunID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.GetPendingActivities() {
		if p.GetActivityId() == w.ActivityID {
			return p
		}
	}
	t.Fatalf("activity %s of %s is closed", w.ActivityID, w.WorkflowID)
	return nil
}

// describe is for standalone activities.
func (w *waiting) describe(t *testing.T) *workflowservice.DescribeActivityExecutionResponse {
	t.Helper()
	d, err := w.client.WorkflowService().DescribeActivityExecution(t.Context(), &workflowservice.DescribeActivityExecutionRequest{
		Namespace:               "default",
		ActivityId:              w.ActivityID,
		RunId:                   w.RunID,
		IncludeOutcome:          true,
		IncludeHeartbeatDetails: true,
		IncludeLastFailure:      true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// closedBy returns the identity by which the activity was closed, and the failure if it has failed.
func (w *waiting) closedBy(t *testing.T) (identity string, failure *failurepb.Failure) {
	t.Helper()
	if w.standalone {
		d := w.describe(t)
		return d.GetInfo().GetLastWorkerIdentity(), d.GetOutcome().GetFailure()
	}
	closed, err := inspect.ClosedActivities(t.Context(), w.client, w.WorkflowID, w.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if len(closed) != 1 {
		t.Fatalf("%d activities were closed", len(closed))
	}
	event := closed[0].Source
	if event.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED {
		failure = event.GetActivityTaskFailedEventAttributes().GetFailure()
	}
	return closed[0].Identity, failure
}

// sameJSON compares values, not their spelling.
func sameJSON(t *testing.T, what string, got, want string) {
	t.Helper()
	var same bool
	err := db.QueryRow(t.Context(), "SELECT $1::jsonb = $2::jsonb", got, want).Scan(&same)
	if err != nil {
		t.Fatalf("%s %s: %v", what, got, err)
	}
	if !same {
		t.Errorf("%s is %s, not %s", what, got, want)
	}
}

// sameValues compares what the SDK decoded with the JSON that was sent.
func sameValues(t *testing.T, what string, got []flows.Value, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, not %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i].Encoding != converter.MetadataEncodingJSON {
			t.Errorf("%s: encoding %s", what, got[i].Encoding)
		}
		sameJSON(t, what, string(got[i].JSON), want[i])
	}
}

func payloadValues(p *commonpb.Payloads) []flows.Value {
	var values []flows.Value
	for _, payload := range p.GetPayloads() {
		values = append(values, *flows.NewValue(payload))
	}
	return values
}

func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
