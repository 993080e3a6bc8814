package fault

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// call sends one completion through the injector and tells whether it had an effect.
func call(ctx context.Context, i *Injector, identity string) (effect bool, err error) {
	_, err = i.Intercept(ctx,
		&workflowservice.RespondActivityTaskCompletedRequest{Identity: identity},
		&grpc.UnaryServerInfo{FullMethod: "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompleted"},
		func(context.Context, any) (any, error) {
			effect = true
			return &workflowservice.RespondActivityTaskCompletedResponse{}, nil
		})
	return effect, err
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		rule   Rule
		effect bool
		code   codes.Code
	}{
		{Rule{Mode: FailBefore, Error: "UNAVAILABLE"}, false, codes.Unavailable},
		{Rule{Mode: FailAfter, Error: "INTERNAL"}, true, codes.Internal},
		{Rule{Mode: FailBefore, Error: "NamespaceNotFound"}, false, codes.NotFound},
		{Rule{Mode: Delay, DelayMS: 1}, true, codes.OK},
		{Rule{Mode: Drop}, false, codes.DeadlineExceeded},
		{Rule{Mode: Hang}, true, codes.DeadlineExceeded},
		{Rule{Mode: FailBefore, Method: "RecordActivity*"}, true, codes.OK},
		{Rule{Mode: FailBefore, Method: "Respond*Completed"}, false, codes.Unavailable},
		{Rule{Mode: FailBefore, Identity: "postgresql:*@*"}, false, codes.Unavailable},
		{Rule{Mode: FailBefore, Identity: "postgresql:other/*"}, true, codes.OK},
	} {
		i := NewInjector(0)
		if _, err := i.Add(c.rule); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		effect, err := call(ctx, i, "postgresql:db/1@2/3/4")
		cancel()
		if code := serviceerror.ToStatus(err).Code(); effect != c.effect || code != c.code {
			t.Errorf("%+v: effect %v, %s", c.rule, effect, code)
		}
	}
}

func TestRefusedRules(t *testing.T) {
	i := NewInjector(0)
	for _, r := range []Rule{
		{},
		{Mode: "explode"},
		{Mode: Delay},
		{Mode: FailBefore, Error: "OK"},
		{Mode: FailBefore, Error: "NO_SUCH_CODE"},
		{Mode: Drop, Method: "["},
		{Mode: Drop, Probability: 2},
	} {
		if _, err := i.Add(r); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

func TestCountAndCounters(t *testing.T) {
	i := NewInjector(0)
	if _, err := i.Add(Rule{Mode: FailBefore, Count: 2}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if _, err := call(t.Context(), i, "me"); (err != nil) != (n < 2) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	m := i.methods["RespondActivityTaskCompleted"]
	if m.Requests != 5 || m.Codes["OK"] != 3 || m.Codes["UNAVAILABLE"] != 2 {
		t.Errorf("%+v", m)
	}
	id := i.identities[identityKey{"me", "RespondActivityTaskCompleted"}]
	if id.Requests != 5 || id.FirstArrival > time.Now().UnixMicro() || id.FirstArrival == 0 {
		t.Errorf("%+v", id)
	}
	i.ResetCounters()
	if len(i.methods) != 0 || len(i.identities) != 0 {
		t.Error("counters were not reset")
	}
}

// TestClear checks that a call which was never to be answered is answered when the rules are cleared.
func TestClear(t *testing.T) {
	i := NewInjector(0)
	if _, err := i.Add(Rule{Mode: Drop}); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error)
	go func() {
		_, err := call(t.Context(), i, "me")
		answer <- err
	}()
	for i.Rules()[0].Applied == 0 {
		time.Sleep(time.Millisecond)
	}
	i.Clear(0)
	if err := <-answer; serviceerror.ToStatus(err).Code() != codes.Unavailable {
		t.Errorf("answer %v", err)
	}
	if effect, err := call(t.Context(), i, "me"); !effect || err != nil {
		t.Errorf("after clearing: %v %v", effect, err)
	}
}
