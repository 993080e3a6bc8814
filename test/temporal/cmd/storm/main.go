// Command storm lets everything fail at once and accounts for every request; see package storm.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"temporal_complete/test/temporal/internal/storm"
	"temporal_complete/test/temporal/internal/temporaltest"
)

func main() {
	o := storm.Options{Out: os.Stdout}
	flag.Uint64Var(&o.Seed, "seed", 0, "seed of what is left to chance; 0 takes a new one")
	flag.Int64Var(&o.Requests, "requests", 50000, "requests to the real Temporal")
	flag.Int64Var(&o.StubRequests, "stub-requests", 1000000, "requests to the stub")
	flag.DurationVar(&o.Time, "time", time.Hour, "make no more requests after this time")
	flag.DurationVar(&o.Drain, "drain", 10*time.Minute, "how long the requests that are left may take")
	flag.DurationVar(&o.Pause, "pause", 5*time.Second, "longest time between two disturbances of PostgreSQL")
	flag.Parse()
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1 << 32)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o storm.Options) error {
	dir, err := os.MkdirTemp("", "storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.Program, err = temporaltest.Program(dir); err != nil {
		return err
	}
	return storm.Run(ctx, o)
}
