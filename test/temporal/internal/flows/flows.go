// Package flows holds workflows and activities of the real Go SDK whose activities are finished by someone else.
//
// An activity hands its task token to a table of PostgreSQL and returns activity.ErrResultPending. The workflow
// returns, word for word, what it was told about its activities.
package flows

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"temporal_complete/test/temporal/internal/tokens"
)

// TaskQueue is where the workers of tests listen.
const TaskQueue = "temporal-complete-test"

// ActivityOptions are the options of activities, as JSON takes them. Times are in milliseconds.
type ActivityOptions struct {
	StartToCloseMS        int64    `json:"start_to_close_ms,omitempty"`
	ScheduleToCloseMS     int64    `json:"schedule_to_close_ms,omitempty"`
	ScheduleToStartMS     int64    `json:"schedule_to_start_ms,omitempty"`
	HeartbeatMS           int64    `json:"heartbeat_ms,omitempty"`
	RetryInitialMS        int64    `json:"retry_initial_ms,omitempty"`
	RetryMaximumMS        int64    `json:"retry_maximum_ms,omitempty"`
	RetryCoefficient      float64  `json:"retry_coefficient,omitempty"`
	MaximumAttempts       int32    `json:"maximum_attempts,omitempty"`
	NonRetryableTypes     []string `json:"non_retryable_types,omitempty"`
	WaitForCancellation   bool     `json:"wait_for_cancellation,omitempty"`
	DisableEagerExecution bool     `json:"disable_eager_execution,omitempty"`
}

// PendingInput says what the workflow Pending is to do.
type PendingInput struct {
	// Activities run in parallel.
	Activities int `json:"activities"`
	// ActivityIDs are the ids of the first ones; the SDK numbers the others.
	ActivityIDs []string        `json:"activity_ids,omitempty"`
	Options     ActivityOptions `json:"options"`
}

const defaultStartToClose = time.Hour

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// StartToClose returns the time that one attempt may take.
func (o ActivityOptions) StartToClose() time.Duration {
	if o.StartToCloseMS == 0 {
		return defaultStartToClose
	}
	return ms(o.StartToCloseMS)
}

// RetryPolicy returns the policy that the options describe.
func (o ActivityOptions) RetryPolicy() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval:        ms(o.RetryInitialMS),
		MaximumInterval:        ms(o.RetryMaximumMS),
		BackoffCoefficient:     o.RetryCoefficient,
		MaximumAttempts:        o.MaximumAttempts,
		NonRetryableErrorTypes: o.NonRetryableTypes,
	}
}

// Standalone returns the options of a standalone activity.
func (o ActivityOptions) Standalone(id string) client.StartActivityOptions {
	return client.StartActivityOptions{
		ID:                     id,
		TaskQueue:              TaskQueue,
		StartToCloseTimeout:    o.StartToClose(),
		ScheduleToCloseTimeout: ms(o.ScheduleToCloseMS),
		ScheduleToStartTimeout: ms(o.ScheduleToStartMS),
		HeartbeatTimeout:       ms(o.HeartbeatMS),
		RetryPolicy:            o.RetryPolicy(),
	}
}

func (o ActivityOptions) inWorkflow(id string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		ActivityID:             id,
		StartToCloseTimeout:    o.StartToClose(),
		ScheduleToCloseTimeout: ms(o.ScheduleToCloseMS),
		ScheduleToStartTimeout: ms(o.ScheduleToStartMS),
		HeartbeatTimeout:       ms(o.HeartbeatMS),
		WaitForCancellation:    o.WaitForCancellation,
		DisableEagerExecution:  o.DisableEagerExecution,
		RetryPolicy:            o.RetryPolicy(),
	}
}

// Pending starts activities that wait and returns what becomes of each, in their order. It completes also when
// it is cancelled, so that the outcomes can be seen.
func Pending(ctx workflow.Context, in PendingInput) ([]Outcome, error) {
	futures := make([]workflow.Future, in.Activities)
	outcomes := make([]Outcome, in.Activities)
	for i := range futures {
		id := fmt.Sprint(i + 1)
		if i < len(in.ActivityIDs) {
			id = in.ActivityIDs[i]
		}
		outcomes[i].ActivityID = id
		options := workflow.WithTaskQueue(workflow.WithActivityOptions(ctx, in.Options.inWorkflow(id)),
			workflow.GetInfo(ctx).TaskQueueName)
		futures[i] = workflow.ExecuteActivity(options, "Wait")
	}
	for i, f := range futures {
		var raw converter.RawValue
		if err := f.Get(ctx, &raw); err != nil {
			outcomes[i].Failure = NewFailure(err)
		} else {
			outcomes[i].Result = NewValue(raw.Payload())
		}
	}
	return outcomes, nil
}

// AgainInput says what the workflow Again is to do.
type AgainInput struct {
	ActivityID string `json:"activity_id"`
	// Times that it is started, one after the other.
	Times int `json:"times"`
	// ContinueAsNew has each be the only one of a run.
	ContinueAsNew bool `json:"continue_as_new,omitempty"`
	// Numbered activities, called WaitTurn, are told how many there were before.
	Numbered bool `json:"numbered,omitempty"`
	// Cancel asks each to cancel when it has begun.
	Cancel  bool            `json:"cancel,omitempty"`
	Options ActivityOptions `json:"options"`
	// Outcomes of those before.
	Outcomes []Outcome `json:"outcomes,omitempty"`
}

