package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
)

// patience is how long is waited for what should happen at once.
const patience = 60 * time.Second

// by which an activity is named.
const (
	byKey = "key"
	byIDs = "ids"
)

// activities of the workers, by how they hand themselves out.
var activityOf = map[string]string{byKey: "request_approval", byIDs: "request_review"}

// outcome is what became of an activity.
type outcome struct {
	// report is what the workflow says, or what the second attempt found of a heartbeat.
	report string
	// sent is what Temporal was told.
	payloads *commonpb.Payloads
	failure  *failurepb.Failure
	identity string
	// stuck is why the workflow's code cannot go on.
	stuck string
}

// attempt is what an activity told the test.
type attempt struct {
	token   []byte
	details *string
}

// waiting is an activity of a workflow that waits.
type waiting struct {
	*sdk
	id  string
	run client.WorkflowRun
	how string
	attempt
	activityID string
}

var serial atomic.Int64

// begin starts a workflow and waits until its activity does.
func (s *sdk) begin(ctx context.Context, how, as string) (*waiting, error) {
	w := &waiting{sdk: s, how: how, id: fmt.Sprintf("%s-%d", s.name, serial.Add(1))}
	in := map[string]any{"activity": activityOf[how], "key": w.id, "as": as, "attempts": 1}
	if as == "heartbeat" {
		in["as"], in["attempts"] = "any", 2
	}
	var err error
	w.run, err = s.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: w.id, TaskQueue: s.name}, "Wait", in)
	if err != nil {
		return nil, err
	}
	if w.attempt, err = w.await(ctx, 1); err != nil {
		return nil, err
	}
	d, err := s.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return nil, err
	}
	if len(d.GetPendingActivities()) != 1 {
		return nil, fmt.Errorf("%d activities wait", len(d.GetPendingActivities()))
	}
	w.activityID = d.GetPendingActivities()[0].GetActivityId()
	return w, nil
}

func eventually(ctx context.Context, what string, check func() (bool, error)) error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		done, err := check()
		if err != nil || done {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
}

// await waits for an attempt to hand itself out; both of its statements are committed then, the one for the test first.
func (w *waiting) await(ctx context.Context, number int) (a attempt, err error) {
	there := "EXISTS (SELECT FROM temporal.activity WHERE key = $1 AND attempt = $2)"
	if w.how == byIDs {
		there = "EXISTS (SELECT FROM review WHERE id = $1)"
	}
	err = eventually(ctx, fmt.Sprintf("attempt %d of %s", number, w.id), func() (bool, error) {
		err := w.db.QueryRow(ctx, "SELECT task_token, heartbeat_details::text FROM attempt WHERE key = $1 AND attempt = $2 AND "+there,
			w.id, number).Scan(&a.token, &a.details)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	})
	return a, err
}

// request calls a verb of SQL and waits until it is delivered.
func (w *waiting) request(ctx context.Context, function, arguments string) error {
	call, parameters := fmt.Sprintf("temporal.%s_by_key($1, %s)", function, arguments), []any{w.id}
	if w.how == byIDs {
		// as a reader of the table that the activity wrote its ids to
		call = fmt.Sprintf("temporal.%s_by_id(workflow_id, activity_id, %s) FROM review WHERE id = $1", function, arguments)
	}
	var id int64
	if err := w.db.QueryRow(ctx, "SELECT "+call, parameters...).Scan(&id); err != nil {
		return err
	}
	return eventually(ctx, "the delivery of "+function, func() (bool, error) {
		var state, words string
		err := w.db.QueryRow(ctx, "SELECT state, coalesce(error_code || ': ' || error_message, '') FROM temporal.request WHERE id = $1", id).
			Scan(&state, &words)
		if err == nil && (state == "rejected" || state == "unconfirmed") {
			err = fmt.Errorf("%s: %s %s", function, state, words)
		}
		return state == "delivered", err
	})
}

// finish carries out a verb, by SQL or by the SDK's own client.
func (w *waiting) finish(ctx context.Context, v verb, x value, native bool) error {
	if v.name == "cancel" {
		if err := w.cancel(ctx); err != nil {
			return err
		}
	}
	if !native {
		arguments := v.argument + " => " + x.sql
		if v.arguments != "" {
			arguments = v.arguments + ", " + arguments
		}
		return w.request(ctx, v.function, arguments)
	}
	c := command{Verb: v.name, Value: x.name}
	if w.how == byIDs {
		c.WorkflowID, c.ActivityID = w.id, w.activityID
	} else {
		c.Token = w.token
	}
	return w.do(ctx, c)
}

