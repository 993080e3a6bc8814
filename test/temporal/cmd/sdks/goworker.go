package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

// codec reads what is encrypted, and encrypts if it is told to. It is no cipher worth the name.
type codec struct{ encrypting bool }

func veil(data []byte) []byte {
	veiled := make([]byte, len(data))
	for i, b := range data {
		veiled[i] = b ^ 0x5a
	}
	return veiled
}

func (c codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	if !c.encrypting {
		return payloads, nil
	}
	encoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		data, err := proto.Marshal(p)
		if err != nil {
			return nil, err
		}
		encoded[i] = &commonpb.Payload{Data: veil(data), Metadata: map[string][]byte{
			"encoding": []byte("binary/encrypted"), "encryption-key-id": []byte("k1")}}
	}
	return encoded, nil
}

func (c codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		decoded[i] = p
		if string(p.GetMetadata()["encoding"]) == "binary/encrypted" {
			decoded[i] = &commonpb.Payload{}
			if err := proto.Unmarshal(veil(p.GetData()), decoded[i]); err != nil {
				return nil, err
			}
		}
	}
	return decoded, nil
}

// order and the others are what workflows ask for.
type order struct {
	ID       int64  `json:"id"`
	Item     string `json:"item"`
	Approved bool   `json:"approved"`
}

type optional struct {
	ID   int64   `json:"id"`
	Item *string `json:"item"`
}

type named struct {
	CustomerName string
}

type priced struct {
	Price float64 `json:"price"`
}

type dated struct {
	At time.Time `json:"at"`
}

type blob struct {
	Data []byte `json:"data"`
}

// asked makes what a workflow asks for; nil if there is no such thing in Go.
func asked(as string) any {
	switch as {
	case "any":
		return new(any)
	case "string":
		return new(string)
	case "integer":
		return new(int64)
	case "float":
		return new(float64)
	case "bytes":
		return new([]byte)
	case "order":
		return new(order)
	case "optional":
		return new(optional)
	case "named":
		return new(named)
	case "priced":
		return new(priced)
	case "timestamp", "local", "date":
		return new(dated)
	case "blob":
		return new(blob)
	}
	return nil
}

// report is what a workflow says of what it was given: its value, or its failure.
type report map[string]any

type failure struct {
	Kind             string `json:"kind"`
	Message          string `json:"message"`
	Type             string `json:"type"`
	Details          []any  `json:"details"`
	NonRetryable     bool   `json:"non_retryable"`
	NextRetryDelayMS int64  `json:"next_retry_delay_ms"`
	Benign           bool   `json:"benign"`
	// Causes are there if there are some.
	Causes []cause `json:"causes,omitempty"`
}

type cause struct {
	Message      string `json:"message"`
	Type         string `json:"type"`
	Details      []any  `json:"details"`
	NonRetryable bool   `json:"non_retryable"`
}

// causes are what an error was caused by, as its reader finds them.
func causes(of error) []cause {
	var all []cause
	for {
		var e *temporal.ApplicationError
		if !errors.As(errors.Unwrap(of), &e) {
			return all
		}
		c := cause{e.Message(), e.Type(), []any{}, e.NonRetryable()}
		if e.HasDetails() {
			c.Details = read(e.Details)
		}
		all = append(all, c)
		of = e
	}
}

func shown(v any) any {
	switch v := v.(type) {
	case *any:
		return shown(*v)
	case *[]byte:
		return map[string]any{"base64": *v}
	case []byte:
		return map[string]any{"base64": v}
	case *float64:
		if math.IsNaN(*v) {
			return "NaN"
		}
	}
	return v
}

// read takes the one value that details have.
func read(details func(...any) error) []any {
	var v any
	if err := details(&v); err != nil {
		return []any{"error: " + err.Error()}
	}
	return []any{shown(v)}
}

type waitInput struct {
	Activity string `json:"activity"`
	Key      string `json:"key"`
	As       string `json:"as"`
	Attempts int32  `json:"attempts"`
}

// wait is the workflow: it returns what it was told about its activity.
func wait(ctx workflow.Context, in waitInput) (report, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute,
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: in.Attempts},
	})
	v := asked(in.As)
	err := workflow.ExecuteActivity(ctx, in.Activity, in.Key).Get(ctx, v)
	if err == nil {
		return report{"value": shown(v)}, nil
	}
	var application *temporal.ApplicationError
	var canceled *temporal.CanceledError
	switch {
	case errors.As(err, &application):
		f := failure{"application", application.Message(), application.Type(), []any{}, application.NonRetryable(),
			application.NextRetryDelay().Milliseconds(), application.Category() == temporal.ApplicationErrorCategoryBenign, causes(application)}
		if application.HasDetails() {
			f.Details = read(application.Details)
		}
		return report{"failure": f}, nil
	case errors.As(err, &canceled):
		f := failure{Kind: "canceled", Details: []any{}}
		if canceled.HasDetails() {
			f.Details = read(canceled.Details)
		}
		return report{"failure": f}, nil
	}
	return report{"error": err.Error()}, nil
}

type goActivities struct{ db *pgxpool.Pool }

// recipe: token

