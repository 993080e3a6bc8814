package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"temporal_complete/test/temporal/internal/flows"
)

// Kinds of workflows and activities; their ids begin with it.
const (
	kindPlain            = "plain"
	kindRetry            = "retry"      // a failure leads to another attempt
	kindCancel           = "cancel"     // the workflow asks to cancel
	kindLoop             = "loop"       // the same activity id again and again ...
	kindContinue         = "continue"   // ... each time in a run of its own
	kindStandalone       = "standalone" // an activity without a workflow
	kindStandaloneCancel = "standalonecancel"
)

const (
	activitiesPerWorkflow = 40
	turns                 = 12 // of a loop
	starters              = 4
	// Activities that are started and not handed out: more only keep Temporal from handing them out.
	outstanding = 600
)

// item is an attempt of an activity that waits for a request.
type item struct {
	server     string
	kind       string
	workflowID string // empty: standalone
	runID      string
	activityID string
	attempt    int32
	turn       int // of a loop
	token      []byte
	// byToken: another request for it may have been made, which by ids could be for the next turn.
	byToken bool
	// rival is the verdict that was committed for it before, if this is to be one too many.
	rival *asked
}

func kindOf(id string) string { kind, _, _ := strings.Cut(id, "-"); return kind }

// loops use the same ids again.
func (i *item) loops() bool { return i.kind == kindLoop || i.kind == kindContinue }

// standalone activities are started by the client.
func (i *item) standalone() bool { return i.workflowID == "" }

type started struct{ namespace, workflowID string }

// key is what an attempt is recorded under.
func (i *item) key() string {
	return fmt.Sprintf("%s/%s/%s %d/%d", i.workflowID, i.runID, i.activityID, i.turn, i.attempt)
}

// supplies starts workflows, and takes their activities' tokens.
type supplies struct {
	*storm
	workers   []worker.Worker
	handedOut atomic.Int64
	sent      atomic.Int64

	mu         sync.Mutex
	workflows  []started
	standalone []started
	strange    []string
	waiting    map[string][]*item // of a workflow that is to be cancelled
	details    []int64            // nonces of heartbeats that a later attempt was given
}

// supply runs workers until stop is called, and starts workflows as long as there is rage.
func (s *storm) supply(rage context.Context, random *rand.Rand) (*supplies, error) {
	p := &supplies{storm: s, waiting: map[string][]*item{}}
	s.world.supplies = p
	for _, server := range realServers {
		c := s.clients[namespaces[server]]
		w := worker.New(c, flows.TaskQueue, worker.Options{
			MaxConcurrentActivityExecutionSize:     1000,
			MaxConcurrentWorkflowTaskExecutionSize: 200,
			MaxConcurrentActivityTaskPollers:       8,
			MaxConcurrentWorkflowTaskPollers:       8,
			WorkerStopTimeout:                      time.Second,
		})
		w.RegisterWorkflow(flows.Pending)
		w.RegisterWorkflow(flows.Again)
		w.RegisterActivityWithOptions(func(ctx context.Context) error { return p.handOut(ctx, server, 0) },
			activity.RegisterOptions{Name: "Wait"})
		w.RegisterActivityWithOptions(func(ctx context.Context, turn int) error { return p.handOut(ctx, server, turn) },
			activity.RegisterOptions{Name: "WaitTurn"})
		if err := w.Start(); err != nil {
			return nil, err
		}
		p.workers = append(p.workers, w)
	}
	for i := range starters {
		go p.start(rage, i, rand.New(rand.NewPCG(random.Uint64(), 0))) //nolint:gosec // no secret
	}
	return p, nil
}

func (p *supplies) stop() {
	for _, w := range p.workers {
		w.Stop()
	}
}

