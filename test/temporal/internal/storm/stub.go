package storm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
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
	s := &stub{arrivals: map[string]*arrivals{}, counts: map[string]int64{}}
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
	taken := s.arrived(request)
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
	return stream.SendMsg(&[]byte{})
}

func (s *stub) count(what string) {
	s.mu.Lock()
	s.counts[what]++
	s.mu.Unlock()
}

// arrived notes a request; what it returns is to be called if the answer is OK. The identity is the last field.
func (s *stub) arrived(request []byte) (taken func()) {
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
