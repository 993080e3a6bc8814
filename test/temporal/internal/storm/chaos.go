package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"temporal_complete/test/temporal/internal/fault"
)

// pause waits; false when the rage is over.
func pause(rage context.Context, random *rand.Rand, atLeast, atMost time.Duration) bool {
	select {
	case <-rage.Done():
		return false
	case <-time.After(atLeast + time.Duration(random.Int64N(int64(atMost-atLeast)))):
		return true
	}
}

// disturbPostgreSQL kills its parts, and all of it. Only what cannot be survived is an error.
func (s *storm) disturbPostgreSQL(ctx, rage context.Context, random *rand.Rand) error {
	// Each once before any comes again
	var left []int
	for pause(rage, random, s.Pause/6, s.Pause) {
		_ = s.resolvePrepared(ctx, false)
		if len(left) == 0 {
			left = random.Perm(11)
		}
		what := left[0]
		left = left[1:]
		var err error
		switch what {
		case 0, 1:
			s.kill(ctx, random, "temporal_complete worker", syscall.SIGKILL)
		case 2:
			s.kill(ctx, random, "temporal_complete launcher", syscall.SIGKILL)
		case 3, 4:
			s.kill(ctx, random, "client backend", syscall.SIGKILL)
		case 5:
			s.kill(ctx, random, "temporal_complete worker", syscall.SIGTERM)
		case 6:
			s.kill(ctx, random, "walsender", syscall.SIGTERM)
		case 7:
			s.faults.add("PostgreSQL: kill -9 of the postmaster", 1)
			_ = s.primary.Load().Kill()
			err = s.restart(ctx)
		case 8:
			s.faults.add("PostgreSQL: immediate shutdown", 1)
			_ = s.primary.Load().Stop(syscall.SIGQUIT)
			err = s.restart(ctx)
		case 9:
			s.faults.add("PostgreSQL: fast shutdown", 1)
			_ = s.primary.Load().Stop(syscall.SIGINT)
			err = s.restart(ctx)
		case 10:
			err = s.failOver(ctx)
		}
		if err != nil {
			return fmt.Errorf("PostgreSQL did not come back: %w", err)
		}
	}
	return nil
}

// restart starts the primary; the processes of the old one may hold its memory for a moment.
func (s *storm) restart(ctx context.Context) error {
	return s.await(ctx, 2*time.Minute, "restart", func() error { return s.primary.Load().Start(ctx) })
}

// kill sends a signal to a process of the primary.
func (s *storm) kill(ctx context.Context, random *rand.Rand, kind string, signal syscall.Signal) {
	err := s.with(ctx, "postgres", func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, `SELECT pid FROM pg_stat_activity
			WHERE backend_type = $1 AND pid <> pg_backend_pid() AND pid > 1`, kind)
		if err != nil {
			return err
		}
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return errors.New("there is none")
		}
		return syscall.Kill(pids[random.IntN(len(pids))], signal)
	})
	if err == nil {
		name := map[syscall.Signal]string{syscall.SIGKILL: "kill -9", syscall.SIGTERM: "SIGTERM"}[signal]
		s.faults.add(fmt.Sprintf("PostgreSQL: %s of a %s", name, kind), 1)
	}
}

