// Package inspect reads from Temporal what became of activities.
package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// ClosedActivity is an event of a history that ended an activity.
type ClosedActivity struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	ActivityID string    `json:"activity_id"`
	Event      string    `json:"event"`
	Identity   string    `json:"identity,omitempty"`
	Time       time.Time `json:"time"`
	// Attributes of the event as Temporal writes them in JSON.
	Attributes json.RawMessage `json:"attributes"`

	// Source is the event itself.
	Source *historypb.HistoryEvent `json:"-"`
}

// ClosedActivities returns the closing events of a workflow's history in their order; runID may be empty.
func ClosedActivities(ctx context.Context, c client.Client, workflowID, runID string) ([]ClosedActivity, error) {
	var closed []ClosedActivity
	ids := map[int64]string{}
	events := c.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, err
		}
		if e := event.GetWorkflowExecutionStartedEventAttributes(); e != nil && runID == "" {
			runID = e.GetOriginalExecutionRunId()
		}
		if e := event.GetActivityTaskScheduledEventAttributes(); e != nil {
			ids[event.GetEventId()] = e.GetActivityId()
		}
		activity, ok, err := closing(event)
		if err != nil {
			return nil, err
		}
		if ok {
			activity.WorkflowID, activity.RunID = workflowID, runID
			activity.ActivityID = ids[scheduledBy(event)]
			closed = append(closed, activity)
		}
	}
	return closed, nil
}

// attributes of an event that ends an activity.
type attributes interface {
	proto.Message
	GetScheduledEventId() int64
}

func attributesOf(event *historypb.HistoryEvent) (attributes, bool) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		return event.GetActivityTaskCompletedEventAttributes(), true
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		return event.GetActivityTaskFailedEventAttributes(), true
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		return event.GetActivityTaskCanceledEventAttributes(), true
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		return event.GetActivityTaskTimedOutEventAttributes(), true
	}
	return nil, false
}

func scheduledBy(event *historypb.HistoryEvent) int64 {
	a, _ := attributesOf(event)
	return a.GetScheduledEventId()
}

func closing(event *historypb.HistoryEvent) (ClosedActivity, bool, error) {
	a, ok := attributesOf(event)
	if !ok {
		return ClosedActivity{}, false, nil
	}
	text, err := JSON(a)
	if err != nil {
		return ClosedActivity{}, false, err
	}
	closed := ClosedActivity{
		Event:      event.GetEventType().String(),
		Time:       event.GetEventTime().AsTime(),
		Attributes: text,
		Source:     event,
	}
	if i, ok := a.(interface{ GetIdentity() string }); ok {
		closed.Identity = i.GetIdentity()
	}
	return closed, true, nil
}

// JSON writes a message of Temporal's API with the names of its .proto files.
func JSON(m proto.Message) (json.RawMessage, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
}

// ErrNotClosed is returned by CloseTime for a workflow that still runs.
var ErrNotClosed = errors.New("the workflow is not closed")

// CloseTime returns when a workflow was closed.
func CloseTime(ctx context.Context, c client.Client, workflowID, runID string) (time.Time, error) {
	d, err := c.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return time.Time{}, err
	}
	if d.GetWorkflowExecutionInfo().GetCloseTime() == nil {
		return time.Time{}, ErrNotClosed
	}
	return d.GetWorkflowExecutionInfo().GetCloseTime().AsTime(), nil
}