func (a *goActivities) RequestApproval(ctx context.Context, order string) error {
	a.note(ctx, order) // for the test
	_, err := a.db.Exec(ctx, "SELECT temporal.record_activity($1, $2)", order, activity.GetInfo(ctx).TaskToken)
	if err != nil {
		return err
	}
	return activity.ErrResultPending
}

// recipe: ids

func (a *goActivities) RequestReview(ctx context.Context, id string) error {
	a.note(ctx, id) // for the test
	info := activity.GetInfo(ctx)
	_, err := a.db.Exec(ctx, "INSERT INTO review VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		id, info.WorkflowExecution.ID, info.ActivityID)
	if err != nil {
		return err
	}
	return activity.ErrResultPending
}

// recipe: end

// note tells the test of an attempt.
func (a *goActivities) note(ctx context.Context, key string) {
	info := activity.GetInfo(ctx)
	var found any
	if activity.HasHeartbeatDetails(ctx) {
		found = read(func(v ...any) error { return activity.GetHeartbeatDetails(ctx, v...) })
	}
	_, err := a.db.Exec(ctx, "INSERT INTO attempt VALUES ($1, $2, $3, $4)", key, info.Attempt, info.TaskToken, found)
	if err != nil {
		panic(err)
	}
}

// goValue is a value as a user of Go has it.
func goValue(name string) (any, bool) {
	switch name {
	case "string":
		return "straße \"1\" 中\n\t<&>", true
	case "number":
		return 12.5, true
	case "integer":
		return 42, true
	case "big number":
		return int64(9007199254740993), true
	case "null", "JSON null":
		return (*string)(nil), true
	case "none":
		return nil, true
	case "object":
		return map[string]any{"sku": 17, "missing": []int{1, 2}, "deep": map[string]any{"er": nil}}, true
	case "bytes":
		return []byte{0, 255, 16}, true
	case "class":
		return order{7, "a book", true}, true
	case "encrypted":
		return "secret", true
	}
	return nil, false
}

func goFailure(name string, details []any) error {
	if name == "message" {
		return temporal.NewApplicationErrorWithOptions("no more stock, señor", "", temporal.ApplicationErrorOptions{})
	}
	if name == "causes" {
		return temporal.NewApplicationErrorWithCause("no more stock, señor", "OutOfStock",
			temporal.NewNonRetryableApplicationError("no answer from shelf 7 中", "Timeout",
				temporal.NewApplicationError("the cable is cut", "Broken"), map[string]any{"after": []any{5, "s"}}))
	}
	return temporal.NewApplicationErrorWithOptions("no more stock, señor", "OutOfStock", temporal.ApplicationErrorOptions{
		NonRetryable: true, Details: details, NextRetryDelay: 90 * time.Second,
		Category: temporal.ApplicationErrorCategoryBenign,
	})
}

// carryOut does what a command says by the SDK's client.
func carryOut(ctx context.Context, c client.Client, in command) error {
	v, known := goValue(in.Value)
	complete := func(result any, err error) error {
		if in.Token != nil {
			return c.CompleteActivity(ctx, in.Token, result, err)
		}
		return c.CompleteActivityByID(ctx, "default", in.WorkflowID, "", in.ActivityID, result, err)
	}
	var details []any
	if in.Value != "none" {
		details = []any{v}
	}
	switch {
	case in.Verb == "fail":
		return complete(nil, goFailure(in.Value, details))
	case !known:
		return fmt.Errorf("there is no value %q", in.Value)
	case in.Verb == "complete":
		return complete(v, nil)
	case in.Verb == "cancel":
		return complete(nil, temporal.NewCanceledError(details...))
	case in.Token != nil:
		return c.RecordActivityHeartbeat(ctx, in.Token, details...)
	}
	return c.RecordActivityHeartbeatByID(ctx, "default", in.WorkflowID, "", in.ActivityID, details...)
}

func dialGo(ctx context.Context, encrypting bool) (client.Client, error) {
	values := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec{encrypting})
	return client.DialContext(ctx, client.Options{
		HostPort:      os.Getenv("TEMPORAL_ADDRESS"),
		DataConverter: values,
		// for details of failures; if it is not said, they are not decoded
		FailureConverter: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: values}),
		Logger:           log.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	})
}

func serveGo(ctx context.Context) error {
	c, err := dialGo(ctx, false)
	if err != nil {
		return err
	}
	defer c.Close()
	encrypting, err := dialGo(ctx, true)
	if err != nil {
		return err
	}
	defer encrypting.Close()
	db, err := pgxpool.New(ctx, "")
	if err != nil {
		return err
	}
	defer db.Close()
	w := worker.New(c, os.Getenv("TASK_QUEUE"), worker.Options{})
	w.RegisterWorkflowWithOptions(wait, workflow.RegisterOptions{Name: "Wait"})
	activities := &goActivities{db}
	w.RegisterActivityWithOptions(activities.RequestApproval, activity.RegisterOptions{Name: "request_approval"})
	w.RegisterActivityWithOptions(activities.RequestReview, activity.RegisterOptions{Name: "request_review"})
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()

	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(answer{OK: "ready", Version: temporal.SDKVersion}); err != nil {
		return err
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var next command
		if err := in.Decode(&next); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		chosen := c
		if next.Value == "encrypted" {
			chosen = encrypting
		}
		a := answer{OK: "done"}
		if err := carryOut(ctx, chosen, next); err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}
