package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// reading is a result of SQL that a workflow reads as a type.
type reading struct {
	name string
	as   string
	sql  string
	// want by SDK: JSON; stuck (the workflow's task fails, again and again); or error (its code gets an error). Of an SDK
	// that is not here it is not asked.
	want map[string]string
}

type decodedRow struct {
	sdk string
	reading
	got string
}

// How reading a value ends that is no value.
const (
	stuck  = "stuck"
	failed = "error"
)

const (
	theOrder = `{"id": 7, "item": "a book", "approved": true}`
	emptied  = `{"id": 0, "item": "", "approved": false}`
	theTime  = `{"at": "2026-11-27T12:30:00.500000"}`
)

var readings = []reading{
	{
		name: "all columns", as: "order", sql: `(SELECT to_jsonb(o) FROM orders o)`,
		want: map[string]string{
			"go":         theOrder,
			"python":     theOrder,
			"typescript": theOrder,
			"java":       theOrder,
		},
	},
	{
		name: "a column more", as: "order", sql: `(SELECT to_jsonb(o) FROM (SELECT *, 'x' AS extra FROM orders) o)`,
		want: map[string]string{
			"go":         theOrder,
			"python":     theOrder,
			"typescript": `{"id": 7, "item": "a book", "approved": true, "extra": "x"}`,
			"java":       stuck,
		},
	},
	{
		name: "a column less", as: "order", sql: `(SELECT to_jsonb(o) FROM (SELECT id, item FROM orders) o)`,
		want: map[string]string{
			"go":         `{"id": 7, "item": "a book", "approved": false}`,
			"python":     stuck,
			"typescript": `{"id": 7, "item": "a book"}`,
			"java":       `{"id": 7, "item": "a book", "approved": false}`,
		},
	},
	{
		name: "NULL, where a string is asked for", as: "order", sql: `'{"id": 7, "item": null, "approved": true}'`,
		want: map[string]string{
			"go":         `{"id": 7, "item": "", "approved": true}`,
			"python":     stuck,
			"typescript": `{"id": 7, "item": null, "approved": true}`,
			"java":       `{"id": 7, "item": null, "approved": true}`,
		},
	},
	{
		name: "NULL, where a number is asked for", as: "order", sql: `'{"id": null, "item": "a book", "approved": true}'`,
		want: map[string]string{
			"go":         `{"id": 0, "item": "a book", "approved": true}`,
			"python":     stuck,
			"typescript": `{"id": null, "item": "a book", "approved": true}`,
			"java":       `{"id": 0, "item": "a book", "approved": true}`,
		},
	},
	{
		name: "NULL, where an optional string is asked for", as: "optional", sql: `'{"id": 7, "item": null}'`,
		want: map[string]string{
			"go":         `{"id": 7, "item": null}`,
			"python":     `{"id": 7, "item": null}`,
			"typescript": `{"id": 7, "item": null}`,
			"java":       `{"id": 7, "item": null}`,
		},
	},
	{
		name: "JSON null for the whole", as: "order", sql: `'null'`,
		want: map[string]string{
			"go":         emptied,
			"python":     stuck,
			"typescript": "null",
			"java":       "null",
		},
	},
	{
		name: "no payload for the whole", as: "order", sql: `NULL`,
		want: map[string]string{
			"go":         emptied,
			"python":     "null",
			"typescript": nothing,
			"java":       "null",
		},
	},
	{
		name: "SQL's name, customer_name", as: "named", sql: `jsonb_build_object('customer_name', 'Ann')`,
		want: map[string]string{
			"go":         `{"CustomerName": ""}`,
			"python":     `{"customer_name": "Ann"}`,
			"typescript": `{"customer_name": "Ann"}`,
			"java":       stuck,
		},
	},
	{
		name: "camelCase, customerName", as: "named", sql: `jsonb_build_object('customerName', 'Ann')`,
		want: map[string]string{
			"go":         `{"CustomerName": "Ann"}`,
			"python":     stuck,
			"typescript": `{"customerName": "Ann"}`,
			"java":       `{"customerName": "Ann"}`,
		},
	},
	{
		name: "numeric", as: "priced", sql: `jsonb_build_object('price', 12.50::numeric(10, 2))`,
		want: map[string]string{
			"go":         `{"price": 12.5}`,
			"python":     `{"price": 12.5}`,
			"typescript": `{"price": 12.5}`,
			"java":       `{"price": 12.5}`,
		},
	},
	{
		name: "numeric NaN", as: "priced", sql: `jsonb_build_object('price', 'NaN'::numeric)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": `{"price": "NaN"}`,
			"java":       `{"price": "NaN"}`,
		},
	},
	{
		name: "numeric as text", as: "priced", sql: `jsonb_build_object('price', 12.50::text)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": `{"price": "12.50"}`,
			"java":       `{"price": 12.5}`,
		},
	},
	{
		name: "a number of 20 digits", as: "order",
		sql: `jsonb_build_object('id', 12345678901234567890, 'item', 'a book', 'approved', true)`,
		want: map[string]string{
			"go":         failed,
			"python":     `{"id": 12345678901234567890, "item": "a book", "approved": true}`,
			"typescript": `{"id": 12345678901234567000, "item": "a book", "approved": true}`,
			"java":       stuck,
		},
	},
	{
		name: "timestamptz", as: "timestamp", sql: `jsonb_build_object('at', '2026-11-27 12:30:00.5+01'::timestamptz)`,
		want: map[string]string{
			"go":         `{"at": "2026-11-27T11:30:00.5Z"}`,
			"python":     `{"at": "2026-11-27T11:30:00.500000+00:00"}`,
			"typescript": `{"at": "2026-11-27T11:30:00.5+00:00"}`,
			"java":       `{"at": "2026-11-27T11:30:00.5Z"}`,
		},
	},
	{
		name: "timestamptz, into datetime of a file that the sandbox reloads", as: "sandboxed",
		sql:  `jsonb_build_object('at', '2026-11-27 12:30:00.5+01'::timestamptz)`,
		want: map[string]string{"python": stuck},
	},
	{
		name: "timestamp", as: "timestamp", sql: `jsonb_build_object('at', '2026-11-27 12:30:00.5'::timestamp)`,
		want: map[string]string{
			"go":         failed,
			"python":     theTime,
			"typescript": `{"at": "2026-11-27T12:30:00.5"}`,
			"java":       stuck,
		},
	},
	{
		name: "timestamp, into a type without zone", as: "local", sql: `jsonb_build_object('at', '2026-11-27 12:30:00.5'::timestamp)`,
		want: map[string]string{
			"java": `{"at": "2026-11-27T12:30:00.5"}`,
		},
	},
	{
		name: "date", as: "date", sql: `jsonb_build_object('at', '2026-11-27'::date)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": `{"at": "2026-11-27"}`,
			"java":       `{"at": "2026-11-27"}`,
		},
	},
	{
		name: "bytea in to_jsonb()", as: "blob", sql: `jsonb_build_object('data', '\x00ff10'::bytea)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": `{"data": "\\x00ff10"}`,
			"java":       stuck,
		},
	},
	{
		name: "bytea by encode(…, 'base64')", as: "blob", sql: `jsonb_build_object('data', encode('\x00ff10', 'base64'))`,
		want: map[string]string{
			"go":         `{"data": "AP8Q"}`,
			"python":     stuck,
			"typescript": `{"data": "AP8Q"}`,
			"java":       `{"data": "AP8Q"}`,
		},
	},
	{
		name: "a text, where bytes are asked for", as: "bytes", sql: `to_jsonb('abc'::text)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": `"abc"`,
			"java":       stuck,
		},
	},
	{
		name: "a number, where a string is asked for", as: "string", sql: `to_jsonb(42)`,
		want: map[string]string{
			"go":         failed,
			"python":     stuck,
			"typescript": "42",
			"java":       `"42"`,
		},
	},
}

// decode has workflows read results as types.
func (s *sdk) decode(ctx context.Context, all *account, chosen *regexp.Regexp) {
	rows := make([]decodedRow, len(readings))
	s.forEach(len(readings), func(i int) {
		r := readings[i]
		want, known := r.want[s.name]
		if !known || !chosen.MatchString("decode "+r.name) {
			return
		}
		rows[i] = decodedRow{s.name, r, s.readAs(ctx, r)}
		kind, _, _ := strings.Cut(rows[i].got, ":")
		all.check(kind == want || sameJSON([]byte(rows[i].got), []byte(want)), "%s reads %s: %s, not %s", s.name, r.name, rows[i].got, want)
	})
	all.decoded = append(all.decoded, rows...)
}

func (s *sdk) readAs(ctx context.Context, r reading) string {
	o, err := s.run(ctx, byKey, verbs[0], value{as: r.as, sql: r.sql}, false)
	if err != nil {
		return "FAILED: " + err.Error()
	}
	if o.stuck != "" {
		return "stuck: " + o.stuck
	}
	var report map[string]json.RawMessage
	if err := json.Unmarshal([]byte(o.report), &report); err != nil {
		return "FAILED: " + err.Error()
	}
	if words, ok := report["error"]; ok {
		return "error: " + string(words)
	}
	return string(report["value"])
}

func (a *account) printDecoded() {
	fmt.Print("\n== What a workflow gets that asks for a type\n\n| SDK | result | |\n|---|---|---|\n")
	for _, r := range a.decoded {
		if r.got != "" {
			fmt.Printf("| %s | %s | %s |\n", r.sdk, r.name, r.got)
		}
	}
}