// start keeps some activities ready for the writers.
func (p *supplies) start(rage context.Context, number int, random *rand.Rand) {
	changed, seen := time.Now(), int64(0)
	for n := number; rage.Err() == nil; n += starters {
		// What was lost at Temporal's death, an answer to a poll, is never handed out: do not wait for it for ever.
		for rage.Err() == nil && (int64(len(p.ready)) > 1500 ||
			p.sent.Load()-p.handedOut.Load() > outstanding && time.Since(changed) < 30*time.Second ||
			p.realMade.Load()+int64(len(p.ready)) > p.Requests) {
			time.Sleep(10 * time.Millisecond)
			if now := p.handedOut.Load(); now != seen {
				seen, changed = now, time.Now()
			}
		}
		if p.sent.Load()-p.handedOut.Load() > outstanding {
			p.sent.Store(p.handedOut.Load())
		}
		server := realServers[random.IntN(len(realServers))]
		switch dice := random.IntN(20); {
		case dice < 9:
			p.workflow(rage, server, kindPlain, n)
		case dice < 10:
			for i := range 10 {
				p.loop(rage, server, []string{kindLoop, kindContinue}[i%2], fmt.Sprintf("%d-%d", n, i))
			}
		case dice < 14:
			p.workflow(rage, server, kindRetry, n)
		case dice < 17:
			p.workflow(rage, server, kindCancel, n)
		default:
			for i := range 5 {
				kind := kindStandalone
				if i == 0 {
					kind = kindStandaloneCancel
				}
				p.activity(rage, server, fmt.Sprintf("%s-%d-%d", kind, n, i))
			}
		}
	}
}

// persist calls Temporal until it answers.
func persist(ctx context.Context, call func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := call(try)
		cancel()
		var exists *serviceerror.WorkflowExecutionAlreadyStarted
		var activityExists *serviceerror.ActivityExecutionAlreadyStarted
		if err == nil || errors.As(err, &exists) || errors.As(err, &activityExists) {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *supplies) workflow(ctx context.Context, server, kind string, n int) {
	id := fmt.Sprintf("%s-%d", kind, n)
	options := flows.ActivityOptions{MaximumAttempts: 1, DisableEagerExecution: true}
	switch kind {
	case kindRetry:
		options.MaximumAttempts, options.RetryInitialMS = 20, 100
	case kindCancel:
		options.WaitForCancellation = true
	}
	p.mu.Lock()
	p.workflows = append(p.workflows, started{namespaces[server], id})
	p.mu.Unlock()
	_ = persist(ctx, func(ctx context.Context) error {
		_, err := p.clients[namespaces[server]].ExecuteWorkflow(ctx,
			client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true},
			flows.Pending, flows.PendingInput{Activities: activitiesPerWorkflow, Options: options})
		return err
	})
	p.sent.Add(activitiesPerWorkflow)
}

func (p *supplies) loop(ctx context.Context, server, kind, n string) {
	id := kind + "-" + n
	p.mu.Lock()
	p.workflows = append(p.workflows, started{namespaces[server], id})
	p.mu.Unlock()
	_ = persist(ctx, func(ctx context.Context) error {
		_, err := p.clients[namespaces[server]].ExecuteWorkflow(ctx,
			client.StartWorkflowOptions{ID: id, TaskQueue: flows.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true},
			flows.Again, flows.AgainInput{ActivityID: "it", Times: turns, Numbered: true, ContinueAsNew: kind == kindContinue,
				Options: flows.ActivityOptions{MaximumAttempts: 1, DisableEagerExecution: true}})
		return err
	})
	p.sent.Add(1)
}

func (p *supplies) activity(ctx context.Context, server, id string) {
	p.mu.Lock()
	p.standalone = append(p.standalone, started{namespaces[server], id})
	p.mu.Unlock()
	_ = persist(ctx, func(ctx context.Context) error {
		_, err := p.clients[namespaces[server]].ExecuteActivity(ctx, flows.ActivityOptions{MaximumAttempts: 1}.Standalone(id), "Wait")
		return err
	})
	p.sent.Add(1)
}

