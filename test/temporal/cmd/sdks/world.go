package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/child"
	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/pgtest"
	"temporal_complete/test/temporal/internal/ports"
	"temporal_complete/test/temporal/internal/temporaltest"
)

// tables that the activities of all SDKs write to, as the role of the application.
const tables = `
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (%s);
CREATE ROLE app LOGIN;
GRANT USAGE ON FOREIGN SERVER temporal TO app;
-- where an activity hands out its ids
CREATE TABLE review (id text PRIMARY KEY, workflow_id text NOT NULL, activity_id text NOT NULL);
-- what the test has to know of each attempt: its token for the SDK's own client, and the details that it found
CREATE TABLE attempt (key text, attempt integer, task_token bytea NOT NULL, heartbeat_details jsonb, PRIMARY KEY (key, attempt));
CREATE TABLE orders (id bigint, item text, approved boolean);
INSERT INTO orders VALUES (7, 'a book', true);
GRANT SELECT, INSERT, UPDATE ON review, attempt, orders TO app;`

// world is what the SDKs share: a PostgreSQL and a Temporal.
type world struct {
	cluster  *pgtest.Cluster
	port     int
	temporal *temporaltest.Server
	client   client.Client
	db       *pgxpool.Pool // of the application's role
}

func newWorld(ctx context.Context) (*world, error) {
	free, err := ports.Keep("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	w := &world{port: free[0]}
	// by TCP, as not all drivers know sockets of Unix
	w.cluster, err = pgtest.New(ctx, map[string]string{
		"shared_preload_libraries": "temporal_complete",
		"listen_addresses":         "127.0.0.1",
		"port":                     strconv.Itoa(w.port),
	})
	if err != nil {
		return nil, err
	}
	if err := w.fill(ctx); err != nil {
		w.remove()
		return nil, err
	}
	return w, nil
}

func (w *world) fill(ctx context.Context) error {
	program, err := temporaltest.Program(w.cluster.Dir)
	if err != nil {
		return err
	}
	if w.temporal, err = temporaltest.New(program); err != nil {
		return err
	}
	if w.client, err = connect.Dial(ctx, connect.Options{Address: w.temporal.Address, Namespace: "default"}); err != nil {
		return err
	}
	owner, err := pgxpool.New(ctx, w.dsn("postgres"))
	if err != nil {
		return err
	}
	defer owner.Close()
	if _, err := owner.Exec(ctx, fmt.Sprintf(tables, w.temporal.ForeignServer())); err != nil {
		return err
	}
	w.db, err = pgxpool.New(ctx, w.dsn("app"))
	return err
}

func (w *world) dsn(role string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres", w.port, role)
}

func (w *world) remove() {
	if w.db != nil {
		w.db.Close()
	}
	if w.client != nil {
		w.client.Close()
	}
	if w.temporal != nil {
		_ = w.temporal.Kill()
	}
	if err := w.cluster.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// workerCommand says how the worker of an SDK is started.
func workerCommand(name, sources, packages string) (*exec.Cmd, error) {
	sources, err := filepath.Abs(sources)
	if err != nil {
		return nil, err
	}
	switch name {
	case "go":
		self, err := os.Executable()
		return exec.Command(self, "worker"), err
	case "python":
		return exec.Command(filepath.Join(packages, "python/bin/python"), filepath.Join(sources, "python/worker.py")), nil
	case "typescript":
		return exec.Command("node", filepath.Join(packages, "typescript/build/worker.js")), nil
	case "java":
		return exec.Command("java", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(packages, "java/classes")+":"+
			filepath.Join(packages, "java/lib/*"), "SdkWorker"), nil
	}
	return nil, fmt.Errorf("there is no SDK %q", name)
}

// command tells a worker what to do with its SDK's own client of async completion.
type command struct {
	Verb       string `json:"verb"`
	Value      string `json:"value"`
	Token      []byte `json:"token,omitempty"`
	WorkflowID string `json:"workflow_id,omitempty"`
	ActivityID string `json:"activity_id,omitempty"`
}

// answer of a worker to a command, or that it is ready.
type answer struct {
	OK      string `json:"ok"`
	Error   string `json:"error"`
	Version string `json:"version"`
}

// sdk is a worker that runs.
type sdk struct {
	*world
	name    string
	version string
	process *child.Process
	stdin   io.WriteCloser

	mu      sync.Mutex // one command at a time
	answers chan answer
}

func (w *world) start(ctx context.Context, name string, cmd *exec.Cmd) (*sdk, error) {
	s := &sdk{world: w, name: name, answers: make(chan answer, 1)}
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+w.temporal.Address, "TASK_QUEUE="+name, "PGHOST=127.0.0.1",
		"PGPORT="+strconv.Itoa(w.port), "PGUSER=app", "PGDATABASE=postgres")
	log, err := os.Create(filepath.Join(logDirectory(), "sdks-"+name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd.Stdout = in
	commands, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	cmd.Stdin, s.stdin = commands, stdin
	if s.process, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		return nil, err
	}
	go s.read(out, log)
	ready, err := s.answer(ctx, 2*time.Minute)
	if err != nil {
		return nil, fmt.Errorf("the worker of %s did not start, see %s: %w", name, log.Name(), err)
	}
	s.version = ready.Version
	return s, nil
}

// logDirectory is where the workers' logs stay.
func logDirectory() string {
	if directory := os.Getenv("LOGS"); directory != "" {
		return directory
	}
	return os.TempDir()
}

// read takes answers, which are lines of JSON; what else is written goes to the log.
func (s *sdk) read(out io.ReadCloser, log io.WriteCloser) {
	defer log.Close()
	defer out.Close()
	defer close(s.answers)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var a answer
		if strings.HasPrefix(lines.Text(), "{") && json.Unmarshal(lines.Bytes(), &a) == nil {
			s.answers <- a
		} else {
			fmt.Fprintln(log, lines.Text())
		}
	}
}

func (s *sdk) answer(ctx context.Context, within time.Duration) (answer, error) {
	select {
	case a, ok := <-s.answers:
		if !ok {
			return a, errors.New("it has ended")
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-time.After(within):
		return answer{}, errors.New("no answer")
	}
}

// do has the SDK's own client carry out a command.
func (s *sdk) do(ctx context.Context, c command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := s.stdin.Write(append(text, '\n')); err != nil {
		return err
	}
	_, err = s.answer(ctx, time.Minute)
	return err
}

func (s *sdk) stop() error {
	s.stdin.Close()
	return s.process.Stop(syscall.SIGTERM, 20*time.Second)
}
