package main

import (
	"context"
	"flag"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"temporal_complete/test/temporal/internal/tokens"
)

// completions is what complete-directly prints.
type completions struct {
	Completed int     `json:"completed"`
	Failed    int     `json:"failed"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	// FirstError is an example of what went wrong.
	FirstError string `json:"first_error,omitempty"`
}

func completeDirectlyCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	dsn := pgFlag(flags)
	prefix := flags.String("prefix", "", "`text` that the ids of the workflows, or standalone activities, begin with")
	callers := flags.Int("concurrency", 16, "how many complete at once")
	limit := flags.Int("limit", 0, "complete only so many; 0 is all")

	return func(ctx context.Context, _ []string) error {
		pool, err := pgxpool.New(ctx, *dsn)
		if err != nil {
			return err
		}
		defer pool.Close()
		pending, err := tokens.Read(ctx, pool, *prefix)
		if err != nil {
			return err
		}
		if *limit > 0 && *limit < len(pending) {
			pending = pending[:*limit]
		}
		return withClient(ctx, connection, func(c client.Client) error {
			var failed atomic.Int64
			var first atomic.Pointer[string]
			begin := time.Now()
			var group errgroup.Group
			group.SetLimit(*callers)
			for _, p := range pending {
				group.Go(func() error {
					if err := c.CompleteActivity(ctx, p.TaskToken, map[string]bool{"ok": true}, nil); err != nil {
						failed.Add(1)
						text := err.Error()
						first.CompareAndSwap(nil, &text)
					}
					return nil
				})
			}
			_ = group.Wait()
			result := completions{
				Completed: len(pending) - int(failed.Load()),
				Failed:    int(failed.Load()),
				Seconds:   time.Since(begin).Seconds(),
			}
			result.PerSecond = float64(result.Completed) / result.Seconds
			if text := first.Load(); text != nil {
				result.FirstError = *text
			}
			return printJSON(result)
		})
	}
}
