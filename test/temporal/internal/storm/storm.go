// Package storm lets everything fail at once, while writers make requests of all kinds, and then accounts for each.
//
// The truth about what was committed is a ledger: a table to which a row is added in the transaction that makes a
// request, with a number that is used once, the nonce, which is also the request's payload. The truth about what
// took effect is in Temporal's histories, and in the memory of a stub that takes many more requests than Temporal.
package storm

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a storm.
type Options struct {
	// Seed of all that is left to chance; which thread comes first is not.
	Seed uint64
	// Requests to the real server, and to the stub.
	Requests     int64
	StubRequests int64
	// Time after which no more requests are made and the chaos ends.
	Time time.Duration
	// Drain is how long the requests that are left may take, once all is calm.
	Drain time.Duration
	// Pause is the longest time between two disturbances of PostgreSQL, 3 seconds by default.
	Pause time.Duration
	// Program is temporal-test.
	Program string
	// Out is told how it goes.
	Out io.Writer
}

// tally counts by name.
type tally struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (t *tally) add(name string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	t.counts[name] += n
}

func (t *tally) print(out io.Writer, title string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(out, "%s\n", title)
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(out, "  %8d  %s\n", t.counts[name], name)
	}
}

// storm is one run.
type storm struct {
	Options
	*world
	faults tally
	ends   tally // of transactions

	stubMade atomic.Int64
	realMade atomic.Int64

	// Held for reading by transactions that may be lost at a failover: those with synchronous_commit = off.
	lazy sync.RWMutex

	mu      sync.Mutex
	asked   map[int64]*asked
	batches []batch
	nonce   atomic.Int64

	ready      chan *item
	recordings chan recording
}

// Run runs a storm. The error says what was wrong, if anything was.
func Run(ctx context.Context, o Options) error {
	if o.Pause == 0 {
		o.Pause = 3 * time.Second
	}
	began := time.Now()
	fmt.Fprintf(o.Out, "storm: seed %d, %d requests to Temporal, %d to the stub, chaos for at most %s\n",
		o.Seed, o.Requests, o.StubRequests, o.Time)
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	s := &storm{Options: o, world: w, asked: map[int64]*asked{}, ready: make(chan *item, 1<<20),
		recordings: make(chan recording, 1<<20)}
	fmt.Fprintf(o.Out, "%4.0f s: all is set up\n", time.Since(began).Seconds())
	err = s.run(ctx, began)
	if err != nil {
		return fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	return nil
}

func (s *storm) run(ctx context.Context, began time.Time) error {
	rage, calm := context.WithTimeout(ctx, s.Time)
	defer calm()
	var chaos, writers, recording sync.WaitGroup
	failed := make(chan error, 2)
	random := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.Seed, stream)) } //nolint:gosec // no secret

	supplies, err := s.supply(rage, random(1000))
	if err != nil {
		return err
	}
	defer supplies.stop()
	chaos.Go(func() { failed <- s.disturbPostgreSQL(ctx, rage, random(1)) })
	chaos.Go(func() { failed <- s.disturbNetwork(ctx, rage, random(2)) })
	for i := range realWriters {
		writers.Go(func() { s.writeReal(ctx, rage, random(uint64(100+i))) })
	}
	for i := range stubWriters {
		writers.Go(func() { s.writeStub(ctx, rage, random(uint64(200+i))) })
	}
	for i := range recorders {
		recording.Go(func() { s.record(ctx, random(uint64(300+i))) })
	}
	report := time.NewTicker(10 * time.Second)
	defer report.Stop()
	for rage.Err() == nil && (s.realMade.Load() < s.Requests || s.stubMade.Load() < s.StubRequests) {
		select {
		case <-rage.Done():
		case <-time.After(100 * time.Millisecond):
		case <-report.C:
			fmt.Fprintf(s.Out, "%4.0f s: %d requests to Temporal, %d to the stub; %d activities wait for theirs\n",
				time.Since(began).Seconds(), s.realMade.Load(), s.stubMade.Load(), len(s.ready))
		}
	}
	calm()
	chaos.Wait()
	for range 2 {
		if err := <-failed; err != nil {
			return err
		}
	}
	if err := s.calmDown(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%4.0f s: all is calm; %d requests to Temporal, %d to the stub\n", time.Since(began).Seconds(),
		s.realMade.Load(), s.stubMade.Load())
	writers.Wait()
	close(s.recordings)
	recording.Wait()
	if err := s.resolvePrepared(ctx, true); err != nil {
		return err
	}
	if err := s.drain(ctx, began); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%4.0f s: the outboxes are empty\n", time.Since(began).Seconds())
	err = s.account(ctx)
	fmt.Fprintf(s.Out, "%4.0f s: done\n", time.Since(began).Seconds())
	return err
}
