// Package e2e sends requests from a real PostgreSQL by the extension to a real Temporal, and looks at what
// workflows of the real SDK get to see.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/pgtest"
	"temporal_complete/test/temporal/internal/temporaltest"
	"temporal_complete/test/temporal/internal/tokens"
)

// database that the tests share; each makes its own foreign servers and activities.
const database = "e2e"

// What all tests share.
var (
	program  string
	cluster  *pgtest.Cluster
	db       *pgxpool.Pool
	store    *tokens.Store
	temporal *temporaltest.Server
	sdk      client.Client
)

// patience is how long a test waits for what should happen at once.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	code, err := setUpAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setUpAndRun(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()

	cluster, err = pgtest.New(ctx, map[string]string{"shared_preload_libraries": "temporal_complete"})
	if err != nil {
		return 1, err
	}
	defer func() {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "PostgreSQL's log:\n%s", cluster.Log())
		}
		if e := cluster.Remove(); err == nil {
			err = e
		}
	}()
	if program, err = temporaltest.Program(cluster.Dir); err != nil {
		return 1, err
	}
	if temporal, err = temporaltest.New(program); err != nil {
		return 1, err
	}
	defer temporal.Kill() //nolint:errcheck // it dies with the test anyway

	if err := createDatabase(ctx); err != nil {
		return 1, err
	}
	if db, err = pgxpool.New(ctx, cluster.DSN(database)); err != nil {
		return 1, err
	}
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE EXTENSION temporal_complete"); err != nil {
		return 1, err
	}
	_, err = db.Exec(ctx, "CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS ("+temporal.ForeignServer()+")")
	if err != nil {
		return 1, err
	}
	if store, err = tokens.Open(ctx, cluster.DSN(database)); err != nil {
		return 1, err
	}
	defer store.Close()
	stop, err := runWorker(ctx, connect.Options{Address: temporal.Address, Namespace: "default"}, &sdk)
	if err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

func createDatabase(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, cluster.DSN("postgres"))
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.Exec(ctx, "CREATE DATABASE "+database)
	return err
}

// runWorker connects to a Temporal server and serves its task queue until stop is called.
func runWorker(ctx context.Context, o connect.Options, c *client.Client) (stop func(), err error) {
	if *c, err = connect.Dial(ctx, o); err != nil {
		return nil, err
	}
	w := flows.NewWorker(*c, store)
	if err := w.Start(); err != nil {
		(*c).Close()
		return nil, err
	}
	return func() {
		w.Stop()
		(*c).Close()
	}, nil
}
