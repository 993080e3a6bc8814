package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/protobuf/proto"
)

// How what SQL sent is beside what the SDK's own client sent.
const (
	equal       = "equal"
	equalAsJSON = "equal as JSON" // other blanks, another order of names, other escapes
)

// sameJSON says whether two texts are the same JSON; numbers have to have the same digits.
func sameJSON(a, b []byte) bool {
	x, err := decoded(a)
	if err != nil {
		return false
	}
	y, err := decoded(b)
	return err == nil && bytes.Equal(x, y)
}

// decoded writes JSON in one way.
func decoded(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func comparePayloads(a, b *commonpb.Payloads) string {
	if len(a.GetPayloads()) != len(b.GetPayloads()) {
		return fmt.Sprintf("%s, and by the SDK %s", describe(a), describe(b))
	}
	how := equal
	for i, p := range a.GetPayloads() {
		q := b.GetPayloads()[i]
		if proto.Equal(p, q) {
			continue
		}
		meta := proto.Equal(&commonpb.Payload{Metadata: p.GetMetadata()}, &commonpb.Payload{Metadata: q.GetMetadata()})
		if !meta || !sameJSON(p.GetData(), q.GetData()) {
			return fmt.Sprintf("%s, and by the SDK %s", describe(a), describe(b))
		}
		how = equalAsJSON
	}
	return how
}

// describe shows payloads.
func describe(payloads *commonpb.Payloads) string {
	if len(payloads.GetPayloads()) == 0 {
		return "none"
	}
	var all []string
	for _, p := range payloads.GetPayloads() {
		var metadata []string
		for name, v := range p.GetMetadata() {
			if name != "encoding" {
				metadata = append(metadata, fmt.Sprintf(" %s=%s", name, v))
			}
		}
		sort.Strings(metadata)
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s%s %s", p.GetMetadata()["encoding"], strings.Join(metadata, ""), p.GetData())))
	}
	return strings.Join(all, ", ")
}

// compareFailures compares two that come from SQL and from an SDK, with their causes. Their source and stack trace are
// each their own: SQL says which request it was, and has the stack trace that it was given.
func compareFailures(a, b *failurepb.Failure) string {
	how := comparePayloads(a.GetApplicationFailureInfo().GetDetails(), b.GetApplicationFailureInfo().GetDetails())
	if a.GetCause() != nil && b.GetCause() != nil && (how == equal || how == equalAsJSON) {
		if causes := compareFailures(a.GetCause(), b.GetCause()); causes != equal {
			how = causes
		}
		a, b = proto.Clone(a).(*failurepb.Failure), proto.Clone(b).(*failurepb.Failure)
		a.Cause, b.Cause = nil, nil
	}
	strip := func(f *failurepb.Failure) *failurepb.Failure {
		f = proto.Clone(f).(*failurepb.Failure)
		f.Source, f.StackTrace = "", ""
		if f.GetApplicationFailureInfo() != nil {
			f.GetApplicationFailureInfo().Details = nil
		}
		return f
	}
	if x, y := strip(a), strip(b); !proto.Equal(x, y) {
		return fmt.Sprintf("%v, and by the SDK %v", x, y)
	}
	return how
}

// cell of the table that is printed at the end.
type cell struct {
	sdk, verb, value string
	// by key and by ids
	how  [2]string
	note string
}

func (c cell) String() string {
	text := c.how[0]
	if c.how[1] != text {
		text = "by key " + text + ", by ids " + c.how[1]
	}
	if c.note != "" {
		text += ", " + c.note
	}
	return text
}

// noteOwn keeps what is each side's own in a failure.
func (a *account) noteOwn(sdk, how string, sql, own outcome) {
	a.check(sql.failure.GetSource() == sql.identity, "the source of a failure is %q, and its identity %q", sql.failure.GetSource(), sql.identity)
	key := sdk + " by " + how
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own == nil {
		a.own = map[string]string{}
	}
	a.own[key] = fmt.Sprintf("| %s | %s | %s | %s | %q |", key, sql.identity, own.identity, own.failure.GetSource(),
		firstLine(own.failure.GetStackTrace()))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// account is what has been tested.
type account struct {
	mu             sync.Mutex
	cells          []cell
	decoded        []decodedRow
	passed, failed int
	skipped        []string
	// own is what is each side's own in one failure, a line for each SDK.
	own map[string]string
}

// check counts a test and tells of it if it failed.
func (a *account) check(passed bool, format string, arguments ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if passed {
		a.passed++
		return
	}
	a.failed++
	fmt.Printf("FAILED: "+format+"\n", arguments...)
}

// job is a row to fill.
type job struct {
	verb  verb
	value value
}

func jobs(chosen *regexp.Regexp) []job {
	var all []job
	for _, v := range verbs {
		if v.name == "fail" {
			all = append(all, job{failWithMessage, messageOnly}, job{failWithCauses, withCauses})
		}
		for _, x := range values {
			all = append(all, job{v, x})
		}
	}
	var some []job
	for _, j := range all {
		if chosen.MatchString(j.verb.name + " " + j.value.name) {
			some = append(some, j)
		}
	}
	return some
}

// compare runs all verbs with all values, several at once.
func (s *sdk) compare(ctx context.Context, all *account, chosen *regexp.Regexp) {
	list := jobs(chosen)
	cells := make([]cell, len(list))
	s.forEach(len(list), func(i int) { cells[i] = s.cell(ctx, all, list[i]) })
	all.cells = append(all.cells, cells...)
}

func (s *sdk) forEach(n int, do func(int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, 6)
	for i := range n {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer group.Done()
			do(i)
			<-slots
		}()
	}
	group.Wait()
}

// cell tests one verb with one value.
func (s *sdk) cell(ctx context.Context, all *account, j job) cell {
	r := cell{sdk: s.name, verb: j.verb.name, value: j.value.name}
	for i, how := range []string{byKey, byIDs} {
		where := fmt.Sprintf("%s: %s of %s by %s", s.name, j.verb.name, j.value.name, how)
		sql, err := s.run(ctx, how, j.verb, j.value, false)
		all.check(err == nil, "%s: %v", where, err)
		if err != nil {
			r.how[i] = "FAILED"
			continue
		}
		want := expected(j.verb, j.value, s.name)
		given := sql.stuck == "" && sameJSON([]byte(sql.report), []byte(want))
		all.check(given, "%s: got %s%s, not %s", where, sql.report, sql.stuck, want)
		r.how[i] = s.beside(ctx, all, j, how, where, sql)
		if !given {
			r.how[i] = "FAILED"
		}
	}
	if want := j.value.wants(s.name, j.verb.name); want != j.value.want {
		r.note = "read as " + want
	}
	return r
}

// beside does the same by the SDK's own client and says how the two differ.
func (s *sdk) beside(ctx context.Context, all *account, j job, how, where string, sql outcome) string {
	if j.value.unsayable[s.name] {
		return "only SQL can say it"
	}
	own, err := s.run(ctx, how, j.verb, j.value, true)
	all.check(err == nil, "%s, by the SDK's client: %v", where, err)
	if err != nil {
		return "FAILED"
	}
	found := comparePayloads(sql.payloads, own.payloads)
	if sql.failure != nil || own.failure != nil {
		found = compareFailures(sql.failure, own.failure)
		all.noteOwn(s.name, how, sql, own)
	}
	if differs := j.value.differsBy(s.name, j.verb.name); differs != "" {
		all.check(strings.HasSuffix(found, ", and by the SDK "+differs), "%s: %s", where, found)
		return "by the SDK " + differs
	}
	same := own.stuck == "" && sameJSON([]byte(sql.report), []byte(own.report))
	all.check(same, "%s: the workflow gets %s, and %s%s by the SDK's client", where, sql.report, own.report, own.stuck)
	all.check(found == equal || found == equalAsJSON, "%s: %s", where, found)
	return found
}

func (a *account) text(sdk, value, verb string) string {
	for _, c := range a.cells {
		if c.sdk == sdk && c.value == value && c.verb == verb {
			return c.String()
		}
	}
	return ""
}

// print shows the tables and the count, and returns how many tests failed.
func (a *account) print() int {
	fmt.Print("\n== What SQL sent, beside what each SDK's own client of async completion sent for the same\n\n")
	fmt.Println("| SDK | value | complete | fail | cancel | heartbeat |")
	fmt.Println("|---|---|---|---|---|---|")
	shown := map[string]bool{}
	for _, c := range a.cells {
		if shown[c.sdk+" "+c.value] {
			continue
		}
		shown[c.sdk+" "+c.value] = true
		fmt.Printf("| %s | %s |", c.sdk, c.value)
		for _, v := range verbs {
			fmt.Printf(" %s |", a.text(c.sdk, c.value, v.name))
		}
		fmt.Println()
	}
	fmt.Print(`
equal: the same bytes and metadata in Temporal, and the workflow (of a heartbeat: the next attempt) gets the same.
equal as JSON: but for blanks, the order of names, and escapes.
Not compared, as they are each side's own: the identity of events; source and stack trace of failures.
What SDKs have and SQL has not: more than one value as details, causes that are no application failures.
`)
	if len(a.own) > 0 {
		fmt.Print("\n| | identity and source by SQL | identity by the SDK | source | stack trace begins |\n|---|---|---|---|---|\n")
		for _, key := range slices.Sorted(maps.Keys(a.own)) {
			fmt.Println(a.own[key])
		}
	}
	a.printDecoded()
	fmt.Printf("\n%d passed, %d failed", a.passed, a.failed)
	if len(a.skipped) > 0 {
		fmt.Printf(", %d skipped", len(a.skipped))
	}
	fmt.Println()
	return a.failed
}