// Again starts an activity that waits, with the same id, again and again, and returns what becomes of each.
func Again(ctx workflow.Context, in AgainInput) ([]Outcome, error) {
	for in.Times > 0 {
		in.Times--
		activityCtx, cancel := workflow.WithCancel(workflow.WithTaskQueue(
			workflow.WithActivityOptions(ctx, in.Options.inWorkflow(in.ActivityID)), workflow.GetInfo(ctx).TaskQueueName))
		var future workflow.Future
		if in.Numbered {
			future = workflow.ExecuteActivity(activityCtx, "WaitTurn", len(in.Outcomes))
		} else {
			future = workflow.ExecuteActivity(activityCtx, "Wait")
		}
		if in.Cancel {
			if err := workflow.Sleep(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
			cancel()
		}
		outcome := Outcome{ActivityID: in.ActivityID}
		var raw converter.RawValue
		if err := future.Get(ctx, &raw); err != nil {
			outcome.Failure = NewFailure(err)
		} else {
			outcome.Result = NewValue(raw.Payload())
		}
		cancel()
		in.Outcomes = append(in.Outcomes, outcome)
		if in.ContinueAsNew && in.Times > 0 {
			return nil, workflow.NewContinueAsNewError(ctx, Again, in)
		}
	}
	return in.Outcomes, nil
}

// Leave starts an activity and ends without it, as the signal "end" says: complete, fail or continue (as new).
func Leave(ctx workflow.Context, in PendingInput) error {
	options := workflow.WithTaskQueue(workflow.WithActivityOptions(ctx, in.Options.inWorkflow(in.ActivityIDs[0])),
		workflow.GetInfo(ctx).TaskQueueName)
	workflow.ExecuteActivity(options, "Wait")
	var how string
	workflow.NewSelector(ctx).
		AddReceive(workflow.GetSignalChannel(ctx, "end"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &how) }).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {}).
		Select(ctx)
	switch how {
	case "complete":
		return nil
	case "fail":
		return temporal.NewApplicationError("as asked for", "AsAskedFor")
	case "continue":
		return workflow.NewContinueAsNewError(ctx, Leave, in)
	}
	return ctx.Err()
}

// Later starts its activity when the signal "go" says "start", and returns what becomes of it; "end" ends it without.
func Later(ctx workflow.Context, in PendingInput) ([]Outcome, error) {
	var how string
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, &how)
	if how == "end" {
		return nil, nil
	}
	return Pending(ctx, in)
}

// OrderApproval has an order approved and returns the approval, or the reason why there is none.
func OrderApproval(ctx workflow.Context, order int64) (json.RawMessage, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 24 * time.Hour})
	var approval json.RawMessage
	err := workflow.ExecuteActivity(ctx, "RequestApproval", order).Get(ctx, &approval)
	return approval, err
}

// Activities are the activities that wait.
type Activities struct {
	Store *tokens.Store
}

// Wait hands its token to the table pending_activity.
func (a *Activities) Wait(ctx context.Context) error {
	info := activity.GetInfo(ctx)
	p := tokens.Pending{
		WorkflowID: info.WorkflowExecution.ID,
		RunID:      info.WorkflowExecution.RunID,
		ActivityID: info.ActivityID,
		Attempt:    info.Attempt,
		TaskToken:  info.TaskToken,
	}
	if p.WorkflowID == "" {
		p.RunID = info.ActivityRunID
	}
	if activity.HasHeartbeatDetails(ctx) {
		var d json.RawMessage
		if err := activity.GetHeartbeatDetails(ctx, &d); err != nil {
			return err
		}
		s := string(d)
		p.HeartbeatDetails = &s
	}
	if err := a.Store.HandOut(ctx, p); err != nil {
		return err
	}
	return activity.ErrResultPending
}

// RequestApproval hands its token to the row of the order: whoever approves the order completes the activity.
func (a *Activities) RequestApproval(ctx context.Context, order int64) (json.RawMessage, error) {
	tag, err := a.Store.Pool().Exec(ctx, "UPDATE orders SET task_token = $1 WHERE id = $2",
		activity.GetInfo(ctx).TaskToken, order)
	if err != nil {
		return nil, err
	}
	if tag.RowsAffected() == 0 {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("there is no order %d", order), "NoSuchOrder", nil)
	}
	return nil, activity.ErrResultPending
}

// NewWorker makes a worker for all of this package; it is the caller who starts it.
func NewWorker(c client.Client, store *tokens.Store) worker.Worker {
	w := worker.New(c, TaskQueue, worker.Options{
		MaxConcurrentActivityExecutionSize:     4000,
		MaxConcurrentWorkflowTaskExecutionSize: 500,
		MaxConcurrentActivityTaskPollers:       8,
		MaxConcurrentWorkflowTaskPollers:       8,
		WorkerStopTimeout:                      2 * time.Second,
	})
	w.RegisterWorkflow(Pending)
	w.RegisterWorkflow(Again)
	w.RegisterWorkflow(Leave)
	w.RegisterWorkflow(Later)
	w.RegisterWorkflow(OrderApproval)
	w.RegisterActivity(&Activities{Store: store})
	return w
}
