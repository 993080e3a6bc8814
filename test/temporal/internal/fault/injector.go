package fault

import (
	"context"
	"math/rand/v2"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// MethodCounters is the account of one method.
type MethodCounters struct {
	Requests int64 `json:"requests"`
	// Codes counts the answers by the name of their gRPC code; an unanswered call counts as CANCELLED or
	// DEADLINE_EXCEEDED once its client has given up.
	Codes map[string]int64 `json:"codes"`
	// Metadata is what the last request brought besides its message; credentials are not kept.
	Metadata map[string][]string `json:"metadata"`
	// Connections counts the connections that the requests came by.
	Connections int `json:"connections"`
	// FirstArrival and LastArrival are in microseconds since 1970.
	FirstArrival int64 `json:"first_arrival"`
	LastArrival  int64 `json:"last_arrival"`

	peers map[string]bool
}

// IdentityCounters is the account of one identity that finishes activities, for one method.
type IdentityCounters struct {
	Identity     string           `json:"identity"`
	Method       string           `json:"method"`
	Requests     int64            `json:"requests"`
	Codes        map[string]int64 `json:"codes"`
	FirstArrival int64            `json:"first_arrival"`
}

type identityKey struct {
	identity string
	method   string
}

// Injector applies rules to the calls of a frontend and counts them. Its methods may be called at any time.
type Injector struct {
	// internalPort is where the server's own workers call; they are neither disturbed nor counted.
	internalPort int

	mu         sync.Mutex
	rules      []*Rule
	lastRule   int64
	cleared    chan struct{}
	methods    map[string]*MethodCounters
	identities map[identityKey]*IdentityCounters
}

// NewInjector makes an Injector without rules that leaves calls to internalPort alone.
func NewInjector(internalPort int) *Injector {
	i := &Injector{internalPort: internalPort, cleared: make(chan struct{})}
	i.ResetCounters()
	return i
}

// Add switches a rule on and returns its id.
func (i *Injector) Add(r Rule) (int64, error) {
	if err := r.validate(); err != nil {
		return 0, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lastRule++
	r.ID, r.Applied = i.lastRule, 0
	i.rules = append(i.rules, &r)
	return r.ID, nil
}

// Clear switches the rule off, or all rules if id is 0. Calls that got no answer so far are answered UNAVAILABLE
// when all rules are cleared.
func (i *Injector) Clear(id int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if id == 0 {
		i.rules = nil
		close(i.cleared)
		i.cleared = make(chan struct{})
		return
	}
	kept := i.rules[:0]
	for _, r := range i.rules {
		if r.ID != id {
			kept = append(kept, r)
		}
	}
	i.rules = kept
}

// Rules returns the rules that are on.
func (i *Injector) Rules() []Rule {
	i.mu.Lock()
	defer i.mu.Unlock()
	rules := make([]Rule, 0, len(i.rules))
	for _, r := range i.rules {
		rules = append(rules, *r)
	}
	return rules
}

// ResetCounters forgets all that was counted.
func (i *Injector) ResetCounters() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.methods = map[string]*MethodCounters{}
	i.identities = map[identityKey]*IdentityCounters{}
}

// Intercept is the grpc.UnaryServerInterceptor.
func (i *Injector) Intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if i.internal(ctx) {
		return handler(ctx, req)
	}
	method := path.Base(info.FullMethod)
	identity := ""
	if r, ok := req.(interface{ GetIdentity() string }); ok {
		identity = r.GetIdentity()
	}
	rule, cleared := i.arrived(ctx, method, identity)
	resp, err := disturb(ctx, rule, cleared, func() (any, error) { return handler(ctx, req) })
	i.answered(method, identity, err)
	return resp, err
}

func (i *Injector) internal(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	addr, ok := p.LocalAddr.(*net.TCPAddr)
	return ok && addr.Port == i.internalPort
}

// arrived counts the call and returns a copy of the rule to apply to it, if any.
func (i *Injector) arrived(ctx context.Context, method, identity string) (*Rule, <-chan struct{}) {
	now := time.Now().UnixMicro()
	md, _ := metadata.FromIncomingContext(ctx)
	if md.Get("authorization") != nil {
		md.Set("authorization", "(present)")
	}
	i.mu.Lock()
	defer i.mu.Unlock()

	m := i.methods[method]
	if m == nil {
		m = &MethodCounters{Codes: map[string]int64{}, FirstArrival: now, peers: map[string]bool{}}
		i.methods[method] = m
	}
	m.Requests++
	m.LastArrival = now
	m.Metadata = md
	if p, ok := peer.FromContext(ctx); ok {
		m.peers[p.Addr.String()] = true
		m.Connections = len(m.peers)
	}
	if finishesActivities(method) {
		key := identityKey{identity, method}
		id := i.identities[key]
		if id == nil {
			id = &IdentityCounters{Identity: identity, Method: method, Codes: map[string]int64{}, FirstArrival: now}
			i.identities[key] = id
		}
		id.Requests++
	}

	for _, r := range i.rules {
		if !r.matches(method, identity) || (r.Count > 0 && r.Applied >= r.Count) {
			continue
		}
		if r.Probability > 0 && rand.Float64() >= r.Probability {
			continue
		}
		r.Applied++
		applied := *r
		return &applied, i.cleared
	}
	return nil, i.cleared
}

func (i *Injector) answered(method, identity string, err error) {
	code := codeName(err)
	i.mu.Lock()
	defer i.mu.Unlock()
	// Either account is missing when the counters were reset while the call was under way.
	if m := i.methods[method]; m != nil {
		m.Codes[code]++
	}
	if id := i.identities[identityKey{identity, method}]; id != nil {
		id.Codes[code]++
	}
}

func finishesActivities(method string) bool {
	return strings.HasPrefix(method, "RespondActivityTask") || strings.HasPrefix(method, "RecordActivityTaskHeartbeat")
}

// disturb does to one call what the rule says.
func disturb(ctx context.Context, rule *Rule, cleared <-chan struct{}, call func() (any, error)) (any, error) {
	if rule == nil {
		return call()
	}
	if d := rule.delay(); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch rule.Mode {
	case FailAfter, Hang:
		// An error of the call itself is more interesting than the one that was asked for.
		if resp, err := call(); err != nil {
			return resp, err
		}
	case Delay:
		return call()
	}
	if rule.Mode == Drop || rule.Mode == Hang {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-cleared:
			return nil, status.Error(codes.Unavailable, "fault rule: cleared while the call had no answer")
		}
	}
	failure, err := rule.makeError()
	if err != nil {
		return nil, err
	}
	return nil, failure
}
