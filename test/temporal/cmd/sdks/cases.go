package main

import (
	"encoding/hex"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/proto"
)

// value is one that SQL sends, and that each SDK's own client sends as a user of that SDK has it.
type value struct {
	name string
	// as is the type that the workflow asks for.
	as  string
	sql string
	// want is what the workflow gets, as JSON; of some SDKs something else.
	want   string
	wantOf map[string]string
	// untyped is what they get as details, which are read without a type.
	untyped map[string]string
	// unsayable are SDKs whose own client cannot say this.
	unsayable map[string]bool
	// differs are SDKs whose own client sends something else for it, and what: by design of the two. Of one verb it is
	// "SDK verb".
	differs map[string]string
}

// encrypted is what a codec makes of the JSON "secret"; see the codec of each worker.
func encrypted() string {
	plain, err := proto.Marshal(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"secret"`)})
	if err != nil {
		panic(err)
	}
	return `temporal.payload('binary/encrypted', '\x` + hex.EncodeToString(veil(plain)) + `', '{"encryption-key-id": "k1"}')`
}

// What is null and nothing in the SDKs.
const (
	binaryNull = "binary/null"
	jsonNull   = "json/plain null"
	nothing    = `"undefined"` // as TypeScript's worker says it
)

var values = []value{
	{name: "string", as: "string", sql: `to_jsonb(E'straße "1" 中\n\t<&>'::text)`, want: `"straße \"1\" 中\n\t<&>"`},
	{name: "number", as: "float", sql: "to_jsonb(12.5)", want: "12.5"},
	{name: "integer", as: "integer", sql: "to_jsonb(42)", want: "42"},
	{
		name: "big number", as: "integer", sql: "to_jsonb(9007199254740993)", want: "9007199254740993",
		wantOf:    map[string]string{"typescript": "9007199254740992"},
		untyped:   map[string]string{"go": "9007199254740992", "typescript": "9007199254740992"},
		unsayable: map[string]bool{"typescript": true}, // JSON.stringify() refuses a BigInt
	},
	{
		name: "null", as: "any", sql: "temporal.payload('binary/null', '')", want: "null",
		wantOf:  map[string]string{"typescript": nothing},
		untyped: map[string]string{"typescript": nothing},
		differs: map[string]string{"typescript": jsonNull},
	},
	{
		name: "JSON null", as: "any", sql: "'null'", want: "null",
		differs: map[string]string{"go": binaryNull, "python": binaryNull, "java": binaryNull},
	},
	{
		name: "none", as: "any", sql: "NULL", want: "null",
		wantOf:  map[string]string{"typescript": nothing},
		differs: map[string]string{"typescript": binaryNull, "typescript fail": "", "java": binaryNull, "java fail": ""},
	},
	{
		name: "object", as: "any", sql: `'{"sku": 17, "missing": [1, 2], "deep": {"er": null}}'::jsonb`,
		want: `{"sku": 17, "missing": [1, 2], "deep": {"er": null}}`,
	},
	{name: "bytes", as: "bytes", sql: `'\x00ff10'::bytea`, want: `{"base64": "AP8Q"}`},
	{
		name: "class", as: "order", sql: "(SELECT to_jsonb(o) FROM orders o)",
		want: `{"id": 7, "item": "a book", "approved": true}`,
	},
	{name: "encrypted", as: "string", sql: encrypted(), want: `"secret"`},
}

// wants says what the workflow of an SDK gets.
func (v value) wants(sdk string, verb string) string {
	of := v.wantOf
	if verb != "complete" {
		of = v.untyped
	}
	if w, ok := of[sdk]; ok {
		return w
	}
	return v.want
}

// differsBy says what the own client of an SDK sends instead, if it does.
func (v value) differsBy(sdk, verb string) string {
	if d, ok := v.differs[sdk+" "+verb]; ok {
		return d
	}
	return v.differs[sdk]
}

// verb is how a value gets there.
type verb struct {
	name string
	// functions of SQL, to which _by_key or _by_id is added, and its further arguments.
	function  string
	arguments string
	// argument is the one that takes the value.
	argument string
}

var verbs = []verb{
	{name: "complete", function: "complete_activity", argument: "result"},
	{
		name: "fail", function: "fail_activity", argument: "details",
		arguments: `message => 'no more stock, señor', type => 'OutOfStock', non_retryable => true, next_retry_delay => '90 s', benign => true`,
	},
	{name: "cancel", function: "report_cancellation", argument: "details"},
	{name: "heartbeat", function: "heartbeat_activity", argument: "details"},
}

// messageOnly is a failure without anything but its message.
var messageOnly = value{name: "message", as: "any", sql: "NULL"}

var failWithMessage = verb{name: "fail", function: "fail_activity", argument: "details", arguments: "message => 'no more stock, señor'"}

// withCauses is a failure that was caused by another one, which was in turn.
var withCauses = value{name: "causes", as: "any", sql: "NULL"}

var failWithCauses = verb{
	name: "fail", function: "fail_activity", argument: "details",
	arguments: `message => 'no more stock, señor', type => 'OutOfStock', cause => '{
		"message": "no answer from shelf 7 中", "type": "Timeout", "details": {"after": [5, "s"]}, "non_retryable": true,
		"cause": {"message": "the cable is cut", "type": "Broken"}}'`,
}

// expected is what the workflow says, as JSON.
func expected(v verb, x value, sdk string) string {
	details := "[]"
	if x.name != "none" && x.name != messageOnly.name && x.name != withCauses.name {
		details = "[" + x.wants(sdk, v.name) + "]"
	}
	if sdk == "java" && v.name == "heartbeat" && x.want == "null" {
		// an empty Optional, as for none
		details = "[]"
	}
	delay := "90000"
	if sdk == "typescript" {
		// the SDK does not read it; Temporal has it, which is compared
		delay = "0"
		if v.name == "heartbeat" && x.name == "none" {
			details = "[" + nothing + "]"
		}
	}
	switch {
	case v.name == "complete":
		return `{"value": ` + x.wants(sdk, v.name) + `}`
	case v.name == "cancel":
		return `{"failure": {"kind": "canceled", "message": "", "type": "", "details": ` + details +
			`, "non_retryable": false, "next_retry_delay_ms": 0, "benign": false}}`
	case v.name == "heartbeat":
		return details
	case x.name == withCauses.name:
		return `{"failure": {"kind": "application", "message": "no more stock, señor", "type": "OutOfStock", "details": [],
			"non_retryable": false, "next_retry_delay_ms": 0, "benign": false, "causes": [
				{"message": "no answer from shelf 7 中", "type": "Timeout", "details": [{"after": [5, "s"]}], "non_retryable": true},
				{"message": "the cable is cut", "type": "Broken", "details": [], "non_retryable": false}]}}`
	case x.name == messageOnly.name:
		return `{"failure": {"kind": "application", "message": "no more stock, señor", "type": "", "details": [],
			"non_retryable": false, "next_retry_delay_ms": 0, "benign": false}}`
	}
	return `{"failure": {"kind": "application", "message": "no more stock, señor", "type": "OutOfStock", "details": ` + details +
		`, "non_retryable": true, "next_retry_delay_ms": ` + delay + `, "benign": true}}`
}