// handOut is the activity.
func (p *supplies) handOut(ctx context.Context, server string, turn int) error {
	info := activity.GetInfo(ctx)
	i := &item{
		server:     server,
		workflowID: info.WorkflowExecution.ID,
		runID:      info.WorkflowExecution.RunID,
		activityID: info.ActivityID,
		attempt:    info.Attempt,
		turn:       turn,
		token:      info.TaskToken,
	}
	if turn > 0 {
		p.sent.Add(1)
	}
	if i.standalone() {
		i.runID, i.kind = info.ActivityRunID, kindOf(i.activityID)
	} else {
		i.kind = kindOf(i.workflowID)
	}
	if activity.HasHeartbeatDetails(ctx) {
		var details struct {
			Nonce int64 `json:"nonce"`
		}
		err := activity.GetHeartbeatDetails(ctx, &details)
		p.mu.Lock()
		if err != nil {
			p.strange = append(p.strange, fmt.Sprintf("heartbeat details of %s/%s: %v", i.workflowID, i.activityID, err))
		} else {
			p.details = append(p.details, details.Nonce)
		}
		p.mu.Unlock()
	}
	p.handedOut.Add(1)
	switch i.kind {
	case kindCancel:
		p.collect(i)
	case kindStandaloneCancel:
		go p.cancelStandalone(i)
	default:
		p.ready <- i
	}
	return activity.ErrResultPending
}

// collect cancels a workflow when all of its activities wait, and gives them to the writers when they know.
func (p *supplies) collect(i *item) {
	key := i.server + "/" + i.workflowID
	p.mu.Lock()
	p.waiting[key] = append(p.waiting[key], i)
	all := p.waiting[key]
	p.mu.Unlock()
	if len(all) == activitiesPerWorkflow {
		go p.cancelWorkflow(i, all)
	}
}

func (p *supplies) cancelWorkflow(i *item, all []*item) {
	ctx := context.Background()
	c := p.clients[namespaces[i.server]]
	_ = persist(ctx, func(ctx context.Context) error { return c.CancelWorkflow(ctx, i.workflowID, i.runID) })
	_ = persist(ctx, func(ctx context.Context) error {
		d, err := c.DescribeWorkflowExecution(ctx, i.workflowID, i.runID)
		if err != nil {
			return err
		}
		for _, a := range d.GetPendingActivities() {
			if a.GetState() != enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
				return errors.New("not yet")
			}
		}
		return nil
	})
	for _, i := range all {
		p.ready <- i
	}
}

func (p *supplies) cancelStandalone(i *item) {
	_ = persist(context.Background(), func(ctx context.Context) error {
		return p.clients[namespaces[i.server]].GetActivityHandle(client.GetActivityHandleOptions{ActivityID: i.activityID}).
			Cancel(ctx, client.CancelActivityOptions{Reason: "asked by the storm"})
	})
	p.ready <- i
}

// jsonOf is what ask_all() takes.
func jsonOf(requests []*asked) string {
	type request struct {
		Nonce      int64   `json:"nonce"`
		Verb       int     `json:"verb"`
		Server     string  `json:"server"`
		WorkflowID *string `json:"workflow_id"`
		RunID      *string `json:"run_id"`
		ActivityID string  `json:"activity_id"`
		TaskToken  []byte  `json:"task_token"`
		Retryable  bool    `json:"retryable"`
		Attempt    int32   `json:"attempt"`
		Turn       *int    `json:"turn"`
		Keyed      int     `json:"keyed"`
		Key        string  `json:"key"`
	}
	list := make([]request, 0, len(requests))
	for _, a := range requests {
		r := request{Nonce: a.nonce, Verb: a.verb, Server: a.item.server, ActivityID: a.item.activityID,
			TaskToken: a.item.token, Retryable: a.retryable, Attempt: a.item.attempt,
			Keyed: a.keyed, Key: a.item.key()}
		if !a.item.standalone() {
			r.WorkflowID = &a.item.workflowID
		}
		if a.namesRun {
			r.RunID = &a.item.runID
		}
		if a.item.loops() {
			r.Turn = &a.item.turn
		}
		list = append(list, r)
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(text)
}
