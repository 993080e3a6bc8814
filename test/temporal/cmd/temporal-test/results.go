package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/inspect"
)

// workflowResult is printed for each workflow that has ended.
type workflowResult struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	// Result of a workflow that completed, Failure of another.
	Result    json.RawMessage `json:"result,omitempty"`
	Failure   *flows.Failure  `json:"failure,omitempty"`
	CloseTime time.Time       `json:"close_time"`
}

// activityResult is printed for each standalone activity that has ended.
type activityResult struct {
	flows.Outcome
	RunID      string `json:"run_id"`
	Identity   string `json:"identity"`
	Attempt    int32  `json:"attempt"`
	StatusName string `json:"status"`
}

// unfinished turns a timeout into words that say what was waited for.
func unfinished(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("not finished in time")
	}
	return err
}

func awaitResultsCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)
	timeout := flags.Duration("timeout", 2*time.Minute, "give up after this time")

	return func(ctx context.Context, arguments []string) error {
		ids, err := workflowIDs(arguments, *prefix, *count)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		return withClient(ctx, connection, func(c client.Client) error {
			return forEach(ctx, ids, func(ctx context.Context, id string) (any, error) {
				run := c.GetWorkflow(ctx, id, "")
				r := workflowResult{WorkflowID: id}
				if err := run.Get(ctx, &r.Result); err != nil {
					if ctx.Err() != nil {
						return nil, unfinished(ctx.Err())
					}
					r.Failure = flows.NewFailure(err)
				}
				r.RunID = run.GetRunID()
				r.CloseTime, err = inspect.CloseTime(ctx, c, id, r.RunID)
				return r, err
			})
		})
	}
}

func awaitActivitiesCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)
	timeout := flags.Duration("timeout", 2*time.Minute, "give up after this time")

	return func(ctx context.Context, arguments []string) error {
		ids, err := workflowIDs(arguments, *prefix, *count)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		return withClient(ctx, connection, func(c client.Client) error {
			return forEach(ctx, ids, func(ctx context.Context, id string) (any, error) {
				handle := c.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: id})
				r := activityResult{Outcome: flows.Outcome{ActivityID: id}}
				var raw converter.RawValue
				if err := handle.Get(ctx, &raw); err != nil {
					if ctx.Err() != nil {
						return nil, unfinished(ctx.Err())
					}
					r.Failure = flows.NewFailure(err)
				} else {
					r.Result = flows.NewValue(raw.Payload())
				}
				d, err := handle.Describe(ctx, client.DescribeActivityOptions{})
				if err != nil {
					return nil, err
				}
				r.RunID, r.Identity, r.Attempt = d.ActivityRunID, d.LastWorkerIdentity, d.Attempt
				r.StatusName = d.Status.String()
				return r, nil
			})
		})
	}
}

func historyCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)
	runID := flags.String("run-id", "", "run of the workflow; the current one without")

	return func(ctx context.Context, arguments []string) error {
		ids, err := workflowIDs(arguments, *prefix, *count)
		if err != nil {
			return err
		}
		return withClient(ctx, connection, func(c client.Client) error {
			return forEach(ctx, ids, func(ctx context.Context, id string) (any, error) {
				closed, err := inspect.ClosedActivities(ctx, c, id, *runID)
				return map[string]any{"workflow_id": id, "closed_activities": closed}, err
			})
		})
	}
}

func describeCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)

	return func(ctx context.Context, arguments []string) error {
		if len(arguments) != 1 {
			return errors.New("name one workflow")
		}
		return withClient(ctx, connection, func(c client.Client) error {
			d, err := c.DescribeWorkflowExecution(ctx, arguments[0], "")
			if err != nil {
				return err
			}
			text, err := inspect.JSON(d)
			if err != nil {
				return err
			}
			return printJSON(text)
		})
	}
}

func cancelCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	standalone := flags.Bool("standalone", false, "the ids are those of standalone activities")

	return func(ctx context.Context, arguments []string) error {
		if len(arguments) == 0 {
			return errors.New("name what is to be cancelled")
		}
		return withClient(ctx, connection, func(c client.Client) error {
			for _, id := range arguments {
				var err error
				if *standalone {
					handle := c.GetActivityHandle(client.GetActivityHandleOptions{ActivityID: id})
					err = handle.Cancel(ctx, client.CancelActivityOptions{Reason: "asked by a test"})
				} else {
					err = c.CancelWorkflow(ctx, id, "")
				}
				if err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
			}
			return nil
		})
	}
}

func countPendingCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)

	return func(ctx context.Context, arguments []string) error {
		ids, err := workflowIDs(arguments, *prefix, *count)
		if err != nil {
			return err
		}
		return withClient(ctx, connection, func(c client.Client) error {
			running, pending := 0, 0
			for _, id := range ids {
				d, err := c.DescribeWorkflowExecution(ctx, id, "")
				if err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
				if d.GetWorkflowExecutionInfo().GetCloseTime() == nil {
					running++
					pending += len(d.GetPendingActivities())
				}
			}
			return printJSON(map[string]int{"running_workflows": running, "pending_activities": pending})
		})
	}
}