// cancel has the workflow ask its activity to cancel.
func (w *waiting) cancel(ctx context.Context) error {
	var err error
	if w.name == "java" {
		// a workflow of Java that is asked to cancel returns nothing any more
		err = w.client.SignalWorkflow(ctx, w.id, "", "cancel", nil)
	} else {
		err = w.client.CancelWorkflow(ctx, w.id, "")
	}
	if err != nil {
		return err
	}
	_, err = w.event(ctx, func(e *historypb.HistoryEvent) bool {
		return e.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED
	})
	return err
}

// event waits for an event of the workflow's history.
func (w *waiting) event(ctx context.Context, wanted func(*historypb.HistoryEvent) bool) (*historypb.HistoryEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	events := w.client.GetWorkflowHistory(ctx, w.id, "", true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil, err
		}
		if wanted(e) {
			return e, nil
		}
	}
	return nil, errors.New("the workflow has ended without the event that was waited for")
}

// beat sends a heartbeat and has another attempt find its details.
func (w *waiting) beat(ctx context.Context, v verb, x value, native bool) (o outcome, err error) {
	if err := w.finish(ctx, v, x, native); err != nil {
		return o, err
	}
	d, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return o, err
	}
	if len(d.GetPendingActivities()) != 1 {
		return o, fmt.Errorf("%d activities wait", len(d.GetPendingActivities()))
	}
	o.payloads = d.GetPendingActivities()[0].GetHeartbeatDetails()
	if err := w.request(ctx, "fail_activity", "message => 'again', next_retry_delay => '1 ms'"); err != nil {
		return o, err
	}
	second, err := w.await(ctx, 2)
	if err != nil {
		return o, err
	}
	o.report = "[]"
	if second.details != nil {
		o.report = *second.details
	}
	if w.how == byKey {
		// the key is recorded anew
		w.attempt = second
	}
	return o, w.request(ctx, "complete_activity", "result => NULL")
}

// outcome waits until the workflow has ended or cannot go on, and says what became of its activity.
func (w *waiting) outcome(ctx context.Context) (o outcome, err error) {
	end, err := w.event(ctx, func(e *historypb.HistoryEvent) bool {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			o.payloads = e.GetActivityTaskCompletedEventAttributes().GetResult()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
			o.failure = e.GetActivityTaskFailedEventAttributes().GetFailure()
			o.identity = e.GetActivityTaskFailedEventAttributes().GetIdentity()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
			o.payloads = e.GetActivityTaskCanceledEventAttributes().GetDetails()
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			return e.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
			return true
		}
		return false
	})
	if err != nil {
		return o, err
	}
	if a := end.GetWorkflowTaskFailedEventAttributes(); a != nil {
		o.stuck = innermost(a.GetFailure())
		return o, w.client.TerminateWorkflow(ctx, w.id, "", "it cannot go on")
	}
	if a := end.GetWorkflowExecutionFailedEventAttributes(); a != nil {
		return o, fmt.Errorf("the workflow failed: %s", a.GetFailure().GetMessage())
	}
	var report json.RawMessage
	err = w.run.Get(ctx, &report)
	o.report = string(report)
	return o, err
}

// innermost returns the first line of what the cause of all says.
func innermost(f *failurepb.Failure) string {
	for f.GetCause() != nil {
		f = f.GetCause()
	}
	return firstLine(f.GetMessage())
}

// run has an activity wait, finishes it, and says what came of that.
func (s *sdk) run(ctx context.Context, how string, v verb, x value, native bool) (outcome, error) {
	as := x.as
	if v.name == "heartbeat" {
		as = "heartbeat"
	}
	w, err := s.begin(ctx, how, as)
	if err != nil {
		return outcome{}, err
	}
	if v.name == "heartbeat" {
		return w.beat(ctx, v, x, native)
	}
	if err := w.finish(ctx, v, x, native); err != nil {
		return outcome{}, err
	}
	return w.outcome(ctx)
}
