// Command orders is the application of the demo: a worker for the workflow OrderApproval, and what starts it and
// waits for it. It uses Temporal's SDK only; of the extension it knows how to record an activity.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
)

const taskQueue = "orders"

const usage = `usage: orders COMMAND
  worker READY_FILE    run workflows and activities until SIGTERM; the file is written when they can run
  begin ORDER          start the workflow for an order
  start ORDER          the same, and wait until its activity is recorded
  value ORDER          wait for the workflow's result, and print it
  result ORDER         the same, with what its history says
  measure COUNT        approve so many orders, one after the other, and print how fast their workflows knew
  wait                 wait until Temporal answers
Temporal is at TEMPORAL_ADDRESS, namespace TEMPORAL_NAMESPACE; PostgreSQL where libpq's environment says.
`

func main() {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, argument string) error {
	db, err := pgxpool.New(ctx, "")
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := dial(ctx, command == "wait")
	if err != nil {
		return err
	}
	defer c.Close()

	switch command {
	case "worker":
		return runWorker(ctx, c, db, argument)
	case "begin", "start", "value", "result", "measure":
		number, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			return err
		}
		switch command {
		case "begin":
			return begin(ctx, c, number)
		case "start":
			return start(ctx, c, db, number)
		case "value":
			return value(ctx, c, number)
		case "result":
			return result(ctx, c, db, number)
		}
		return measure(ctx, c, db, int(number))
	case "wait":
		return nil
	}
	flag.Usage()
	return errors.New("no such command")
}

// dial connects to Temporal; patiently, if it may still be starting.
func dial(ctx context.Context, patient bool) (client.Client, error) {
	options := client.Options{
		HostPort:  os.Getenv("TEMPORAL_ADDRESS"),
		Namespace: os.Getenv("TEMPORAL_NAMESPACE"),
		Logger:    log.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))),
	}
	deadline := time.Now().Add(time.Minute)
	for {
		c, err := client.DialContext(ctx, options)
		if err == nil && patient {
			if _, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace}); err != nil {
				c.Close()
			}
		}
		if err == nil || !patient || time.Now().After(deadline) || ctx.Err() != nil {
			return c, err
		}
		// as people do: the worker is back at waiting for workflow tasks by then
		time.Sleep(100 * time.Millisecond)
	}
}

func runWorker(ctx context.Context, c client.Client, db *pgxpool.Pool, readyFile string) error {
	w := worker.New(c, taskQueue, worker.Options{WorkerStopTimeout: time.Second})
	w.RegisterWorkflow(OrderApproval)
	w.RegisterActivity(&Activities{db})
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	if err := os.WriteFile(readyFile, []byte("ready\n"), 0o644); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func workflowID(order int64) string { return fmt.Sprintf("order-%d", order) }

func begin(ctx context.Context, c client.Client, order int64) error {
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflowID(order), TaskQueue: taskQueue}, OrderApproval, order)
	return err
}

func start(ctx context.Context, c client.Client, db *pgxpool.Pool, order int64) error {
	if err := begin(ctx, c, order); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var waiting bool
		err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM temporal.activity WHERE key = $1::bigint::text)", order).Scan(&waiting)
		if waiting || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the activity of %s was not recorded within a minute", workflowID(order))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// latencies of an approval, from the commit time of the row that was changed.
type latencies struct {
	completed time.Duration // until Temporal had recorded that the activity is complete
	closed    time.Duration // until the workflow had ended with it
}

func measureOrder(ctx context.Context, c client.Client, db *pgxpool.Pool, order int64) (l latencies, completed *historypb.HistoryEvent, err error) {
	var committed time.Time
	err = db.QueryRow(ctx, "SELECT pg_xact_commit_timestamp(xmin) FROM orders WHERE id = $1", order).Scan(&committed)
	if err != nil {
		return l, nil, err
	}
	events := c.GetWorkflowHistory(ctx, workflowID(order), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return l, nil, err
		}
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			l.completed, completed = event.GetEventTime().AsTime().Sub(committed), event
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
			l.closed = event.GetEventTime().AsTime().Sub(committed)
		}
	}
	if completed == nil {
		return l, nil, errors.New("there is no completed activity in the history")
	}
	return l, completed, nil
}

func value(ctx context.Context, c client.Client, order int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var value json.RawMessage
	if err := c.GetWorkflow(ctx, workflowID(order), "").Get(ctx, &value); err != nil {
		return err
	}
	fmt.Printf("  workflow %s returned  %s\n", workflowID(order), value)
	return nil
}

func result(ctx context.Context, c client.Client, db *pgxpool.Pool, order int64) error {
	if err := value(ctx, c, order); err != nil {
		return err
	}
	l, event, err := measureOrder(ctx, c, db, order)
	if err != nil {
		return err
	}
	fmt.Printf("  its activity was completed by  %s\n", event.GetActivityTaskCompletedEventAttributes().GetIdentity())
	fmt.Printf("  from COMMIT to the activity's completion in the history  %s\n", inMS(l.completed))
	fmt.Printf("  from COMMIT to the workflow's end                        %s\n", inMS(l.closed))
	return nil
}

func measure(ctx context.Context, c client.Client, db *pgxpool.Pool, count int) error {
	completed := make([]time.Duration, count)
	closed := make([]time.Duration, count)
	for i := range count {
		var order int64
		if err := db.QueryRow(ctx, "INSERT INTO orders (item) VALUES ('book') RETURNING id").Scan(&order); err != nil {
			return err
		}
		if err := start(ctx, c, db, order); err != nil {
			return err
		}
		// as people do: the worker is back at waiting for workflow tasks by then
		time.Sleep(100 * time.Millisecond)
		if _, err := db.Exec(ctx, "UPDATE orders SET status = 'approved', approved_by = 'ben' WHERE id = $1", order); err != nil {
			return err
		}
		if err := c.GetWorkflow(ctx, workflowID(order), "").Get(ctx, nil); err != nil {
			return err
		}
		l, _, err := measureOrder(ctx, c, db, order)
		if err != nil {
			return err
		}
		completed[i], closed[i] = l.completed, l.closed
	}
	print := func(what string, all []time.Duration) {
		slices.Sort(all)
		fmt.Printf("  %-56s median %s, 95 of 100 within %s\n", what, inMS(all[count/2]), inMS(all[count*95/100]))
	}
	print("from COMMIT to the activity's completion in the history", completed)
	print("from COMMIT to the workflow's end", closed)
	return nil
}

func inMS(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
