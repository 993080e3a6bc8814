package storm

import (
	"fmt"
	"strings"
	"sync"
)

// entry is a row of the ledger with its outcome.
type entry struct {
	nonce      int64
	requestID  int64
	verb       int
	server     string
	workflowID string
	activityID string
	attempt    int32
	identity   string
	state      string
	outcomes   int
	code       string
	message    string
	asked      *asked
	evidence   string // where it was seen in Temporal
}

func (e *entry) String() string {
	if e == nil {
		return "nobody"
	}
	verbs := []string{"complete", "fail", "report_cancellation", "heartbeat"}
	return fmt.Sprintf("%s: nonce %d, %s (method %d) of %s/%s attempt %d, %s %s %s %q", e.identity, e.nonce, verbs[(e.verb-1)/2],
		e.verb, e.workflowID, e.activityID, e.attempt, e.state, e.evidence, e.code, e.message)
}

// identities tells who a request in Temporal is.
type identities map[string]*entry

func (i identities) add(e *entry) {
	identity := e.identity
	if e.isAwaited() {
		identity = withoutTransaction(identity)
	}
	i[identity] = e
}

func (i identities) of(identity string) *entry {
	if e := i[identity]; e != nil {
		return e
	}
	return i[withoutTransaction(identity)]
}

// withoutTransaction is what is the same before and after a request has found its key: another transaction, that of the
// worker, is in the identity then.
func withoutTransaction(identity string) string {
	before, _, _ := strings.Cut(identity, "@")
	return before
}

func (e *entry) isAwaited() bool   { return e.asked != nil && e.asked.keyed == keyAwaited }
func (e *entry) isKeyed() bool     { return e.asked != nil && e.asked.keyed > 0 }
func (e *entry) isHeartbeat() bool { return e.verb >= heartbeat }
func (e *entry) activity() string {
	return namespaces[e.server] + " " + e.workflowID + "/" + e.activityID
}

// findings are what is wrong.
type findings struct {
	mu    sync.Mutex
	list  []string
	total int
}

func (f *findings) add(format string, arguments ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if len(f.list) < 50 {
		f.list = append(f.list, fmt.Sprintf(format, arguments...))
	}
}

// seen is what Temporal knows of one activity.
type seen struct {
	namespace, workflowID, activityID string
	closedBy                          string
	event                             string
	nonce                             int64 // in the payload of its end
	failedBy                          []string
	attempt                           int32
	pending                           bool
	canceled                          bool // standalone: its end does not say by whose report
	heartbeat                         int64
}

func (v *seen) key() string { return v.namespace + " " + v.workflowID + "/" + v.activityID }
