package flows

import (
	"encoding/json"
	"errors"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
)

// Value is a payload as a reader of JSON likes it.
type Value struct {
	Encoding string `json:"encoding"`
	// JSON holds the value if it is JSON, Base64 otherwise.
	JSON   json.RawMessage `json:"json,omitempty"`
	Base64 []byte          `json:"base64,omitempty"`
}

// Failure is an error of the SDK with all that can be read from it.
type Failure struct {
	// Kind is the Go type of the SDK's error: application, canceled, timeout, activity or other.
	Kind           string   `json:"kind"`
	Message        string   `json:"message,omitempty"`
	Type           string   `json:"type,omitempty"`
	NonRetryable   bool     `json:"non_retryable,omitempty"`
	Details        []Value  `json:"details,omitempty"`
	NextRetryDelay string   `json:"next_retry_delay,omitempty"`
	Benign         bool     `json:"benign,omitempty"`
	TimeoutType    string   `json:"timeout_type,omitempty"`
	RetryState     string   `json:"retry_state,omitempty"`
	Cause          *Failure `json:"cause,omitempty"`
}

// Outcome is what a workflow was told about one of its activities.
type Outcome struct {
	ActivityID string   `json:"activity_id"`
	Result     *Value   `json:"result,omitempty"`
	Failure    *Failure `json:"failure,omitempty"`
}

// NewValue makes a Value from a payload; nil stays nil.
func NewValue(p *commonpb.Payload) *Value {
	if p == nil {
		return nil
	}
	v := &Value{Encoding: string(p.GetMetadata()[converter.MetadataEncoding])}
	if v.Encoding == converter.MetadataEncodingJSON && json.Valid(p.GetData()) {
		v.JSON = p.GetData()
	} else {
		v.Base64 = p.GetData()
	}
	return v
}

// NewFailure makes a Failure from an error of the SDK; nil stays nil.
func NewFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Kind: "other", Message: err.Error(), Cause: NewFailure(errors.Unwrap(err))}
	switch e := err.(type) {
	case *temporal.ApplicationError:
		f.Kind, f.Message, f.Type, f.NonRetryable = "application", e.Message(), e.Type(), e.NonRetryable()
		f.Benign = e.Category() == temporal.ApplicationErrorCategoryBenign
		if d := e.NextRetryDelay(); d != 0 {
			f.NextRetryDelay = d.String()
		}
		f.Details = details(e.HasDetails(), e.Details)
	case *temporal.CanceledError:
		f.Kind = "canceled"
		f.Details = details(e.HasDetails(), e.Details)
	case *temporal.TimeoutError:
		f.Kind, f.TimeoutType = "timeout", e.TimeoutType().String()
		f.Details = details(e.HasLastHeartbeatDetails(), e.LastHeartbeatDetails)
	case *temporal.ActivityError:
		f.Kind, f.RetryState = "activity", e.RetryState().String()
	}
	return f
}

// details reads as many payloads as there are: the SDK does not say how many.
func details(present bool, read func(...any) error) []Value {
	if !present {
		return nil
	}
	var values []Value
	for n := 1; ; n++ {
		raw := make([]converter.RawValue, n)
		pointers := make([]any, n)
		for i := range raw {
			pointers[i] = &raw[i]
		}
		if read(pointers...) != nil || raw[n-1].Payload() == nil {
			return values
		}
		values = append(values, *NewValue(raw[n-1].Payload()))
	}
}
