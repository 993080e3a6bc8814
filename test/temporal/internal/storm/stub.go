package storm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// stub is a frontend that takes every request, and remembers whose it was.
type stub struct {
	address string

	// Of a thousand calls, so many are answered by an error, or not at all until the client gives up.
	errors atomic.Int64
	hangs  atomic.Int64

	mu       sync.Mutex
	server   *grpc.Server
	arrivals map[string]*arrivals // by database
	strange  []string             // identities that are none
	closedBy map[string]string    // by workflow: whose request by ids was taken first
	counts   map[string]int64
}

// arrivals of one database's requests, by their ids.
type arrivals struct {
	xids  []uint64
	count []uint8
	taken []bool // one of them was answered by OK
}

var identityPattern = regexp.MustCompile(`^postgresql:([^/]*)/(\d+)@(\d+)/(\d+)/(\d+)/\d+$`)

func newStub() (*stub, error) {
	s := &stub{arrivals: map[string]*arrivals{}, counts: map[string]int64{}, closedBy: map[string]string{}}
	return s, s.start("127.0.0.1:0")
}

func (s *stub) start(address string) error {
	var l net.Listener
	var err error
	// Its own last connections may hold the port for a moment.
	for range 100 {
		if l, err = net.Listen("tcp", address); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	s.address = l.Addr().String()
	server := grpc.NewServer(
		grpc.ForceServerCodec(rawCodec{}),
		grpc.UnknownServiceHandler(s.handle),
		grpc.NumStreamWorkers(4),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      3 * time.Second,
			MaxConnectionAgeGrace: 2 * time.Second,
		}),
	)
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	go server.Serve(l) //nolint:errcheck // ends with stop
	return nil
}

// restart cuts all calls and connections.
func (s *stub) restart() error {
	s.server.Stop()
	return s.start(s.address)
}

func (s *stub) handle(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	taken, reply := func() {}, []byte{}
	method, _ := grpc.MethodFromServerStream(stream)
	method = method[strings.LastIndex(method, "/")+1:]
	if strings.HasPrefix(method, "Respond") || strings.HasPrefix(method, "Record") {
		taken = s.arrived(method, request)
	} else {
		var err error
		if reply, err = s.look(method, request); err != nil {
			return err
		}
	}
	if dice := rand.Int64N(1000); dice < s.errors.Load() {
		all := []codes.Code{codes.Unavailable, codes.Internal, codes.Unknown, codes.DeadlineExceeded,
			codes.ResourceExhausted, codes.Aborted}
		code := all[rand.IntN(len(all))]
		s.count(code.String())
		return status.Error(code, "a fault of the stub")
	} else if dice < s.errors.Load()+s.hangs.Load() {
		s.count("no answer")
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	taken()
	return stream.SendMsg(&reply)
}

// look tells of a workflow with one activity, what is asked before a request by ids is sent again.
func (s *stub) look(method string, request []byte) ([]byte, error) {
	workflowID := func(e *commonpb.WorkflowExecution) (id, closedBy string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counts[method]++
		return e.GetWorkflowId(), s.closedBy[e.GetWorkflowId()]
	}
	switch method {
	case "DescribeWorkflowExecution":
		var r workflowservice.DescribeWorkflowExecutionRequest
		if err := proto.Unmarshal(request, &r); err != nil {
			return nil, err
		}
		id, closedBy := workflowID(r.GetExecution())
		d := &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "run"},
			Status:    enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
		}}
		if closedBy == "" {
			d.PendingActivities = []*workflowpb.PendingActivityInfo{{ActivityId: stubActivity, Attempt: 1,
				State: enumspb.PENDING_ACTIVITY_STATE_STARTED}}
		}
		return proto.Marshal(d)
	case "GetWorkflowExecutionHistoryReverse":
		var r workflowservice.GetWorkflowExecutionHistoryReverseRequest
		if err := proto.Unmarshal(request, &r); err != nil {
			return nil, err
		}
		_, closedBy := workflowID(r.GetExecution())
		events := []*historypb.HistoryEvent{
			{EventId: 5, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
				ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityId: stubActivity}}},
			{EventId: 1, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
				WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{}}},
		}
		if closedBy != "" {
			events = append([]*historypb.HistoryEvent{{EventId: 7, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
				ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 5, Identity: closedBy}}}},
				events...)
		}
		return proto.Marshal(&workflowservice.GetWorkflowExecutionHistoryReverseResponse{History: &historypb.History{Events: events}})
	}
	return nil, status.Error(codes.Unimplemented, method)
}

// stubActivity is the only one of each workflow.
const stubActivity = "a"

func (s *stub) count(what string) {
	s.mu.Lock()
	s.counts[what]++
	s.mu.Unlock()
}

// arrived notes a request; what it returns is to be called if the answer is OK. The identity is the last field.
func (s *stub) arrived(method string, request []byte) (taken func()) {
	var identity string
	if i := bytes.LastIndex(request, []byte("postgresql:")); i >= 0 {
		identity = string(request[i:])
	}
	database, id, xid, err := parseIdentity(identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.strange = append(s.strange, fmt.Sprintf("%q", request))
		return func() {}
	}
	a := s.arrivals[database]
	if a == nil {
		a = &arrivals{}
		s.arrivals[database] = a
	}
	for int64(len(a.count)) <= id {
		n := max(1024, len(a.count))
		a.count = append(a.count, make([]uint8, n)...)
		a.xids = append(a.xids, make([]uint64, n)...)
		a.taken = append(a.taken, make([]bool, n)...)
	}
	if a.count[id] > 0 && a.xids[id] != xid {
		s.strange = append(s.strange, fmt.Sprintf("%s, before by transaction %d", identity, a.xids[id]))
	}
	a.xids[id] = xid
	if a.count[id] < 255 {
		a.count[id]++
	}
	return func() {
		s.mu.Lock()
		a.taken[id] = true
		if method == "RespondActivityTaskCompletedById" {
			var r workflowservice.RespondActivityTaskCompletedByIdRequest
			if proto.Unmarshal(request, &r) == nil && s.closedBy[r.GetWorkflowId()] == "" {
				s.closedBy[r.GetWorkflowId()] = identity
			}
		}
		s.mu.Unlock()
	}
}

func parseIdentity(identity string) (database string, id int64, xid uint64, err error) {
	parts := identityPattern.FindStringSubmatch(identity)
	if parts == nil {
		return "", 0, 0, errors.New("this is no identity")
	}
	if id, err = strconv.ParseInt(parts[2], 10, 64); err != nil {
		return "", 0, 0, err
	}
	xid, err = strconv.ParseUint(parts[5], 10, 64)
	return parts[1], id, xid, err
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

func (rawCodec) Name() string { return "proto" }
