package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// OrderApproval is the workflow: it has an order approved and returns the order as it was approved. It may wait for
// days; nothing runs and nothing polls meanwhile.
func OrderApproval(ctx workflow.Context, order int64) (json.RawMessage, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * 24 * time.Hour,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	var approved json.RawMessage
	err := workflow.ExecuteActivity(ctx, "RequestApproval", order).Get(ctx, &approved)
	return approved, err
}

// Activities are activities with a database.
type Activities struct{ db *pgxpool.Pool }

// RequestApproval records its task token under the order's id and returns: it is the database that completes it, when
// somebody approves the order, or has done so already.
func (a *Activities) RequestApproval(ctx context.Context, order int64) error {
	_, err := a.db.Exec(ctx, "SELECT temporal.record_activity($1::bigint::text, $2)", order, activity.GetInfo(ctx).TaskToken)
	if err != nil {
		return err
	}
	return activity.ErrResultPending
}
