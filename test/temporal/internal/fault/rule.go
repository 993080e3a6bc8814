// Package fault disturbs a Temporal frontend on purpose and keeps account of what reached it.
//
// An Injector is a gRPC interceptor of the frontend; Handler is the HTTP side by which tests switch faults on
// and off while the server runs, and read the account.
package fault

import (
	"fmt"
	"path"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Mode says what a rule does to the calls that it matches.
type Mode string

const (
	// FailBefore answers with the error; the call has no effect.
	FailBefore Mode = "fail-before"
	// FailAfter lets the call have its effect, then answers with the error.
	FailAfter Mode = "fail-after"
	// Delay waits, then goes on as if nothing had been.
	Delay Mode = "delay"
	// Drop gives the call no effect and no answer.
	Drop Mode = "drop"
	// Hang lets the call have its effect and gives no answer.
	Hang Mode = "hang"
)

// Rule disturbs the calls that it matches. Of several rules that match, the oldest is applied.
type Rule struct {
	ID int64 `json:"id"`
	// Method is a glob over the method's last name ("RespondActivityTask*"); empty matches all.
	Method string `json:"method,omitempty"`
	// Identity is a glob over the request's identity; empty matches all.
	Identity string `json:"identity,omitempty"`
	Mode     Mode   `json:"mode"`
	// Error is a gRPC code ("UNAVAILABLE") or one of Temporal's error details ("NamespaceNotFound").
	Error string `json:"error,omitempty"`
	// Message replaces the message of the error.
	Message string `json:"message,omitempty"`
	// DelayMS is the wait of mode delay; with the other modes it comes before the error.
	DelayMS int64 `json:"delay_ms,omitempty"`
	// Probability applies the rule to this part of the calls; 0 means all.
	Probability float64 `json:"probability,omitempty"`
	// Count ends the rule after it was applied so often; 0 means never.
	Count int64 `json:"count,omitempty"`
	// Applied counts the calls that the rule was applied to.
	Applied int64 `json:"applied"`
}

// withDetails are the errors that Temporal's clients tell apart by their details, not by their code.
var withDetails = map[string]func(message string) error{
	"NotFound":          func(m string) error { return serviceerror.NewNotFound(m) },
	"NamespaceNotFound": func(m string) error { return serviceerror.NewNamespaceNotFound(m) },
	"NamespaceNotActive": func(m string) error {
		return serviceerror.NewNamespaceNotActive(m, "active", "elsewhere")
	},
	"NamespaceInvalidState": func(m string) error {
		return serviceerror.NewNamespaceInvalidState(m, enumspb.NAMESPACE_STATE_DELETED,
			[]enumspb.NamespaceState{enumspb.NAMESPACE_STATE_REGISTERED})
	},
	"PermissionDenied": func(m string) error { return serviceerror.NewPermissionDenied(m, "by a fault rule") },
	"ResourceExhausted": func(m string) error {
		return serviceerror.NewResourceExhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, m)
	},
	"BusyWorkflow": func(m string) error {
		return serviceerror.NewResourceExhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW, m)
	},
}

func (r *Rule) validate() error {
	switch r.Mode {
	case FailBefore, FailAfter:
		if r.Error == "" {
			r.Error = "UNAVAILABLE"
		}
		if _, err := r.makeError(); err != nil {
			return err
		}
	case Delay:
		if r.DelayMS <= 0 {
			return fmt.Errorf("mode delay needs delay_ms")
		}
	case Drop, Hang:
	default:
		return fmt.Errorf("unknown mode %q: use %s, %s, %s, %s or %s", r.Mode, FailBefore, FailAfter, Delay, Drop, Hang)
	}
	for _, glob := range []string{r.Method, r.Identity} {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("glob %q: %w", glob, err)
		}
	}
	if r.Probability < 0 || r.Probability > 1 {
		return fmt.Errorf("probability %v is not between 0 and 1", r.Probability)
	}
	return nil
}

func (r *Rule) matches(method, identity string) bool {
	return matchGlob(r.Method, method) && matchGlob(r.Identity, identity)
}

// matchGlob takes '/' for a character like others, as identities contain it.
func matchGlob(glob, s string) bool {
	if glob == "" || glob == "*" {
		return true
	}
	const notSlash = "\x01"
	ok, _ := path.Match(strings.ReplaceAll(glob, "/", notSlash), strings.ReplaceAll(s, "/", notSlash))
	return ok
}

func (r *Rule) delay() time.Duration {
	return time.Duration(r.DelayMS) * time.Millisecond
}

func (r *Rule) makeError() (error, error) {
	message := r.Message
	if message == "" {
		message = "fault rule: " + string(r.Mode)
	}
	if detailed, ok := withDetails[r.Error]; ok {
		return detailed(message), nil
	}
	number, ok := code.Code_value[strings.ToUpper(r.Error)]
	if !ok || number == int32(codes.OK) {
		return nil, fmt.Errorf("unknown error %q", r.Error)
	}
	return status.Error(codes.Code(number), message), nil
}
