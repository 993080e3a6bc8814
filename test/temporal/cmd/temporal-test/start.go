package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/serve"
	"temporal_complete/test/temporal/internal/tokens"
)

// optionsFlag is a JSON object with the options of activities.
type optionsFlag struct{ *flows.ActivityOptions }

func (o optionsFlag) String() string { return "" }

func (o optionsFlag) Set(s string) error {
	d := json.NewDecoder(strings.NewReader(s))
	d.DisallowUnknownFields()
	return d.Decode(o.ActivityOptions)
}

const optionsUsage = "options of the activities as `JSON`: start_to_close_ms, schedule_to_close_ms, schedule_to_start_ms, " +
	"heartbeat_ms, retry_initial_ms, retry_maximum_ms, retry_coefficient, maximum_attempts, non_retryable_types, " +
	"wait_for_cancellation"

// started is printed for each workflow or standalone activity.
type started struct {
	WorkflowID string `json:"workflow_id,omitempty"`
	ActivityID string `json:"activity_id,omitempty"`
	RunID      string `json:"run_id"`
}

// tokenWait waits until the activities have handed out their tokens.
type tokenWait struct {
	on      *bool
	timeout *time.Duration
	dsn     *string
}

func tokenWaitFlags(flags *flag.FlagSet) tokenWait {
	return tokenWait{
		on:      flags.Bool("wait", false, "wait until all tokens are in the table "+tokens.Table),
		timeout: flags.Duration("timeout", 2*time.Minute, "give up the waiting after this time"),
		dsn:     pgFlag(flags),
	}
}

func (t tokenWait) run(ctx context.Context, prefix string, activities int) error {
	if !*t.on {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, *t.timeout)
	defer cancel()
	pool, err := pgxpool.New(ctx, *t.dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	for {
		pending, err := tokens.Read(ctx, pool, prefix+"-")
		if err != nil {
			return err
		}
		if len(pending) >= activities {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d tokens were handed out", len(pending), activities)
		}
	}
}

func startWorkflowsCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)
	var input flows.PendingInput
	flags.IntVar(&input.Activities, "activities", 1, "how many activities each workflow has at once")
	flags.Var((*serve.List)(&input.ActivityIDs), "activity-id", "id of the first, second, ... activity (may be repeated; the others are numbered)")
	flags.Var(optionsFlag{&input.Options}, "options", optionsUsage)
	wait := tokenWaitFlags(flags)

	return func(ctx context.Context, _ []string) error {
		ids, err := workflowIDs(nil, *prefix, *count)
		if err != nil {
			return err
		}
		err = withClient(ctx, connection, func(c client.Client) error {
			return forEach(ctx, ids, func(ctx context.Context, id string) (any, error) {
				run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue},
					flows.Pending, input)
				if err != nil {
					return nil, err
				}
				return started{WorkflowID: id, RunID: run.GetRunID()}, nil
			})
		})
		if err != nil {
			return err
		}
		return wait.run(ctx, *prefix, len(ids)*input.Activities)
	}
}

func startActivitiesCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	prefix, count := prefixFlags(flags)
	var options flows.ActivityOptions
	flags.Var(optionsFlag{&options}, "options", optionsUsage)
	wait := tokenWaitFlags(flags)

	return func(ctx context.Context, _ []string) error {
		ids, err := workflowIDs(nil, *prefix, *count)
		if err != nil {
			return err
		}
		err = withClient(ctx, connection, func(c client.Client) error {
			return forEach(ctx, ids, func(ctx context.Context, id string) (any, error) {
				run, err := c.ExecuteActivity(ctx, options.Standalone(id), "Wait")
				if err != nil {
					return nil, err
				}
				return started{ActivityID: id, RunID: run.GetRunID()}, nil
			})
		})
		if err != nil {
			return err
		}
		return wait.run(ctx, *prefix, len(ids))
	}
}

func startOrderCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)

	return func(ctx context.Context, arguments []string) error {
		if len(arguments) != 1 {
			return fmt.Errorf("name one order")
		}
		order, err := strconv.ParseInt(arguments[0], 10, 64)
		if err != nil {
			return err
		}
		return withClient(ctx, connection, func(c client.Client) error {
			id := fmt.Sprintf("order-%d", order)
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue},
				flows.OrderApproval, order)
			if err != nil {
				return err
			}
			return printJSON(started{WorkflowID: id, RunID: run.GetRunID()})
		})
	}
}

// concurrency of the commands that ask for many workflows.
const concurrency = 32

// forEach calls ask for every id, several at a time, and prints the answers in the order of the ids.
func forEach(ctx context.Context, ids []string, ask func(context.Context, string) (any, error)) error {
	answers := make([]any, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, id := range ids {
		group.Go(func() error {
			answer, err := ask(ctx, id)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			answers[i] = answer
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, answer := range answers {
		if err := printJSON(answer); err != nil {
			return err
		}
	}
	return nil
}
