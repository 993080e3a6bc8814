// Package tokens hands out the task tokens of waiting activities by a table of PostgreSQL.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Table is where the tokens are found.
const Table = "pending_activity"

// An attempt of a standalone activity has no workflow_id, and its own run_id.
const createTable = `
CREATE TABLE IF NOT EXISTS pending_activity (
    workflow_id       text,
    run_id            text NOT NULL,
    activity_id       text NOT NULL,
    attempt           integer NOT NULL,
    task_token        bytea NOT NULL,
    heartbeat_details jsonb,
    handed_out_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS pending_activity_attempt
    ON pending_activity (coalesce(workflow_id, ''), run_id, activity_id, attempt);`

// A batch whose COMMIT was not answered is written again, hence ON CONFLICT.
const insert = `
INSERT INTO pending_activity (workflow_id, run_id, activity_id, attempt, task_token, heartbeat_details)
SELECT nullif(w, ''), r, a, n, t, h::jsonb
  FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bytea[], $6::text[]) AS u(w, r, a, n, t, h)
    ON CONFLICT DO NOTHING`

// Pending is an attempt of an activity that waits for its completion.
type Pending struct {
	// WorkflowID is empty for a standalone activity.
	WorkflowID string
	RunID      string
	ActivityID string
	Attempt    int32
	TaskToken  []byte
	// HeartbeatDetails of the previous attempt, as JSON; nil if there were none.
	HeartbeatDetails *string
}

type handOut struct {
	Pending
	done chan error
}

// Store writes the tokens of many activities at once. It is for one database.
type Store struct {
	pool  *pgxpool.Pool
	queue chan handOut
	stop  context.CancelFunc
	ended chan struct{}
}

// Open creates the table if it is not there and starts writing.
func Open(ctx context.Context, dsn string) (*Store, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, createTable); err != nil && !isCode(err, "23505") {
		// Two that create a table at the same time may collide in pg_type, harmlessly.
		pool.Close()
		return nil, fmt.Errorf("create table %s: %w", Table, err)
	}
	background, stop := context.WithCancel(context.Background())
	s := &Store{pool: pool, queue: make(chan handOut, 4096), stop: stop, ended: make(chan struct{})}
	go s.write(background)
	return s, nil
}

// Close ends the writing; what has not been written is not.
func (s *Store) Close() {
	s.stop()
	<-s.ended
	s.pool.Close()
}

// Pool returns the connections, for statements of other kinds.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// HandOut returns when the row is committed. It tries again for as long as the database is away.
func (s *Store) HandOut(ctx context.Context, p Pending) error {
	h := handOut{Pending: p, done: make(chan error, 1)}
	select {
	case s.queue <- h:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return errors.New("the store is closed")
	}
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return errors.New("the store is closed")
	}
}

func (s *Store) write(ctx context.Context) {
	defer close(s.ended)
	for {
		var batch []handOut
		select {
		case first := <-s.queue:
			batch = append(batch, first)
		case <-ctx.Done():
			return
		}
		for len(batch) < 1000 && len(s.queue) > 0 {
			batch = append(batch, <-s.queue)
		}
		err := s.writeBatch(ctx, batch)
		for _, h := range batch {
			h.done <- err
		}
	}
}

func (s *Store) writeBatch(ctx context.Context, batch []handOut) error {
	n := len(batch)
	workflows, runs, activities := make([]string, n), make([]string, n), make([]string, n)
	attempts, taskTokens, details := make([]int32, n), make([][]byte, n), make([]*string, n)
	for i, h := range batch {
		workflows[i], runs[i], activities[i] = h.WorkflowID, h.RunID, h.ActivityID
		attempts[i], taskTokens[i], details[i] = h.Attempt, h.TaskToken, h.HeartbeatDetails
	}
	for {
		_, err := s.pool.Exec(ctx, insert, workflows, runs, activities, attempts, taskTokens, details)
		if err == nil || !away(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// away tells a database that is down or going down from a statement that will never work.
func away(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return true
	}
	class := pgErr.Code[:2]
	return class == "57" || class == "08"
}

func isCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}

// Read returns the newest attempts of the activities whose workflow id, or activity id for standalone ones,
// begins with prefix.
func Read(ctx context.Context, pool *pgxpool.Pool, prefix string) ([]Pending, error) {
	rows, err := pool.Query(ctx, `
SELECT DISTINCT ON (workflow_id, run_id, activity_id)
       coalesce(workflow_id, ''), run_id, activity_id, attempt, task_token
  FROM pending_activity
 WHERE starts_with(coalesce(workflow_id, activity_id), $1)
 ORDER BY workflow_id, run_id, activity_id, attempt DESC`, prefix)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Pending, error) {
		var p Pending
		err := row.Scan(&p.WorkflowID, &p.RunID, &p.ActivityID, &p.Attempt, &p.TaskToken)
		return p, err
	})
}
