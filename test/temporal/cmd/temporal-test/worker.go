package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/tokens"
)

func workerCommand(flags *flag.FlagSet) func(context.Context, []string) error {
	connection := connectFlags(flags)
	connection.Identity = "temporal-test-worker"
	dsn := pgFlag(flags)
	readyFile := flags.String("ready-file", "", "`file` to write when the worker runs")

	return func(ctx context.Context, _ []string) error {
		store, err := tokens.Open(ctx, *dsn)
		if err != nil {
			return err
		}
		defer store.Close()
		return withClient(ctx, connection, func(c client.Client) error {
			w := flows.NewWorker(c, store)
			if err := w.Start(); err != nil {
				return err
			}
			defer w.Stop()
			if *readyFile != "" {
				if err := os.WriteFile(*readyFile, []byte(fmt.Sprintln(os.Getpid())), 0o644); err != nil {
					return err
				}
			}
			fmt.Println("worker runs")
			<-ctx.Done()
			return nil
		})
	}
}

func pgFlag(flags *flag.FlagSet) *string {
	return flags.String("pg", "", "`DSN` of the database with the table "+tokens.Table+"; the libpq environment variables without")
}

// workflowIDs are those of the arguments, or prefix-0 to prefix-(count-1).
func workflowIDs(arguments []string, prefix string, count int) ([]string, error) {
	if len(arguments) == 0 && prefix == "" {
		return nil, errors.New("name the ids, or give -prefix and -count")
	}
	ids := arguments
	if prefix != "" {
		for i := range count {
			ids = append(ids, idOf(prefix, i))
		}
	}
	return ids, nil
}

func idOf(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// prefixFlags declare the ids that one of the start commands made.
func prefixFlags(flags *flag.FlagSet) (prefix *string, count *int) {
	return flags.String("prefix", "", "`text` that the ids begin with"), flags.Int("count", 1, "how many ids begin so")
}