// failOver ends the primary and promotes its standby. Nothing may be lost that was acknowledged: transactions with
// synchronous_commit = off do not wait for the standby, so there are none for a moment before.
func (s *storm) failOver(ctx context.Context) error {
	s.lazy.Lock()
	defer s.lazy.Unlock()
	err := s.await(ctx, 2*time.Minute, "the standby", func() error {
		n, err := s.number(ctx, "postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
		if err == nil && n == 0 {
			err = errors.New("it is not synchronous")
		}
		return err
	})
	if err == nil {
		// A commit that has arrived there brought all before it.
		err = s.exec(ctx, "postgres", "SELECT pg_logical_emit_message(true, 'storm', 'here')")
	}
	if err != nil {
		return err
	}
	old := s.primary.Load()
	s.faults.add("PostgreSQL: failover", 1)
	_ = old.Stop(syscall.SIGQUIT)
	s.promoted = time.Now()
	if err := s.standby.Promote(ctx); err != nil {
		return err
	}
	s.primary.Store(s.standby)
	s.standby = nil
	if err := s.exec(ctx, "postgres", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	if err := old.Remove(); err != nil {
		return err
	}
	return s.addStandby(ctx)
}

// lostPolls is how many answers to polls may be lost when Temporal dies.
const lostPolls = 32

// disturbNetwork disturbs Temporal, the stub, and the ways to them.
func (s *storm) disturbNetwork(ctx, rage context.Context, random *rand.Rand) error {
	var left []int
	for pause(rage, random, s.Pause/10, s.Pause*2/3) {
		if len(left) == 0 {
			left = random.Perm(16)
		}
		what := left[0]
		left = left[1:]
		seconds := func(n int) time.Duration { return time.Second + time.Duration(random.IntN(1000*n))*time.Millisecond }
		switch what {
		case 0:
			s.faults.add("Temporal: kill -9", 1)
			s.countFaults()
			_ = s.temporal.Kill()
			s.supplies.sent.Add(-lostPolls)
			pause(rage, random, 100*time.Millisecond, 2*time.Second)
			if err := s.await(ctx, 2*time.Minute, "Temporal did not come back", s.temporal.Start); err != nil {
				return err
			}
		case 1:
			s.faults.add("Temporal: suspended", 1)
			_ = s.temporal.Suspend()
			pause(rage, random, time.Second, 5*time.Second)
			_ = s.temporal.Resume()
		case 2, 3, 4, 5, 6:
			s.addFaults(random)
			pause(rage, random, time.Second, 4*time.Second)
			s.countFaults()
		case 7, 8:
			s.realProxy.cut(what == 7)
			s.httpProxy.cut(what == 7)
			s.faults.add("network to Temporal: "+map[int]string{7: "RST", 8: "FIN"}[what], 1)
		case 9:
			s.faults.add("network to Temporal: "+s.realProxy.stall(random, seconds(5)), 1)
		case 10:
			s.faults.add("network to Temporal's HTTP API: "+s.httpProxy.stall(random, seconds(5)), 1)
		case 11:
			s.faults.add("stub: restarted", 1)
			if err := s.stub.restart(); err != nil {
				return err
			}
		case 12:
			s.faults.add("network to the stub: "+s.stubProxy.stall(random, seconds(3)), 1)
			s.stubProxy.cut(random.IntN(2) == 0)
			s.faults.add("network to the stub: cut", 1)
		case 13:
			s.stub.errors.Store(int64(random.IntN(200)))
			s.stub.hangs.Store(int64(random.IntN(5)))
			pause(rage, random, time.Second, 3*time.Second)
			s.stub.errors.Store(2)
			s.stub.hangs.Store(0)
		case 14, 15:
			// some, or all
			s.codec.errors.Store(map[int]int64{14: 200, 15: 1000}[what])
			pause(rage, random, time.Second, 4*time.Second)
			s.codec.errors.Store(2)
		}
	}
	return nil
}

// addFaults lets the frontend answer wrongly, before or after it did what it was asked to.
func (s *storm) addFaults(random *rand.Rand) {
	codes := []string{"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"}
	modes := []fault.Mode{fault.FailAfter, fault.FailBefore, fault.Drop, fault.Hang, fault.Delay}
	for range 1 + random.IntN(4) {
		r := fault.Rule{Identity: "postgresql:*", Mode: modes[random.IntN(len(modes))],
			Error: codes[random.IntN(len(codes))], Probability: 0.05 + random.Float64()*0.4, DelayMS: int64(random.IntN(100))}
		if r.Mode == fault.FailAfter && r.Error == "RESOURCE_EXHAUSTED" {
			// Temporal says so before it does anything, and the extension relies on it.
			r.Error = "UNAVAILABLE"
		}
		if r.Mode == fault.Delay {
			r.DelayMS = 1 + int64(random.IntN(4000))
		}
		_ = s.temporal.AddFault(r)
	}
	for _, method := range []string{"GetWorkflowExecutionHistoryReverse", "DescribeWorkflowExecution", "DescribeActivityExecution"} {
		if random.IntN(2) == 0 {
			_ = s.temporal.AddFault(fault.Rule{Method: method, Mode: fault.FailBefore, Error: codes[random.IntN(len(codes))],
				Probability: 0.05 + random.Float64()*0.4})
		}
	}
}

// countFaults switches them off and counts how often they were applied.
func (s *storm) countFaults() {
	rules, err := s.temporal.Faults()
	if err != nil {
		return
	}
	for _, r := range rules {
		name := fmt.Sprintf("Temporal: %s", r.Mode)
		if r.Mode == fault.FailAfter || r.Mode == fault.FailBefore {
			name += " " + r.Error
		}
		if r.Method != "" {
			name += ", reading"
		}
		s.faults.add(name, r.Applied)
	}
	_ = s.temporal.ClearFaults()
}

// calmDown ends all disturbances; what is down comes up.
func (s *storm) calmDown(ctx context.Context) error {
	s.countFaults()
	s.realProxy.calm()
	s.httpProxy.calm()
	s.stubProxy.calm()
	s.stub.errors.Store(0)
	s.stub.hangs.Store(0)
	s.codec.errors.Store(0)
	s.faults.add("network to Temporal: connections", s.realProxy.accepted.Load())
	s.faults.add("network to Temporal's HTTP API: connections", s.httpProxy.accepted.Load())
	s.faults.add("network to the stub: connections", s.stubProxy.accepted.Load())
	s.stub.mu.Lock()
	for name, n := range s.stub.counts {
		s.faults.add("stub: "+name, n)
	}
	s.stub.mu.Unlock()
	s.codec.mu.Lock()
	for name, n := range s.codec.counts {
		s.faults.add("codec server: "+name, n)
	}
	s.codec.mu.Unlock()
	return s.await(ctx, 2*time.Minute, "PostgreSQL is away", func() error {
		_, err := s.number(ctx, databases[0], "SELECT count(*) FROM ledger")
		return err
	})
}
