// Command river-relay is the outbox relay that a team would build with River: a job for each completion, and a
// worker that calls CompleteActivity of Temporal's Go SDK. It is here to be measured beside the extension.
//
//	river-relay migrate	create River's tables, then end
//	river-relay work	connect, print "ready"; "start" on stdin begins, "stop" ends and prints a report
//
// The database is that of the libpq environment variables.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"go.temporal.io/sdk/client"
)

// completion is the job's arguments, as SQL inserts them.
type completion struct {
	TaskToken []byte          `json:"task_token"`
	Result    json.RawMessage `json:"result"`
	// RequestedAt is when the row was inserted, in microseconds since 1970.
	RequestedAt int64 `json:"requested_at"`
}

func (completion) Kind() string { return "complete_activity" }

// completer calls Temporal. It notes how long after the insert it did so.
type completer struct {
	river.WorkerDefaults[completion]
	temporal client.Client

	mu       sync.Mutex
	latency  []int64
	failures int
	example  string
}

func (c *completer) Work(ctx context.Context, job *river.Job[completion]) error {
	called := time.Now().UnixMicro()
	err := c.temporal.CompleteActivity(ctx, job.Args.TaskToken, job.Args.Result, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency = append(c.latency, called-job.Args.RequestedAt)
	if err != nil {
		c.failures++
		c.example = err.Error()
	}
	return err
}

// report is printed at the end. Latencies are in microseconds, in the order of the calls.
type report struct {
	Completed int     `json:"completed"`
	Failures  int     `json:"failures"`
	Example   string  `json:"example,omitempty"`
	Latency   []int64 `json:"latency"`
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "river-relay:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("say migrate or work")
	}
	pool, err := pgxpool.New(ctx, "")
	if err != nil {
		return err
	}
	defer pool.Close()
	switch arguments[0] {
	case "migrate":
		return migrate(ctx, pool)
	case "work":
		return work(ctx, pool, arguments[1:])
	}
	return fmt.Errorf("unknown command %q", arguments[0])
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func work(ctx context.Context, pool *pgxpool.Pool, arguments []string) error {
	flags := flag.NewFlagSet("work", flag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:7233", "`host:port` of the frontend")
	workers := flags.Int("workers", 100, "completions at once")
	cooldown := flags.Duration("cooldown", 10*time.Millisecond, "time between fetches of jobs at the least")
	if err := flags.Parse(arguments); err != nil {
		return err
	}

	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	temporal, err := client.Dial(client.Options{HostPort: *address, Identity: "river-relay", Logger: quiet})
	if err != nil {
		return err
	}
	defer temporal.Close()

	c := &completer{temporal: temporal}
	registry := river.NewWorkers()
	river.AddWorker(registry, c)
	relay, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:        quiet,
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: *workers}},
		FetchCooldown: *cooldown,
		Workers:       registry,
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return obey(ctx, relay, c)
}

// obey follows the words on stdin; their end stops too.
func obey(ctx context.Context, relay *river.Client[pgx.Tx], c *completer) error {
	words := bufio.NewScanner(os.Stdin)
	for words.Scan() {
		switch words.Text() {
		case "start":
			if err := relay.Start(ctx); err != nil {
				return err
			}
		case "stop":
			if err := relay.Stop(ctx); err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			return json.NewEncoder(os.Stdout).Encode(report{
				Completed: len(c.latency) - c.failures,
				Failures:  c.failures,
				Example:   c.example,
				Latency:   slices.Clip(c.latency),
			})
		}
	}
	return words.Err()
}
